"""The hypervisor drivers of a node."""

from __future__ import annotations

from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.hypervisor.base import Hypervisor
from ganeti.hypervisor.fake.driver import FakeHypervisor
from ganeti.hypervisor.kvm.driver import KvmHypervisor
from ganeti.hypervisor.xen.driver import XenHypervisor
from ganeti.paths import Paths


def drivers(paths: Paths, runner: Runner, clock: Clock) -> dict[str, Hypervisor]:
    """Every hypervisor that this version can drive. Making them has no effect."""
    return {
        "fake": FakeHypervisor(paths, clock),
        "kvm": KvmHypervisor(paths, runner, clock),
        "xen-pvm": XenHypervisor("xen-pvm", paths, runner, clock),
        "xen-hvm": XenHypervisor("xen-hvm", paths, runner, clock),
    }
