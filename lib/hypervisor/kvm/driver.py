"""KVM: one QEMU process per guest. It has its own session, so it lives on when the node daemon ends or restarts.

A guest's states, and what there is on the node:

====================  ================  ==============================
state                 run-time file     process
====================  ================  ==============================
not there             no                no
about to start        yes, pid 0        perhaps; known by its arguments
running, paused       yes               yes
shut down (SHUTDOWN)  yes               yes, stopped: the guest has ended
on its way here       yes, `incoming`   yes: waits for the guest, or has it, paused
gone elsewhere        yes, `outgoing`   yes, stopped: the other node has all of it
leftover              yes               no
====================  ================  ==============================
"""

from __future__ import annotations

import logging
import os

import msgspec

from ganeti import errors, settings
from ganeti.calls.devices import Running
from ganeti.calls.instance import Console, Guest, GuestSpec, GuestState
from ganeti.calls.node import HypervisorInfo
from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.host.trust import why_not_trusted
from ganeti.hypervisor import linux
from ganeti.hypervisor.kvm import accelerator, checks, console, plugging, process
from ganeti.hypervisor.kvm.copying import KvmCopying
from ganeti.hypervisor.kvm.emulator import Emulators
from ganeti.hypervisor.kvm.migration import KvmMigration
from ganeti.hypervisor.kvm.plan import plan
from ganeti.model.objects import Params
from ganeti.model.types import MiB
from ganeti.paths import Paths

log = logging.getLogger(__name__)

NAME = "kvm"
CONSOLE_PROGRAM = "ganeti-kvm-console"
_NOT_RUNNING = (GuestState.SHUTDOWN, GuestState.MIGRATING)


