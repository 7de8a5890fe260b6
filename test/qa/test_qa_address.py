"""The cluster's own address: neighbours go where it is now."""

#: of nobody
STALE = "00:11:22:33:44:55"
ADDRESS = "10.97.0.10"


def test_neighbours_forget_where_the_address_was(cluster):
    bed = cluster
    bed.ok(1, "gnt-cluster", "deactivate-master-ip", "--yes")
    assert not bed.answers(ADDRESS)
    assert bed.host("ip", "neigh", "replace", ADDRESS, "lladdr", STALE, "dev", "br0", "nud", "stale").returncode == 0
    bed.ok(1, "gnt-cluster", "activate-master-ip")
    shown = bed.host("ip", "neigh", "show", ADDRESS).stdout
    assert "lladdr 52:54:00:97:00:01" in shown, shown
    assert bed.answers(ADDRESS)
