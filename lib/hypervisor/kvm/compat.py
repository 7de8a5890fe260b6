"""Whether a guest can go on in another node's emulator. Pure: facts in, obstacles out."""

from __future__ import annotations

import hashlib
import re

from ganeti.calls.migration import Departure
from ganeti.model.objects import Params

#: capabilities that may be asked for; the others change what a failed or interrupted migration leaves behind
CAPABILITIES = frozenset({"auto-converge", "compress", "multifd", "xbzrle", "zero-blocks"})
#: machine type, as the emulator's own object tree calls it
_MACHINE_ENDING = "-machine"


def machine(type_name: str) -> str:
    """`pc-i440fx-7.2` of the object type `pc-i440fx-7.2-machine`."""
    return type_name.removesuffix(_MACHINE_ENDING)


def cpu(accelerator: str, hvparams: Params, version: str, cpuinfo: str) -> str:
    """What the CPU that the guest sees depends on besides its parameters; `cpuinfo` is the host's /proc/cpuinfo."""
    if accelerator == "kvm":
        if hvparams["cpu_type"] not in ("", "host"):
            return ""
        model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
        flags = re.search(r"^flags\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
        digest = hashlib.sha256(" ".join(sorted(flags[1].split() if flags else [])).encode()).hexdigest()
        return f"{model[1].strip() if model else 'unknown'} (features {digest[:8]})"
    if hvparams["cpu_type"] not in ("", "max"):
        return ""
    # `max` is all that this release can emulate
    return f"all that QEMU {'.'.join(version.split('.')[:2])} emulates"


def cpu_problem(there: str, here: str) -> str:
    if there == here:
        return ""
    return (
        f"the guest has the CPU {there!r}, here it would get {here!r};"
        " set the hypervisor parameter cpu_type for guests that shall move between unequal nodes"
    )


def version_problem(departure: Departure, here: tuple[int, int, int]) -> str:
    """A stream of an older emulator is understood by a newer one, not the other way round."""
    there = tuple(int(part) for part in departure.version.split(".")[:2] if part.isdigit())
    if there <= here[:2]:
        return ""
    return f"the guest runs in QEMU {departure.version}, this node has the older {'.'.join(map(str, here))}"


def capability_problem(names: tuple[str, ...]) -> str:
    unknown = [name for name in names if name not in CAPABILITIES]
    if not unknown:
        return ""
    return f"migration_caps: {', '.join(unknown)} cannot be used; there are {', '.join(sorted(CAPABILITIES))}"


def pinned(departure: Departure) -> Params:
    """Hypervisor parameters that make the target's emulator like the source's."""
    return {
        "machine_version": departure.machine,
        "kvm_flag": "enabled" if departure.accelerator == "kvm" else "disabled",
    }


def uri(address: str, port: int, last: int = 0) -> str:
    """`last`: the emulator takes the first free port up to this one."""
    host = f"[{address}]" if ":" in address else address
    return f"tcp:{host}:{port}" + (f",to={last}" if last else "")
