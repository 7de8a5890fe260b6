"""Contract 2: what may be asked of a node. One struct per call."""
