"""A node loses power in the middle of a step: nothing is lost, and nothing is left when it is back."""

import re

import pytest
from qa.conftest import wait_until
from qa.mirrored import Running, check_content, check_mirror, home, is_arriving, is_gone, make, place, remove
from qa.test_qa_life import ADDRESS, NAME


@pytest.fixture(scope="module")
def guest(cluster):
    """It runs on node 1, its mirror is on node 2."""
    make(cluster, "node1:node2")
    yield cluster
    remove(cluster)


@pytest.mark.parametrize("lost", ["secondary", "primary"])
def test_an_end_of_a_new_instance_loses_power(cluster, lost):
    bed = cluster
    assert is_gone(bed), bed.is_empty()
    nodes = "node1:node3" if lost == "secondary" else "node3:node1"
    making = Running(
        bed,
        f"gnt-instance add --ignore-ipolicy -t drbd --disk 0:size=128m -n {nodes} -B memory=128 "
        f"--no-start --no-nics -o kernel-only {NAME}",
    )
    wait_until("its volumes are made", lambda: making.is_over() or bed.minors(3))
    bed.power_off(3)
    status, text = making.end()
    if status == 0:
        # the instance was there already: degraded, and it says so
        assert re.search(r"not be in sync|waits for its peer|WFConnection", text), text
        bed.ok(1, "gnt-instance", "remove", "-f", "--ignore-failures", NAME)
    assert bed.call(1, f"gnt-instance info {NAME}").returncode != 0
    assert (bed.volumes(1), bed.minors(1)) == ([], {}), "what could be taken back is taken back"
    bed.power_on(3)
    wait_until("the debts are paid", lambda: is_gone(bed))
    bed.verify()


def test_a_new_secondary_loses_power_while_it_gets_the_data(guest):
    bed = guest
    node, other, minor = home(bed)
    assert (node, other) == (1, 2)
    before = bed.uptime(ADDRESS)
    moving = Running(bed, "gnt-instance replace-disks -n node3 " + NAME)
    wait_until("its volumes are made", lambda: moving.is_over() or bed.minors(3) or len(bed.volumes(3)) == 2)
    bed.power_off(3)
    moving.end()
    check_content(bed, node, minor)
    bed.power_on(3)
    if place(bed)[1] == 3:  # it had become the secondary already
        bed.ok(1, "gnt-instance", "activate-disks", NAME)
    node, other = check_mirror(bed)
    wait_until("nothing is left on the third node", lambda: not any(bed.is_empty()[5 - other]))
    assert bed.uptime(ADDRESS) > before, "the guest ran on"
    bed.verify()


def test_the_target_of_a_migration_loses_power(guest):
    bed = guest
    node, other, minor = home(bed)
    before = bed.uptime(ADDRESS)
    moving = Running(bed, "gnt-instance migrate -f " + NAME)
    wait_until("the guest is received", lambda: moving.is_over() or is_arriving(bed, other), every_s=0.5)
    bed.power_off(other)
    status, _ = moving.end()
    assert status != 0
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    assert bed.uptime(ADDRESS) > before, "it is the same guest"
    assert bed.domains(node) == [NAME]
    check_content(bed, node, minor)
    bed.power_on(other)
    bed.ok(1, "gnt-instance", "activate-disks", NAME)
    check_mirror(bed)
    assert not re.search("allow-two-primaries", bed.ok(node, f"drbdsetup show {minor}"))
    bed.verify()


def test_the_source_of_a_migration_loses_power(guest):
    bed = guest
    node, other, _ = home(bed)
    if node == 1:  # the master stays
        bed.ok(1, "gnt-instance", "migrate", "-f", NAME)
        node, other = other, node
    moving = Running(bed, "gnt-instance migrate -f " + NAME)
    wait_until("the guest is received", lambda: moving.is_over() or is_arriving(bed, other), every_s=0.5)
    bed.power_off(node)
    _, text = moving.end()
    bed.ok(1, "gnt-node", "modify", "--offline=yes", "-f", f"node{node}")
    if "migrate --cleanup" in text:  # nobody could say whether it went on there
        bed.ok(1, "gnt-instance", "migrate", "--cleanup", "-f", NAME)
    if place(bed)[0] == node:
        bed.ok(1, "gnt-instance", "failover", "-f", "--ignore-consistency", NAME)
    assert bed.domains(other) == [NAME]
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    check_content(bed, other, home(bed)[2])
    bed.power_on(node)
    bed.ok(1, "gnt-node", "modify", "--offline=no", "-f", f"node{node}")
    bed.ok(1, "gnt-instance", "activate-disks", NAME)
    check_mirror(bed)
    assert bed.domains(node) == []
    bed.verify()
