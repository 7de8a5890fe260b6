"""Whether hardware virtualisation really runs guests here. An open /dev/kvm does not prove it: ask a small guest."""

from __future__ import annotations

import logging
import os

import msgspec

from ganeti import errors
from ganeti.host import files
from ganeti.host.run import Runner
from ganeti.hypervisor import linux
from ganeti.hypervisor.kvm import commands
from ganeti.wire import codec

log = logging.getLogger(__name__)

DEVICE = "/dev/kvm"
#: of a CPU: a working machine needs about a second of it; one that hangs burns that much, once per boot
PROBE_CPU_S = 4
#: where all guests of a node start at once, a second of a CPU takes long
PROBE_TIME_S = 20.0
_STATUS = 33  # 2 * 0x10 + 1

# A boot sector: mov al,0x10; out 0xf4,al; hlt. That it runs at all shows that the BIOS ran through its 32-bit and
# 16-bit code, timers and drive access under KVM. (A guest that writes to the port from its reset vector proves
# nothing: that works where the BIOS already hangs.)
_SECTOR = bytes([0xB0, 0x10, 0xE6, 0xF4, 0xF4]).ljust(510, b"\0") + b"\x55\xaa"


class Probed(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, and for what it holds."""

    boot_id: str
    binary: str
    modified: float
    works: bool
    reason: str = ""
    has_device: bool = True


def choose(flag: str, binary: str, directory: str, runner: Runner) -> str:
    """`kvm` or `tcg`. `flag` is the parameter kvm_flag: enabled and disabled decide without asking."""
    if flag == "disabled":
        return "tcg"
    if flag == "enabled":
        if not os.access(DEVICE, os.R_OK | os.W_OK):
            raise errors.HypervisorError(f"kvm_flag is enabled, but {DEVICE} cannot be used on this node")
        return "kvm"
    return "kvm" if probe(binary, directory, runner).works else "tcg"


def known(directory: str) -> Probed | None:
    """The last probe's result, if it is of this boot."""
    text = files.read_text(f"{directory}/accelerator")
    if text is None:
        return None
    try:
        found = codec.decode(text, Probed)
    except codec.CodecError:
        return None
    return found if found.boot_id == linux.boot_id() else None


def probe(binary: str, directory: str, runner: Runner, *, device: str = DEVICE) -> Probed:
    """Ask once per boot and emulator, and when the device appears; the result lies in `directory`.

    Raises HypervisorError without an emulator.
    """
    try:
        modified = os.stat(binary).st_mtime
    except OSError as err:
        raise errors.HypervisorError(f"the emulator {binary} cannot be found: {err.strerror}") from err
    with files.locked(f"{directory}/accelerator.lock", mode=0o600):
        found, has_device = known(directory), os.access(device, os.R_OK | os.W_OK)
        if found is not None and (found.binary, found.modified, found.has_device) == (binary, modified, has_device):
            return found
        reason = _try(binary, directory, runner) if has_device else _why_not(device)
        log.log(
            logging.WARNING if reason else logging.INFO,
            "hardware virtualisation %s",
            f"is not used, guests are emulated: {reason}" if reason else "works",
        )
        probed = Probed(
            boot_id=linux.boot_id(),
            binary=binary,
            modified=modified,
            works=not reason,
            reason=reason,
            has_device=has_device,
        )
        files.write_atomic(f"{directory}/accelerator", codec.encode(probed), mode=0o600, durable=False)
        return probed


def _why_not(device: str) -> str:
    return f"{device} may not be used by this account" if os.path.exists(device) else f"{device} does not exist"


def _try(binary: str, directory: str, runner: Runner) -> str:
    """Why it does not work, or nothing."""
    sector = f"{directory}/probe.img"
    files.write_atomic(sector, _SECTOR, mode=0o600, durable=False)
    try:
        command = commands.bounded(commands.probe(binary, sector), PROBE_CPU_S)
        runner.run(command, timeout_s=PROBE_TIME_S, ok=(_STATUS,))
    except errors.CommandFailed as err:
        return f"a test guest did not run: {err}"
    finally:
        os.unlink(sector)
    return ""
