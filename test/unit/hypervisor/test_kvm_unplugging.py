"""What an emulator does with a disk that the guest has given back."""

from types import SimpleNamespace

import pytest

from ganeti import errors
from ganeti.hypervisor.kvm import monitor
from ganeti.hypervisor.kvm.plugging import Plugging
from ganeti.testing.clock import SteppedClock

WEB1 = SimpleNamespace(name="web1")


class Emulators:
    """One whose block nodes stay in use for some more questions."""

    patience_s = 1.0

    def __init__(self, *, busy):
        self.clock = SteppedClock()
        self.busy, self.nodes, self.said = busy, {"disk-1"}, []

    def execute(self, runtime, command, arguments=None):
        self.said.append(command)
        if command == "qom-list":
            return []
        if command == "query-named-block-nodes":
            return [{"node-name": name} for name in self.nodes]
        assert command == "blockdev-del", command
        if arguments["node-name"] not in self.nodes:
            raise monitor.MonitorError("the emulator refused blockdev-del: Failed to find node")
        if self.busy:
            self.busy -= 1
            raise monitor.MonitorError("the emulator refused blockdev-del: Node disk-1 is in use")
        self.nodes.clear()
        return {}


def unplug(emulators):
    Plugging(emulators)._unplug(WEB1, "disk-1", "blockdev-del", "node-name")


def test_a_disk_that_the_emulator_lets_go_of_a_moment_later_is_waited_for():
    emulators = Emulators(busy=3)
    unplug(emulators)
    assert emulators.nodes == set()


def test_a_disk_that_the_emulator_keeps_open_is_not_said_to_be_gone():
    """Its volume is removed next."""
    emulators = Emulators(busy=10_000)
    with pytest.raises(errors.HypervisorError, match=r"does not let go of disk-1: .*in use"):
        unplug(emulators)


def test_a_disk_that_is_gone_already_is_fine():
    emulators = Emulators(busy=0)
    emulators.nodes.clear()
    unplug(emulators)
    assert emulators.said == ["qom-list", "blockdev-del", "query-named-block-nodes"]
