"""Block devices that are there before the cluster and stay after it: disk template blockdev."""
