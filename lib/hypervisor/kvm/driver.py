"""KVM: one QEMU process per guest. It has its own session, so it lives on when the node daemon ends or restarts.

A guest's states, and what there is on the node:

====================  ================  ==============================
state                 run-time file     process
====================  ================  ==============================
not there             no                no
about to start        yes, pid 0        perhaps; known by its arguments
running, paused       yes               yes
shut down (SHUTDOWN)  yes               yes, stopped: the guest has ended
leftover              yes               no
====================  ================  ==============================
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from ganeti import errors, settings
from ganeti.calls.instance import Console, Guest, GuestSpec, GuestState
from ganeti.calls.node import HypervisorInfo
from ganeti.host import files
from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.hypervisor import linux
from ganeti.hypervisor.kvm import accelerator, checks, console, monitor, parse, process
from ganeti.hypervisor.kvm.plan import plan
from ganeti.hypervisor.kvm.process import Process
from ganeti.hypervisor.kvm.runtime import Layout, Runtime
from ganeti.model.objects import Params
from ganeti.paths import Paths

log = logging.getLogger(__name__)

NAME = "kvm"
START_TIME_S = 60.0
SOFT_REBOOT_TIME_S = 30.0


class KvmHypervisor:
    def __init__(self, paths: Paths, runner: Runner, clock: Clock, *, patience_s: float = 5.0) -> None:
        """`patience_s`: how long an emulator may take to answer, and then to end, before it is treated harder."""
        self._patience_s = patience_s
        self._paths = paths
        self._runner = runner
        self._clock = clock
        self._layout = Layout(paths)

    # What changes guests

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        name = spec.instance.name
        self._layout.check(name)
        with self._locked(name):
            there = self._layout.read(name)
            if there is not None:
                with self._process(there) as found:
                    if found is not None and self._state(there) is not GuestState.SHUTDOWN:
                        if there.uuid != spec.instance.uuid:
                            raise errors.HypervisorError(
                                f"a guest named {name} runs already, but it is instance {there.uuid}",
                                hint="stop it first",
                            )
                        return
                    if found is not None:
                        self._end(there, found)
                self._layout.forget(name)
            try:
                runtime = plan(spec, disk_paths, paths=self._paths, layout=self._layout, runner=self._runner)
            except errors.HypervisorError:
                self._layout.forget(name)  # network scripts
                raise
            self._launch(runtime, paused=paused)

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        with self._locked(name):
            runtime = self._find(name, uuid)
            if runtime is None:
                return
            with self._process(runtime) as found:
                if found is None:
                    return
                if force or not runtime.has_acpi:
                    self._end(runtime, found)
                elif self._state(runtime) is not GuestState.SHUTDOWN:
                    self._tell(runtime, found, "system_powerdown")

    def reboot(self, spec: GuestSpec, *, hard: bool) -> None:
        name = spec.instance.name
        with self._locked(name):
            runtime = self._find(name, spec.instance.uuid)
            with self._live(runtime) as (there, found):
                if there is None or found is None or self._state(there) is GuestState.SHUTDOWN:
                    raise errors.HypervisorError(f"cannot reboot instance {name} that is not running")
                if hard:
                    self._tell(there, found, "system_reset")
                    return
                if there.has_acpi:
                    self._shut_down(there, found)
                self._end(there, found)
            self._launch(there, paused=False)

    def clean_up(self, name: str, uuid: str) -> None:
        with self._locked(name):
            runtime = self._find(name, uuid)
            if runtime is None:
                return
            with self._process(runtime) as found:
                if found is not None:
                    if self._state(runtime) is not GuestState.SHUTDOWN:
                        raise errors.HypervisorError(
                            f"instance {name} is running, so its files stay", hint="stop it first"
                        )
                    self._end(runtime, found)
            self._layout.forget(name)

    # What asks

    def list(self) -> tuple[Guest, ...]:
        guests = []
        for name in self._layout.names():
            console.trim(self._layout.console_log(name))
            try:
                found = self.info(name, "")
            except errors.HypervisorError as err:
                log.warning("guest %s is left out of the list: %s", name, err)
                continue
            if found is not None:
                guests.append(found)
        return tuple(guests)

    def info(self, name: str, uuid: str) -> Guest | None:
        with self._live(self._find(name, uuid)) as (runtime, found):
            if runtime is None or found is None:
                return None
            return Guest(
                name=runtime.name,
                uuid=runtime.uuid,
                hypervisor=NAME,
                state=self._state(runtime),
                memory=runtime.memory,
                vcpus=runtime.vcpus,
                cpu_seconds=found.cpu_seconds,
                accelerator=runtime.accelerator,
            )

    def console(self, spec: GuestSpec) -> Console:
        instance, hv = spec.instance, spec.hvparams
        if hv["serial_console"]:
            # Ctrl-] leaves it
            serial = self._layout.files(instance.name).serial
            argv = ("socat", "STDIO,raw,echo=0,escape=0x1d", f"UNIX-CONNECT:{serial}")
            return Console(kind="ssh", host=spec.primary_name, command=argv)
        address, port = str(hv["vnc_bind_address"]), instance.network_port or 0
        if address and not address.startswith("/") and port:
            host = spec.primary_name if address in ("0.0.0.0", "::") else address
            return Console(kind="vnc", host=host, port=port, display=str(port - 5900))
        return Console(kind="msg", message=f"No serial shell for instance {instance.name}")

    def console_log(self, name: str, uuid: str, *, max_bytes: int) -> str:
        return console.read_end(self._layout.console_log(name), max_bytes)

    def node_info(self) -> HypervisorInfo:
        binary = linux.host_file(self._paths, settings.KVM_PATH)
        text = ""
        if os.path.exists(binary):
            found = checks.version(binary, self._runner)
            text = ".".join(str(part) for part in found) if found else ""
            probed = accelerator.known(self._layout.base)
            if probed is not None:
                text += " (kvm)" if probed.works else " (tcg)"
        return linux.node_info(version=text)

    def validate(self, hvparams: Params) -> str:
        return checks.validate(hvparams, self._paths, self._runner)

    def verify(self) -> str:
        binary = linux.host_file(self._paths, settings.KVM_PATH)
        if not os.path.isfile(binary):
            return f"the emulator {settings.KVM_PATH} is not installed"
        problem = checks.why_not(binary, self._runner)
        if not problem:
            self._layout.prepare()
            accelerator.probe(binary, self._layout.base, self._runner)
        return problem

    def leftovers(self) -> tuple[str, ...]:
        found = list(self._layout.strays())
        known: set[int] = set()
        for name in self._layout.names():
            try:
                runtime = self._layout.read(name)
            except errors.HypervisorError as err:
                found.append(str(err))
                continue
            with self._live(runtime) as (_, there):
                if there is not None:
                    known.add(there.pid)
                elif runtime is not None:
                    found.append(f"run-time file of {name}, which does not run")
        for pid, path in process.with_argument_below(f"{self._layout.base}/pid").items():
            if pid not in known:
                found.append(f"process {pid} with {path}")
        return tuple(found)

    # How it is done

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """One change of a guest at a time, across processes too."""
        self._layout.prepare()
        with files.locked(self._layout.lock(name), mode=0o600):
            yield

    def _find(self, name: str, uuid: str) -> Runtime | None:
        """Another instance's guest of the same name is not the one that was asked for."""
        found = self._layout.read(name)
        return found if found is not None and uuid in ("", found.uuid) else None

    @contextmanager
    def _process(self, runtime: Runtime) -> Iterator[Process | None]:
        with process.of(runtime, self._layout.files(runtime.name).pid) as found:
            yield found

    @contextmanager
    def _live(self, runtime: Runtime | None) -> Iterator[tuple[Runtime | None, Process | None]]:
        if runtime is None:
            yield None, None
            return
        with self._process(runtime) as found:
            yield runtime, found

    def _state(self, runtime: Runtime) -> GuestState:
        """A live emulator that does not answer counts as running: its guest may well do."""
        try:
            reply = self._execute(runtime, "query-status")
        except monitor.MonitorError as err:
            log.warning("instance %s: %s", runtime.name, err)
            return GuestState.RUNNING
        return parse.guest_state(str(reply.get("status")))

    def _execute(
        self, runtime: Runtime, command: str, arguments: dict[str, str] | None = None, *, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """The emulator's answer. Any: what JSON has. Raises MonitorError."""
        socket = self._layout.files(runtime.name).qmp
        lock = self._layout.lock(f"{runtime.name}.qmp")
        found: dict[str, Any] = monitor.execute(
            socket, command, arguments, lock=lock, timeout_s=timeout_s or self._patience_s
        )
        return found

    def _tell(self, runtime: Runtime, found: Process, command: str) -> None:
        try:
            self._execute(runtime, command)
        except monitor.MonitorError as err:
            if found.is_alive:
                raise errors.HypervisorError(f"instance {runtime.name}: {err}") from err

    def _shut_down(self, runtime: Runtime, found: Process) -> None:
        """Ask, and wait a while for it."""
        self._tell(runtime, found, "system_powerdown")
        limit = self._clock.monotonic() + SOFT_REBOOT_TIME_S
        while found.is_alive and self._state(runtime) is not GuestState.SHUTDOWN:
            if self._clock.monotonic() > limit:
                log.warning("instance %s did not shut down for its reboot; it is ended", runtime.name)
                return
            self._clock.sleep(0.5)

    def _end(self, runtime: Runtime, found: Process) -> None:
        """End the emulator: by its monitor, by signal, by force. Raises HypervisorError if nothing helps."""
        try:
            self._execute(runtime, "quit")
        except monitor.MonitorError as err:
            log.warning("instance %s: %s; its process gets a signal", runtime.name, err)
        else:
            if found.ends_within(self._patience_s):
                return
        found.send(signal.SIGTERM)
        if found.ends_within(self._patience_s):
            return
        found.send(signal.SIGKILL)
        if not found.ends_within(20):
            raise errors.HypervisorError(
                f"instance {runtime.name} could not be ended: process {found.pid} stays even after SIGKILL",
                hint="it probably waits for a disk that does not answer",
            )

    def _launch(self, runtime: Runtime, *, paused: bool) -> None:
        """Start the emulator. On failure nothing of it is left."""
        name = runtime.name
        console.trim(self._layout.console_log(name))
        self._layout.write(msgspec.structs.replace(runtime, pid=0, process_started=0))
        argv = (*runtime.argv, "-S") if paused else runtime.argv
        try:
            self._runner.run(argv, timeout_s=START_TIME_S)
            self._note(runtime)
            self._set_vnc_password(runtime)
        except errors.GanetiError as err:
            self._abandon(name)
            text = err.output.strip() if isinstance(err, errors.CommandFailed) else ""
            raise errors.HypervisorError(f"instance {name} could not be started: {text or err}") from err
        log.info("instance %s runs (%s)", name, runtime.accelerator)

    def _note(self, runtime: Runtime) -> None:
        """Write down which process it is, once it answers."""
        with self._process(msgspec.structs.replace(runtime, pid=0)) as found:
            if found is None:
                raise errors.HypervisorError("the emulator ended at once")
            self._execute(runtime, "query-status", timeout_s=15)
            self._layout.write(msgspec.structs.replace(runtime, pid=found.pid, process_started=found.started))

    def _set_vnc_password(self, runtime: Runtime) -> None:
        path = checks.local_files(runtime.hvparams, self._paths)["vnc_password_file"]
        if not path or not runtime.hvparams["vnc_bind_address"]:
            return
        text = files.read_text(str(path))
        if not text:
            raise errors.HypervisorError(f"the VNC password file {path} is missing or empty")
        arguments = {"protocol": "vnc", "password": text.splitlines()[0]}
        self._execute(runtime, "set_password", arguments)

    def _abandon(self, name: str) -> None:
        """After a failed start: end what may run, remove its files."""
        runtime = self._layout.read(name)
        if runtime is not None:
            with self._process(runtime) as found:
                if found is not None:
                    found.send(signal.SIGKILL)
                    found.ends_within(20)
        self._layout.forget(name)