class KvmHypervisor:
    def __init__(self, paths: Paths, runner: Runner, clock: Clock, *, patience_s: float = 5.0) -> None:
        """`patience_s`: how long an emulator may take to answer, and then to end, before it is treated harder."""
        self._paths = paths
        self._runner = runner
        self._emulators = Emulators(paths, runner, clock, patience_s=patience_s)
        self._layout = self._emulators.layout
        self._migration = KvmMigration(self._emulators)
        self._plugging = plugging.Plugging(self._emulators)
        self._copying = KvmCopying(self._emulators)

    @property
    def copying(self) -> KvmCopying:
        return self._copying

    @property
    def migration(self) -> KvmMigration:
        return self._migration

    # What changes guests

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        name = spec.instance.name
        self._layout.check(name)
        with self._emulators.locked(name):
            there = self._emulators.known(name)
            if there is not None:
                with self._emulators.process(there) as found:
                    state = GuestState.SHUTDOWN if found is None else self._emulators.state(there)
                    if state is not GuestState.SHUTDOWN:
                        if there.uuid != spec.instance.uuid:
                            raise errors.HypervisorError(
                                f"a guest named {name} runs already, but it is instance {there.uuid}",
                                hint="stop it first",
                            )
                        if state is GuestState.MIGRATING:
                            raise errors.HypervisorError(
                                f"a migration of instance {name} is half-way on this node",
                                hint=f"run gnt-instance migrate --cleanup {name}",
                            )
                        return
                    if found is not None:
                        self._emulators.end(there, found)
                self._layout.forget(name)
            try:
                runtime = plan(spec, disk_paths, paths=self._paths, layout=self._layout, runner=self._runner)
            except errors.HypervisorError:
                self._layout.forget(name)  # network scripts
                raise
            self._emulators.launch(runtime, *(("-S",) if paused else ()))

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        with self._emulators.locked(name):
            runtime = self._emulators.find(name, uuid)
            if runtime is None:
                return
            with self._emulators.process(runtime) as found:
                if found is None:
                    return
                if force or not runtime.has_acpi:
                    self._emulators.end(runtime, found)
                elif self._emulators.state(runtime) is not GuestState.SHUTDOWN:
                    self._emulators.ask_to_shut_down(runtime, found)

    def reboot(self, spec: GuestSpec, *, hard: bool, timeout_s: float = 120) -> None:
        name = spec.instance.name
        with self._emulators.locked(name):
            runtime = self._emulators.find(name, spec.instance.uuid)
            with self._emulators.live(runtime) as (there, found):
                if there is None or found is None or self._emulators.state(there) in _NOT_RUNNING:
                    raise errors.HypervisorError(f"cannot reboot instance {name} that is not running")
                if not there.argv:
                    raise errors.HypervisorError(
                        f"instance {name} runs, but its files were lost", hint="shut it down, then start it"
                    )
                # where a reboot ends the guest, a reset does too
                if hard and there.hvparams["reboot_behavior"] == "reboot":
                    self._emulators.tell(there, found, "system_reset")
                    return
                if there.has_acpi and not hard:
                    self._emulators.shut_down(there, found, timeout_s)
                self._emulators.end(there, found)
            self._emulators.launch(msgspec.structs.replace(there, balloon=0))

    def clean_up(self, name: str, uuid: str) -> None:
        with self._emulators.locked(name):
            runtime = self._emulators.find(name, uuid)
            if runtime is None:
                return
            with self._emulators.process(runtime) as found:
                if found is not None:
                    if self._emulators.state(runtime) is not GuestState.SHUTDOWN:
                        raise errors.HypervisorError(
                            f"instance {name} is running, so its files stay", hint="stop it first"
                        )
                    self._emulators.end(runtime, found)
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
        with self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found):
            if runtime is None or found is None:
                return None
            state, has_switched_off = self._emulators.seen(runtime)
            return Guest(
                name=runtime.name,
                uuid=runtime.uuid,
                hypervisor=NAME,
                state=state,
                memory=runtime.balloon or runtime.memory,
                vcpus=runtime.vcpus,
                cpu_seconds=found.cpu_seconds,
                accelerator=runtime.accelerator,
                has_switched_off=has_switched_off,
            )

    def running(self, name: str, uuid: str) -> Running | None:
        with self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found):
            if runtime is None or found is None or runtime.spec is None:
                return None
            if self._emulators.state(runtime) in _NOT_RUNNING:
                return None
            return Running(spec=runtime.spec, why_fixed=plugging.why_fixed(runtime))

    def set_devices(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> None:
        self._plugging.set_devices(spec, disk_paths)

    def set_memory(self, name: str, uuid: str, memory: MiB) -> None:
        self._plugging.set_memory(name, uuid, memory)

    def console(self, spec: GuestSpec) -> Console:
        instance, hv = spec.instance, spec.hvparams
        if hv["serial_console"]:
            return Console(kind="ssh", host=spec.primary_name, command=(CONSOLE_PROGRAM, instance.name))
        if hv["spice_bind"] and instance.network_port:
            return Console(kind="spice", host=str(hv["spice_bind"]), port=instance.network_port)
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
        problem = why_not_trusted(binary, self._paths) or checks.why_not(binary, self._runner)
        if not problem:
            self._layout.prepare()
            accelerator.probe(binary, self._layout.base, self._runner)
        return problem or checks.vif_script_problem(self._paths)

    def leftovers(self) -> tuple[str, ...]:
        found = list(self._layout.strays())
        known: set[int] = set()
        for name in self._layout.names():
            try:
                runtime = self._layout.read(name)
            except errors.HypervisorError as err:
                found.append(str(err))
                continue
            with self._emulators.live(runtime) as (_, there):
                if there is not None:
                    known.add(there.pid)
                    if runtime is not None and self._emulators.state(runtime) is GuestState.MIGRATING:
                        found.append(f"half of a migration of {name}")
                elif runtime is not None:
                    found.append(f"run-time file of {name}, which does not run")
        for pid, path in process.with_argument_below(f"{self._layout.base}/pid").items():
            if pid not in known:
                found.append(f"process {pid} with {path}")
        return tuple(found)
