"""One handler per node call."""
