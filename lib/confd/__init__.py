"""ganeti-confd: answers questions about the cluster by UDP, on the master candidates, without the master."""
