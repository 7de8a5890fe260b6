"""Block devices as the kernel shows them, and files that stand for them on virtual nodes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Protocol

import msgspec

from ganeti import errors
from ganeti.host import files, locked
from ganeti.host.run import Runner
from ganeti.paths import FAKE_DEVICES_DIR, Paths
from ganeti.storage.blockdev import names
from ganeti.storage.lvm import commands, parse

_READ_S = 120.0


class Device(msgspec.Struct, frozen=True, kw_only=True):
    real: str  # without symbolic links
    size: int  # bytes


class Devices(Protocol):
    def path(self, path: str) -> str:
        """What programs open, as a logical path."""
        ...

    def find(self, path: str) -> Device | None:
        """None: nothing is there. Raises StorageError when it is no device, or does not lie where devices lie."""
        ...

    def whole(self, real: str) -> str:
        """Of a partition the disk that it is on, else the device itself."""
        ...

    def why_not(self, real: str) -> tuple[str, str]:
        """Why nobody may take it, and what to do; empty: nothing of this node uses it. Raises StorageError."""
        ...


class KernelDevices:
    def __init__(
        self,
        runner: Runner,
        *,
        base: str = names.BASE,
        sysfs: str = "/sys/class/block",
        open_device: Callable[[str, int], int] = os.open,
    ) -> None:
        self._runner = runner
        self._base, self._sysfs, self._open = base, sysfs, open_device

    def path(self, path: str) -> str:
        return path

    def find(self, path: str) -> Device | None:
        local = self._base + path.removeprefix(names.BASE)
        return _find(path, local, self._base, stat.S_ISBLK, "a block device")

    def whole(self, real: str) -> str:
        place = os.path.realpath(f"{self._sysfs}/{os.path.basename(real)}")
        if not os.path.exists(f"{place}/partition"):
            return real
        return f"{os.path.dirname(real)}/{os.path.basename(os.path.dirname(place))}"

    def why_not(self, real: str) -> tuple[str, str]:
        name = os.path.basename(real)
        if name.startswith("drbd"):
            return "it is a DRBD device", ""
        if (files.read_text(f"{self._sysfs}/{name}/dm/uuid") or "").startswith("LVM-"):
            return "it is a logical volume", "adopt it as -t plain"
        if self._is_physical_volume(real):
            return (
                "it is a physical volume of this node's LVM",
                "if it is the guest's own, hide it from the node: lvmdevices(8), or global_filter in lvm.conf(5)",
            )
        try:
            # open(2): exclusively, a device opens only while the kernel uses it for nothing: no mount, no swap, no RAID
            os.close(self._open(real, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as err:
            if err.errno == errno.EBUSY:
                return "it is in use: mounted, or part of something", "stop what uses it"
            raise errors.StorageError(f"cannot open {real}: {err.strerror}") from err
        return "", ""

    def _is_physical_volume(self, real: str) -> bool:
        try:
            found = parse.pvs(self._runner.run(commands.pvs(), timeout_s=_READ_S).stdout)
        except errors.CommandFailed as err:
            if err.is_missing:
                return False
            raise errors.StorageError(f"cannot find out whether {real} belongs to LVM: {err}") from err
        return any(os.path.realpath(pv.name) == real for pv in found)


class FileDevices:
    """One directory of files for all nodes of a virtual cluster, as a storage network has it."""

    def __init__(self, node_paths: Paths) -> None:
        self._paths = node_paths

    def path(self, path: str) -> str:
        return FAKE_DEVICES_DIR.path + path.removeprefix(names.BASE)

    def find(self, path: str) -> Device | None:
        base = self._paths.local(FAKE_DEVICES_DIR)
        return _find(path, self._paths.local(self.path(path)), os.path.realpath(base), stat.S_ISREG, "a regular file")

    def whole(self, real: str) -> str:
        return real

    def why_not(self, real: str) -> tuple[str, str]:
        return ("it is in use", "stop what uses it") if locked.is_locked(real) else ("", "")


class _IsKind(Protocol):
    def __call__(self, mode: int, /) -> bool: ...


def _find(path: str, local: str, base: str, is_kind: _IsKind, kind: str) -> Device | None:
    try:
        real = os.path.realpath(local, strict=True)
        if not real.startswith(f"{base}/"):
            raise errors.StorageError(f"{path} is {real}, which is not below {base}")
        if not is_kind(os.stat(real).st_mode):
            raise errors.StorageError(f"{path} is not {kind}")
        handle = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return Device(real=real, size=os.lseek(handle, 0, os.SEEK_END))
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None
    except OSError as err:
        raise errors.StorageError(f"cannot look at {path}: {err.strerror}") from err
