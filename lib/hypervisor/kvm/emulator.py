"""The emulators of this node: found, asked, started, ended. Everything that has an effect on one goes through here."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestState
from ganeti.host import files
from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.hypervisor import linux, traces
from ganeti.hypervisor.kvm import checks, console, monitor, parse, pinning, process
from ganeti.hypervisor.kvm.process import Process
from ganeti.hypervisor.kvm.runtime import Layout, Runtime
from ganeti.paths import Paths

log = logging.getLogger(__name__)

#: for the emulator itself, and for the memory that it fills before it starts, in MiB/s; the call's limit comes later
START_TIME_S, _LONGEST_START_S, _FILLED = 60.0, 240.0, 2048
#: a guest may miss the first request while it boots
_ASK_AGAIN_S = 5.0
#: run states in which a guest stands still, and may go on
_WAITING = ("paused", "prelaunch", "io-error")


def start_limit(runtime: Runtime) -> float:
    """How long the start may take, in seconds: huge pages are all filled at once."""
    filling = runtime.memory / _FILLED if runtime.hvparams["mem_path"] else 0.0
    return min(START_TIME_S + filling, _LONGEST_START_S)


def _runtime_of(name: str, pid: int, told: parse.CommandLine, started: int) -> Runtime:
    """Enough to list it and to end it; it cannot be rebooted or moved, nor get devices."""
    return Runtime(
        name=name,
        uuid=told.uuid,
        argv=(),
        accelerator="",
        memory=told.memory,
        vcpus=told.vcpus,
        has_acpi=True,
        hvparams={},
        root="",
        boot_id=linux.boot_id(),
        pid=pid,
        process_started=started,
    )


class Emulators:
    """Those of one node. Keeps nothing but where they are."""

    def __init__(self, paths: Paths, runner: Runner, clock: Clock, *, patience_s: float) -> None:
        """`patience_s`: how long an emulator may take to answer, and then to end, before it is treated harder."""
        self.patience_s = patience_s
        self.paths = paths
        self.runner = runner
        self.clock = clock
        self.layout = Layout(paths)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One change of a guest at a time, across processes too."""
        self.layout.prepare()
        with files.locked(self.layout.lock(name), mode=0o600):
            yield

    def find(self, name: str, uuid: str) -> Runtime | None:
        """Another instance's guest of the same name is not the one that was asked for."""
        found = self.known(name)
        return found if found is not None and uuid in ("", found.uuid) else None

    def known(self, name: str) -> Runtime | None:
        """By its run-time file; where that was lost, an emulator that runs is known by its arguments."""
        found = self.layout.read(name)
        if found is not None:
            return found
        pid_file = self.layout.files(traces.safe(name)).pid
        for pid, path in process.with_argument_below(os.path.dirname(pid_file)).items():
            told = process.described(pid) if path == pid_file else None
            if told is not None:
                log.warning("instance %s runs as process %s, but its files were lost", name, pid)
                return _runtime_of(name, pid, *told)
        return None

    @contextmanager
    def process(self, runtime: Runtime) -> Iterator[Process | None]:
        with process.of(runtime, self.layout.files(runtime.name).pid) as found:
            yield found

    @contextmanager
    def live(self, runtime: Runtime | None) -> Iterator[tuple[Runtime | None, Process | None]]:
        if runtime is None:
            yield None, None
            return
        with self.process(runtime) as found:
            yield runtime, found

    def state(self, runtime: Runtime) -> GuestState:
        return self.seen(runtime)[0]

    def seen(self, runtime: Runtime) -> tuple[GuestState, bool]:
        """Its state, and whether it has switched itself off in good order.

        A live emulator that does not answer counts as running: its guest may well do.
        """
        if runtime.incoming:
            return GuestState.MIGRATING, False
        try:
            found = self.run_state(runtime)
        except monitor.MonitorError as err:
            log.warning("instance %s: %s", runtime.name, err)
            return GuestState.RUNNING, False
        return parse.guest_state(found), found == parse.SWITCHED_OFF

    def version(self, runtime: Runtime) -> tuple[int, int, int]:
        """Of the emulator that runs, which may not be the installed one. Raises MonitorError."""
        found = self.execute(runtime, "query-version")["qemu"]
        return int(found["major"]), int(found["minor"]), int(found["micro"])

    def run_state(self, runtime: Runtime) -> str:
        """QEMU's own word for it. Raises MonitorError."""
        return str(self.execute(runtime, "query-status").get("status"))

    def execute(
        self, runtime: Runtime, command: str, arguments: dict[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """The emulator's answer. Any: what JSON has. Raises MonitorError."""
        socket = self.layout.files(runtime.name).qmp
        lock = self.layout.lock(f"{runtime.name}.qmp")
        found: dict[str, Any] = monitor.execute(
            socket, command, arguments, lock=lock, timeout_s=timeout_s or self.patience_s
        )
        return found

    def tell(self, runtime: Runtime, found: Process, command: str) -> None:
        try:
            self.execute(runtime, command)
        except monitor.MonitorError as err:
            if found.is_alive:
                raise errors.HypervisorError(f"instance {runtime.name}: {err}") from err

    def ask_to_shut_down(self, runtime: Runtime, found: Process) -> None:
        """One that stands still could not hear it, so it goes on first."""
        if self.state(runtime) is GuestState.PAUSED and self.run_state(runtime) in _WAITING:
            self.tell(runtime, found, "cont")
        self.tell(runtime, found, "system_powerdown")

    def shut_down(self, runtime: Runtime, found: Process, timeout_s: float) -> None:
        """Ask, and wait for it."""
        begun = self.clock.monotonic()
        asked = begun - _ASK_AGAIN_S
        while found.is_alive and self.state(runtime) is not GuestState.SHUTDOWN:
            now = self.clock.monotonic()
            if now - begun >= timeout_s:
                log.warning("instance %s did not shut down for its reboot; it is ended", runtime.name)
                return
            if now - asked >= _ASK_AGAIN_S:
                asked = now
                self.ask_to_shut_down(runtime, found)
            self.clock.sleep(0.5)

    def end(self, runtime: Runtime, found: Process) -> None:
        """End the emulator: by its monitor, by signal, by force. Raises HypervisorError if nothing helps."""
        try:
            self.execute(runtime, "quit")
        except monitor.MonitorError as err:
            log.warning("instance %s: %s; its process gets a signal", runtime.name, err)
        else:
            if found.ends_within(self.patience_s):
                return
        found.send(signal.SIGTERM)
        if found.ends_within(self.patience_s):
            return
        found.send(signal.SIGKILL)
        if not found.ends_within(20):
            raise errors.HypervisorError(
                f"instance {runtime.name} could not be ended: process {found.pid} stays even after SIGKILL",
                hint="it probably waits for a disk that does not answer",
            )

    def launch(self, runtime: Runtime, *more: str) -> None:
        """Start the emulator, with arguments that are for this time only. On failure nothing of it is left."""
        name = runtime.name
        console.trim(self.layout.console_log(name))
        self.layout.write(msgspec.structs.replace(runtime, pid=0, process_started=0))
        try:
            self.runner.run((*runtime.argv, *more), timeout_s=start_limit(runtime))
            self._note(runtime)
            self._set_passwords(runtime)
        except errors.GanetiError as err:
            self.abandon(name)
            text = err.output.strip() if isinstance(err, errors.CommandFailed) else ""
            raise errors.HypervisorError(f"instance {name} could not be started: {text or err}") from err
        log.info("instance %s: its emulator runs (%s)", name, runtime.accelerator)

    def _note(self, runtime: Runtime) -> None:
        """Write down which process it is, once it answers."""
        with self.process(msgspec.structs.replace(runtime, pid=0)) as found:
            if found is None:
                raise errors.HypervisorError("the emulator ended at once")
            self.execute(runtime, "query-status", timeout_s=15)
            self._pin(runtime, found)
            self.layout.write(msgspec.structs.replace(runtime, pid=found.pid, process_started=found.started))

    def _pin(self, runtime: Runtime, found: Process) -> None:
        mask = str(runtime.hvparams["cpu_mask"])
        if mask == "all":
            return
        cpus: Any = self.execute(runtime, "query-cpus-fast")
        threads = [int(cpu["thread-id"]) for cpu in sorted(cpus, key=lambda cpu: int(cpu["cpu-index"]))]
        pinning.pin(found.pid, threads, mask)

    def _set_passwords(self, runtime: Runtime) -> None:
        local = checks.local_files(runtime.hvparams, self.paths)
        for protocol, bind in (("vnc", "vnc_bind_address"), ("spice", "spice_bind")):
            path = local[f"{protocol}_password_file"]
            if not path or not runtime.hvparams[bind]:
                continue
            text = files.read_text(str(path))
            if not text:
                raise errors.HypervisorError(f"the {protocol.upper()} password file {path} is missing or empty")
            self.execute(runtime, "set_password", {"protocol": protocol, "password": text.splitlines()[0]})

    def abandon(self, name: str) -> None:
        """After a failed start: end what may run, remove its files."""
        runtime = self.layout.read(name)
        if runtime is not None:
            with self.process(runtime) as found:
                if found is not None:
                    found.send(signal.SIGKILL)
                    found.ends_within(20)
        self.layout.forget(name)
