"""DRBD in the kernel, by drbdsetup: the only part that acts on devices. Raises CommandFailed, StorageError."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from ganeti import errors
from ganeti.calls.mirror import MirrorStatus
from ganeti.host import files
from ganeti.host.run import Argv, Runner
from ganeti.model.generations import Generation
from ganeti.model.types import MiB
from ganeti.storage.drbd8 import commands, parse
from ganeti.storage.drbd8.parse import Configured

log = logging.getLogger(__name__)

_PROC = "/proc/drbd"
_HELPER = "/sys/module/drbd/parameters/usermode_helper"
_SENDPAGE = "/sys/module/drbd/parameters/disable_sendpage"
_QUICK_S = 60.0
_SLOW_S = 240.0  # the activity log of a large device is applied, or a bitmap is written
#: exit status of drbdsetup(8) for what the kernel refuses, and the errors that mean: it is so already
_REFUSED = 10
_UNKNOWN_MINOR, _UNKNOWN_RESOURCE, _UNKNOWN_CONNECTION = "(127)", "(158)", "(162)"


class Kernel(Protocol):
    """Minors of one node. What is so already is fine, unless it is said otherwise."""

    def problem(self) -> str:
        """Why mirrors cannot work here, or empty."""
        ...

    def device(self, minor: int) -> str:
        """What a hypervisor or a script opens."""
        ...

    def minors(self) -> Mapping[int, MirrorStatus]:
        """Those that are configured."""
        ...

    def configured(self, minor: int) -> Configured | None: ...

    def has_metadata(self, minor: int, meta: str) -> bool: ...

    def generation(self, minor: int, meta: str, *, is_attached: bool) -> Generation:
        """Raises StorageError: there is no metadata."""
        ...

    def create_metadata(self, minor: int, meta: str) -> None:
        """What was there is forgotten: it is like a device that was never written."""
        ...

    def make(self, minor: int) -> None:
        """Configured, without disk and peer."""
        ...

    def attach(self, minor: int, data: str, meta: str, options: Sequence[str]) -> None: ...

    def detach(self, minor: int) -> None: ...

    def connect(self, minor: int, local: str, peer: str, *, secret: str, options: Sequence[str]) -> None: ...

    def two_primaries(self, minor: int, local: str, peer: str, *, allowed: bool) -> None: ...

    def disconnect(self, minor: int, local: str, peer: str) -> None: ...

    def primary(self, minor: int, *, force: bool) -> None: ...

    def secondary(self, minor: int) -> None: ...

    def down(self, minor: int) -> None: ...

    def size(self, minor: int) -> int:
        """Bytes, of a primary."""
        ...

    def volume_size(self, data: str) -> int:
        """Bytes, of the device below a half as the kernel has it now, whatever its volume manager has noted."""
        ...

    def resize(self, minor: int, size: MiB) -> None:
        """Larger or smaller: what is beyond `size` is cut off."""
        ...

    def pause(self, minor: int, *, paused: bool) -> None: ...


class DrbdKernel:
    def __init__(self, runner: Runner, *, proc: str = _PROC, helper: str = _HELPER, sendpage: str = _SENDPAGE) -> None:
        self._runner = runner
        self._proc = proc
        self._helper = helper
        self._sendpage = sendpage

    def problem(self) -> str:
        try:
            found = self._read()
        except errors.StorageError as err:
            return str(err)
        if found.version[0] != 8:
            version = ".".join(str(part) for part in found.version)
            return f"the DRBD module has version {version}; 8.4 is needed (its own kernel's, not the one of DRBD 9)"
        helper = (files.read_text(self._helper) or "").strip()
        if helper and helper != "/bin/true":
            # the kernel asks it at events, and takes a failure for a reason to refuse its peer
            return f"the DRBD module has usermode_helper={helper}; load it with usermode_helper=/bin/true"
        return ""

    def device(self, minor: int) -> str:
        return commands.device(minor)

    def _read(self) -> parse.Proc:
        text = files.read_text(self._proc)
        if text is None:
            raise errors.StorageError("the DRBD module is not loaded", hint="run: modprobe drbd minor_count=128")
        return parse.proc(text)

    def minors(self) -> Mapping[int, MirrorStatus]:
        return self._read().minors

    def configured(self, minor: int) -> Configured | None:
        done = self._runner.run(commands.show(minor), timeout_s=_QUICK_S, ok=(0, _REFUSED))
        if done.status == _REFUSED:
            if _UNKNOWN_MINOR in done.stdout + done.stderr or _UNKNOWN_RESOURCE in done.stdout + done.stderr:
                return None
            raise errors.CommandFailed(done.argv, done.status, done.stdout + done.stderr)
        return parse.show(done.stdout) if done.stdout.strip() else None

    def has_metadata(self, minor: int, meta: str) -> bool:
        try:
            self._run(commands.get_gi(minor, meta))
        except errors.CommandFailed as err:
            if err.status is None:
                raise
            return False
        return True

    def generation(self, minor: int, meta: str, *, is_attached: bool) -> Generation:
        argv = commands.current_gi(minor) if is_attached else commands.get_gi(minor, meta)
        return parse.generation(self._runner.run(argv, timeout_s=_QUICK_S).stdout)

    def create_metadata(self, minor: int, meta: str) -> None:
        self._run(commands.create_md(minor, meta), timeout_s=_SLOW_S)

    def make(self, minor: int) -> None:
        self._run(commands.new_resource(minor))
        self._run(commands.new_minor(minor))

    def attach(self, minor: int, data: str, meta: str, options: Sequence[str]) -> None:
        # the log of what was being written is applied before each attach: without that it is refused (165)
        self._run(commands.apply_al(minor, meta), timeout_s=_SLOW_S)
        self._run(commands.attach(minor, data, meta, options), timeout_s=_SLOW_S)

    def detach(self, minor: int) -> None:
        self._run(commands.detach(minor))

    def connect(self, minor: int, local: str, peer: str, *, secret: str, options: Sequence[str]) -> None:
        self._copy_what_is_sent()
        self._run(commands.connect(minor, local, peer, secret=secret, options=options))

    def _copy_what_is_sent(self) -> None:
        # Sent without a copy, pages of a guest stay with a connection to a peer that lost its power, even when closed,
        # as the kernel ends its timers (since 6.1.84, 6.9). Under Xen that guest never ends, its device stays open, and
        # the kernel makes no device of other guests meanwhile. The module looks at this at each write.
        if (files.read_text(self._sendpage) or "").strip() != "N":
            return
        try:
            with open(self._sendpage, "w", encoding="ascii") as switch:
                switch.write("Y")
        except OSError as err:
            log.warning("cannot set %s: %s; load the DRBD module with disable_sendpage=1", self._sendpage, err)

    def two_primaries(self, minor: int, local: str, peer: str, *, allowed: bool) -> None:
        self._run(commands.two_primaries(local, peer, allowed=allowed))

    def disconnect(self, minor: int, local: str, peer: str) -> None:
        done = self._runner.run(commands.disconnect(local, peer), timeout_s=_QUICK_S, ok=(0, _REFUSED))
        if done.status == _REFUSED and _UNKNOWN_CONNECTION not in done.stdout + done.stderr:
            raise errors.CommandFailed(done.argv, done.status, done.stdout + done.stderr)

    def primary(self, minor: int, *, force: bool) -> None:
        self._run(commands.primary(minor, force=force))

    def secondary(self, minor: int) -> None:
        self._run(commands.secondary(minor))

    def down(self, minor: int) -> None:
        self._run(commands.down(minor))

    def size(self, minor: int) -> int:
        return self._size(commands.device(minor), f"minor {minor}")

    def volume_size(self, data: str) -> int:
        return self._size(data, f"volume {data}")

    def _size(self, path: str, what: str) -> int:
        done = self._runner.run(commands.size(path), timeout_s=_QUICK_S)
        if not done.stdout.strip().isdigit():
            raise errors.StorageError(f"the size of {what} is not known: blockdev says {done.stdout[:80]!r}")
        return int(done.stdout)

    def resize(self, minor: int, size: MiB) -> None:
        self._run(commands.resize(minor, size), timeout_s=_SLOW_S)

    def pause(self, minor: int, *, paused: bool) -> None:
        # paused, or going on, already: refused with the same status
        done = self._runner.run(commands.pause(minor, paused=paused), timeout_s=_QUICK_S, ok=(0, _REFUSED))
        text = done.stdout + done.stderr
        if done.status == _REFUSED and not any(word in text for word in ("already set", "already clear")):
            raise errors.CommandFailed(done.argv, done.status, text)

    def _run(self, argv: Argv, *, timeout_s: float = _QUICK_S) -> None:
        self._runner.run(argv, timeout_s=timeout_s)
