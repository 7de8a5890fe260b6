"""A mirrored instance goes to a node that had no half of its mirrors."""

import pytest
from qa.conftest import wait_until
from qa.mirrored import check_content, check_mirror, home, make, remove
from qa.test_qa_life import ADDRESS, NAME


@pytest.fixture(scope="module")
def guest(cluster):
    make(cluster, "node1:node2")
    yield cluster
    remove(cluster)


def arrived(bed, at, beside):
    node, other, minor = home(bed)
    assert (node, other) == (at, beside)
    assert bed.domains(at) == [NAME]
    (empty,) = {1, 2, 3} - {at, beside}
    assert not any(bed.is_empty()[empty]), "the half that is not needed is gone"
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    check_content(bed, node, minor)
    check_mirror(bed)


def test_it_migrates_to_a_third_node(guest):
    bed = guest
    before = bed.uptime(ADDRESS)
    bed.ok(1, "gnt-instance", "migrate", "-f", "-n", "node3", NAME)
    arrived(bed, 3, 1)
    assert bed.uptime(ADDRESS) > before, "the same guest, not a new one"


def test_it_fails_over_to_a_third_node(guest):
    bed = guest
    bed.ok(1, "gnt-instance", "failover", "-f", "-n", "node2", "--shutdown-timeout=60", NAME)
    arrived(bed, 2, 3)


def test_it_starts_there_while_it_is_being_filled(guest):
    bed = guest
    bed.ok(1, "gnt-instance", "failover", "-f", "-n", "node1", "--no-wait-for-sync", "--shutdown-timeout=60", NAME)
    arrived(bed, 1, 2)
    bed.verify()
