"""Contract 1: what may be read of the cluster. Fields, formatting kinds, filters."""
