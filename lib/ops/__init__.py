"""Contract 1: what may be asked of the cluster. One struct per operation."""
