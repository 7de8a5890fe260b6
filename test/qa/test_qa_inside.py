"""What a guest does by itself: it reboots, and switches itself off."""

import time

import pytest
from qa.conftest import wait_until
from qa.mirrored import PVM, is_gone, tell
from qa.test_qa_life import ADD, ADDRESS, NAME

NODE = 3


@pytest.fixture(scope="module")
def guest(cluster):
    bed = cluster
    assert is_gone(bed), bed.is_empty()
    bed.ok(1, "gnt-cluster", "modify", "--user-shutdown=yes")
    bed.ok(
        1, *ADD, "-t", "plain", "--disk", "0:size=64m", "-n", f"node{NODE}", "-B", "memory=128", "-H", PVM,
        "--net", "0:mac=aa:00:00:97:00:50", "-o", "kernel-only", NAME,
    )  # fmt: skip
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    yield bed
    bed.ok(1, "gnt-instance", "remove", "-f", "--shutdown-timeout=5", NAME)
    bed.ok(1, "gnt-cluster", "modify", "--user-shutdown=no")
    assert is_gone(bed), bed.is_empty()


def status(bed):
    return bed.ok(1, "gnt-instance", "list", "--no-headers", "-o", "status", NAME).strip()


def test_it_reboots(guest):
    bed = guest
    number = bed.ok(NODE, f"xl domid {NAME}")
    wait_until("its shell is there", lambda: bed.uptime(ADDRESS) > 25)
    tell(bed, NODE, "/sbin/reboot")
    wait_until("it has another domain", lambda: bed.call(NODE, f"xl domid {NAME}").stdout not in ("", number))
    assert status(bed) == "running"
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    bed.verify()


def test_one_that_is_shut_down_while_it_reboots_stays_down(guest):
    bed = guest
    wait_until("its shell is there", lambda: bed.uptime(ADDRESS) > 25)
    tell(bed, NODE, "/sbin/reboot")
    bed.ok(1, "gnt-instance", "shutdown", "--timeout=10", NAME)
    assert bed.domains(NODE) == []
    time.sleep(20)
    assert bed.domains(NODE) == [], "it has come back"
    assert status(bed) == "ADMIN_down"
    bed.ok(1, "gnt-instance", "start", NAME)
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))


def test_one_that_switches_itself_off_is_left_off_until_it_is_started(guest):
    bed = guest
    wait_until("its shell is there", lambda: bed.uptime(ADDRESS) > 25)
    tell(bed, NODE, "/sbin/poweroff")
    wait_until("it is off", lambda: status(bed) != "running")
    assert status(bed) == "USER_down"
    bed.ok(1, "ganeti-watcher")
    assert status(bed) == "USER_down"
    bed.ok(1, "gnt-instance", "start", NAME)
    wait_until("the guest answers", lambda: bed.answers(ADDRESS))
    assert status(bed) == "running"
