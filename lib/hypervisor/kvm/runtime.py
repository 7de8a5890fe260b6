"""The run-time file: what a guest was started with, and which process it is. It outlives the node daemon."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

import msgspec

from ganeti import errors, paths
from ganeti.calls.instance import GuestSpec
from ganeti.host import files
from ganeti.hypervisor import devices, traces
from ganeti.hypervisor.kvm.accounts import Pool
from ganeti.hypervisor.kvm.commands import Files
from ganeti.model.objects import Params
from ganeti.model.types import MiB
from ganeti.paths import Paths
from ganeti.wire import codec

log = logging.getLogger(__name__)

#: unix(7): sun_path has 108 bytes with its end
MAX_SOCKET_PATH = 107
_ENDING = ".runtime"


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """Reboots and migrations reuse this, not the present configuration."""

    name: str
    uuid: str
    argv: tuple[str, ...]
    accelerator: str
    memory: MiB
    vcpus: int
    has_acpi: bool
    hvparams: Params  # as configured
    root: str  # directory of the virtual node, or empty
    boot_id: str  # of the host; another one now: the process is gone
    pid: int = 0  # 0: it was about to be started
    process_started: int = 0  # clock ticks since boot
    spec: GuestSpec | None = None  # what it was started as; None: by a version that did not keep it
    disk_paths: tuple[str, ...] = ()  # logical
    pinned: Params = {}  # hypervisor parameters of this emulator only: it is like the one that the guest came from
    slots: dict[str, int] = {}  # PCI slots of disks and cards, by uuid
    balloon: MiB = 0  # memory that the guest was told to have; 0: all of it
    incoming: str = ""  # the migration that brings the guest; empty when it is here for good
    outgoing: str = ""  # the last migration that was to take it away


class Layout:
    """Where the files of guests lie on this node. All paths are local."""

    def __init__(self, node_paths: Paths) -> None:
        self._paths = node_paths
        self._local = node_paths.local(paths.KVM_DIR)

    @property
    def base(self) -> str:
        # A virtual node's run directory may be a link to a short path: sockets need short ones.
        return os.path.realpath(self._local)

    def files(self, name: str) -> Files:
        base = self.base
        return Files(
            pid=f"{base}/pid/{name}",
            qmp=f"{base}/ctrl/{name}.qmp",
            monitor=f"{base}/ctrl/{name}.monitor",
            serial=f"{base}/ctrl/{name}.serial",
            agent=f"{base}/ctrl/{name}.qga",
            console_log=self.console_log(name),
            vnc=f"{base}/ctrl/{name}.vnc",
        )

    def console_log(self, name: str) -> str:
        return f"{self._paths.local(paths.CONSOLE_LOG_DIR)}/{traces.safe(name)}.log"

    def tap_script(self, name: str, index: int) -> str:
        return f"{self.base}/nic/{traces.safe(name)}-{index}"

    def jail(self, name: str) -> str:
        """An empty directory, made on demand."""
        path = f"{self.base}/jail/{traces.safe(name)}"
        os.makedirs(path, mode=0o755, exist_ok=True)
        return path

    @property
    def accounts(self) -> Pool:
        """User ids of the cluster's pool that guests have here."""
        return Pool(f"{self.base}/accounts")

    def lock(self, name: str) -> str:
        return f"{self.base}/lock/{traces.safe(name)}"

    def prepare(self) -> None:
        """Make the directories. Raises HypervisorError."""
        try:
            os.makedirs(self._paths.local(paths.CONSOLE_LOG_DIR), mode=paths.CONSOLE_LOG_DIR.mode, exist_ok=True)
            os.makedirs(self.base, mode=paths.KVM_DIR.mode, exist_ok=True)
            for part in ("pid", "ctrl", "conf", "nic", "lock"):
                os.makedirs(f"{self.base}/{part}", mode=0o700, exist_ok=True)
        except OSError as err:
            raise errors.HypervisorError(f"cannot create directory {err.filename}: {err.strerror}") from err

    def check(self, name: str) -> None:
        """Raises HypervisorError when the system cannot make sockets for a guest of this name here."""
        longest = max((self.files(traces.safe(name)).monitor, self.files(name).serial), key=len)
        if len(os.fsencode(longest)) > MAX_SOCKET_PATH:
            raise errors.HypervisorError(
                f"the socket path {longest} has {len(os.fsencode(longest))} bytes, the system allows {MAX_SOCKET_PATH}",
                hint=f"make {self._local} a link to a shorter directory, or use a shorter instance name",
            )

    # Run-time files

    def read(self, name: str) -> Runtime | None:
        """None: no such guest was started here. Raises HypervisorError for a damaged file."""
        path = self._runtime(name)
        text = files.read_text(path)
        if text is None:
            return None
        try:
            return codec.decode(text, Runtime)
        except codec.CodecError as err:
            raise errors.HypervisorError(f"{path} is damaged: {err}") from err

    def write(self, runtime: Runtime) -> None:
        kept = runtime
        if runtime.spec is not None:
            kept = msgspec.structs.replace(runtime, spec=devices.for_record(runtime.spec))
        try:
            files.write_atomic(self._runtime(runtime.name), codec.encode(kept), mode=0o600, durable=False)
        except OSError as err:
            raise errors.HypervisorError(f"cannot write {self._runtime(runtime.name)}: {err.strerror}") from err

    def names(self) -> tuple[str, ...]:
        """Guests with run-time files."""
        return tuple(name.removesuffix(_ENDING) for name in self._in("conf") if name.endswith(_ENDING))

    def strays(self) -> tuple[str, ...]:
        """Paths of sockets and process files without a run-time file."""
        known = set(self.names())
        found = [f"{self.base}/pid/{name}" for name in self._in("pid") if name not in known]
        found += [f"{self.base}/ctrl/{name}" for name in self._in("ctrl") if name.rpartition(".")[0] not in known]
        return tuple(found)

    def forget(self, name: str) -> None:
        """Remove all files of a guest but its locks and its console log; the run-time file last."""
        made = self.files(name)
        scripts = [f"{self.base}/nic/{entry}" for entry in self._in("nic") if entry.rpartition("-")[0] == name]
        for path in (made.pid, made.qmp, made.monitor, made.serial, made.agent, made.vnc, *scripts):
            traces.remove(path)
        self.accounts.release(name)
        with suppress(OSError):  # an emulator that dies hard may have left something
            os.rmdir(f"{self.base}/jail/{traces.safe(name)}")
        traces.remove(self._runtime(name))

    def _runtime(self, name: str) -> str:
        return f"{self.base}/conf/{traces.safe(name)}{_ENDING}"

    def _in(self, part: str) -> list[str]:
        try:
            return sorted(name for name in os.listdir(f"{self.base}/{part}") if not name.startswith("."))
        except FileNotFoundError:
            return []
