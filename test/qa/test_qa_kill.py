"""The node daemon dies (kill -9) in the middle of a step, and is started again as its supervisor would; so does xl."""

import re
import shlex

import pytest
from qa.conftest import wait_until
from qa.mirrored import Running, check_content, check_mirror, home, is_arriving, is_gone, make, remove
from qa.test_qa_life import ADDRESS, NAME


@pytest.fixture(scope="module")
def guest(cluster):
    make(cluster, "node1:node2")
    yield cluster
    remove(cluster)


def kill(bed, node):
    bed.ok(node, "kill -9 $(cat /run/ganeti/ganeti-noded.pid)")
    bed.ok(node, "ganeti-daemons start ganeti-noded")


@pytest.mark.parametrize("node", [1, 2], ids=["primary", "secondary"])
def test_it_dies_while_a_mirror_is_made(cluster, node):
    bed = cluster
    assert is_gone(bed), bed.is_empty()
    making = Running(
        bed,
        "gnt-instance add --ignore-ipolicy -t drbd --disk 0:size=128m -n node1:node2 -B memory=128 "
        f"--no-start --no-nics -o kernel-only {NAME}",
    )
    wait_until("its volumes are made", lambda: making.is_over() or bed.volumes(node), every_s=0.2)
    kill(bed, node)
    status, _ = making.end()
    if status == 0:
        bed.ok(1, "gnt-instance", "remove", "-f", NAME)
    wait_until("nothing is left", lambda: is_gone(bed), timeout_s=180)
    bed.verify()


@pytest.mark.parametrize("end", ["source", "target"])
def test_it_dies_while_a_guest_moves(guest, end):
    bed = guest
    node, other, _ = home(bed)
    before = bed.uptime(ADDRESS)
    moving = Running(bed, "gnt-instance migrate -f " + NAME)
    wait_until("the guest is received", lambda: moving.is_over() or is_arriving(bed, other), every_s=0.2)
    kill(bed, node if end == "source" else other)
    status, text = moving.end()
    if status != 0 and "--cleanup" in text:
        bed.ok(1, "gnt-instance", "migrate", "--cleanup", "-f", NAME)
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    assert bed.uptime(ADDRESS) > before, "the same guest, not a new one"
    node, other, minor = home(bed)
    assert (bed.domains(node), bed.domains(other)) == ([NAME], [])
    check_content(bed, node, minor)
    check_mirror(bed)
    for each in (node, other):
        assert not re.search("allow-two-primaries", bed.ok(each, f"drbdsetup show {minor}"))
    bed.verify()


#: on the source, as soon as xl there is so far: the guest is being sent; it stands still and is handed over
MOMENTS = {
    "sending": f"until pgrep -f '[x]l migrate .*{NAME}' && sleep 2; do sleep 0.1; done",
    "handing-over": f"until xl list | grep -qE '^{NAME}(--migratedaway)? .* [-r][-b][-p]s'; do sleep 0.05; done",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_carrier_of_a_moving_guest_dies(guest, moment):
    bed = guest
    node, other, _ = home(bed)
    moving = Running(bed, "gnt-instance migrate -f " + NAME)
    killed = bed.call(node, f"timeout 300 sh -c {shlex.quote(MOMENTS[moment])} && pkill -9 -f '[x]l migrate '; xl list")
    print(killed.stdout)
    status, text = moving.end()
    if status != 0 and "--cleanup" in text:
        bed.ok(1, "gnt-instance", "migrate", "--cleanup", "-f", NAME)
    domains = bed.domains(node) + bed.domains(other)
    if not domains:  # it stood still for good, and was ended
        bed.ok(1, "gnt-instance", "start", NAME)
        domains = bed.domains(node) + bed.domains(other)
    assert domains == [NAME]
    node, other, minor = home(bed)
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    check_content(bed, node, minor)
    check_mirror(bed)
    for each in (node, other):
        assert not re.search("allow-two-primaries", bed.ok(each, f"drbdsetup show {minor}"))
    bed.verify()
