"""What works without a master: cluster creation, node join, master failover."""
