"""Xen for the shared suites: simulated always, and the real one of a testbed's node."""

import subprocess

from driver import testbed

from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.testing.clock import SteppedClock
from ganeti.testing.xen import SimulatedXl

UUID = "11111111-2222-4333-8444-555555555555"
OTHER_UUID = UUID.replace("1", "2")
SIMULATED = ("xen-pvm", "xen-hvm")
#: the same drivers; the name of such a variant is no hypervisor's
REAL = {"real-xen-pvm": "xen-pvm", "real-xen-hvm": "xen-hvm"}
KINDS = [*SIMULATED, *testbed.only_there(*REAL)]
#: a kernel needs more than a machine that only has firmware
_MEMORY = {"real-xen-pvm": 96}
_KERNEL = {
    "kernel_path": "/boot/guest/vmlinux",
    "initrd_path": "/boot/guest/initrd.gz",
    "kernel_args": "console=hvc0 quiet panic=-1",
}


class Noted:
    """A runner of real commands that notes them, as the simulated one does."""

    def __init__(self, paths):
        self._runner = HostRunner(paths)
        self.calls = []

    def run(self, argv, **how):
        self.calls.append(tuple(argv))
        return self._runner.run(argv, **how)


def runner(kind, paths):
    return Noted(paths) if kind in REAL else SimulatedXl()


def clock(kind):
    return SystemClock() if kind in REAL else SteppedClock()


def memory(kind):
    """MiB of a guest."""
    return _MEMORY.get(kind, 32)


def parameters(kind):
    """Simulated ones need no more than that there is a file."""
    if kind not in REAL:
        return {"kernel_path": __file__}
    return _KERNEL if kind == "real-xen-pvm" else {}


def destroy_guests():
    """Those of the suite, by their uuids, without any of our code."""
    rows = subprocess.run(("xl", "list", "-v"), check=True, capture_output=True, text=True, timeout=120).stdout
    for row in rows.splitlines()[1:]:
        words = row.split()
        if words[6] in (UUID, OTHER_UUID):
            subprocess.run(("xl", "destroy", words[1]), check=False, timeout=120)
