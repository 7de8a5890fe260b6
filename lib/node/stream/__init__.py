"""Contents of disks on their way from one node to another."""
