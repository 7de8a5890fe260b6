"""Live migration: QEMU sends a guest's memory and devices to another QEMU, which waits with `-incoming defer -S`.

What keeps it to one running copy: the target's emulator never starts the guest by itself (`-S`) and does not take the
disks' locks before it is told to go on (`late-block-activate`); the source counts as done only when the target has
loaded everything (`return-path`), and its guest is stopped then (run state `postmigrate`).

Disks may be cached by both hosts (any `disk_cache`): the source writes everything out before the target reads, and
since QEMU 4.0 the target drops what its host had cached of a file (`drop-cache`, qemu-block-drivers(7)).
"""

from __future__ import annotations

import logging

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestState
from ganeti.calls.migration import Departure, Endpoint, Half, Obstacles, Side, Tuning
from ganeti.hypervisor import linux, parameters
from ganeti.hypervisor.base import Watch
from ganeti.hypervisor.kvm import accelerator, checks, compat, monitor
from ganeti.hypervisor.kvm.emulator import Emulators
from ganeti.hypervisor.kvm.plan import plan
from ganeti.hypervisor.kvm.process import Process
from ganeti.hypervisor.kvm.runtime import Runtime
from ganeti.hypervisor.kvm.sending import Sender

log = logging.getLogger(__name__)

#: how long it may take until a guest that was sent is loaded, and until it goes on
_LOAD_S = 20.0
_GO_ON_S = 30.0


class KvmMigration:
    """Implements `hypervisor.base.Migration`."""

    def __init__(self, emulators: Emulators) -> None:
        self._emulators = emulators
        self._layout = emulators.layout
        self._sender = Sender(emulators)

    # Before anything happens

    def departure(self, name: str, uuid: str) -> Departure | None:
        with self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found):
            if runtime is None or found is None or self._emulators.state(runtime) is GuestState.MIGRATING:
                return None
            if runtime.spec is None:
                raise errors.HypervisorError(
                    f"instance {name} was started by an older version, which did not note all that is needed",
                    hint="reboot it fully (gnt-instance reboot --type=full), then it can migrate",
                )
            version = ".".join(map(str, self._emulators.version(runtime)))
            type_name = self._emulators.execute(runtime, "qom-get", {"path": "/machine", "property": "type"})
            return Departure(
                spec=runtime.spec,
                memory=runtime.memory,
                is_running=self._emulators.state(runtime) is GuestState.RUNNING,
                machine=compat.machine(str(type_name)),
                accelerator=runtime.accelerator,
                cpu=compat.cpu(runtime.accelerator, runtime.hvparams, version, linux.cpuinfo()),
                version=version,
                slots=runtime.slots,
                balloon=runtime.balloon,
            )

    def check(self, departure: Departure, tuning: Tuning) -> Obstacles:
        name, hv = departure.spec.instance.name, departure.spec.hvparams | compat.pinned(departure)
        paths, runner = self._emulators.paths, self._emulators.runner
        problems = [
            compat.capability_problem(tuning.capabilities),
            checks.validate(hv, paths, runner),
            self._occupied(name),
        ]
        binary = str(checks.local_files(hv, paths)["kvm_path"])
        version = checks.version(binary, runner) if not any(problems) else None
        if version is None:
            return Obstacles(problems=tuple(problem for problem in problems if problem))
        if departure.accelerator == "kvm":
            self._layout.prepare()
            probed = accelerator.probe(binary, self._layout.base, runner)
            problems.append("" if probed.works else f"hardware virtualisation does not work here: {probed.reason}")
        here = compat.cpu(departure.accelerator, hv, ".".join(map(str, version)), linux.cpuinfo())
        too_old = compat.version_problem(departure, version)
        # with an older emulator its CPU differs because of that: one thing to ignore, not two
        problems.append("" if too_old and departure.accelerator == "tcg" else compat.cpu_problem(departure.cpu, here))
        return Obstacles(problems=tuple(problem for problem in problems if problem), version=too_old)

    def _occupied(self, name: str) -> str:
        with self._emulators.live(self._layout.read(name)) as (runtime, found):
            if runtime is None or found is None:
                return ""
            return f"this node has already something of a guest named {name}: process {found.pid}"

    # Target

    def prepare(
        self, migration: str, departure: Departure, disk_paths: tuple[str, ...], *, address: str, tuning: Tuning
    ) -> Endpoint:
        name = departure.spec.instance.name
        self._layout.check(name)
        with self._emulators.locked(name):
            there = self._layout.read(name)
            with self._emulators.live(there) as (_, found):
                if there is not None and found is not None:
                    if there.incoming != migration:
                        raise errors.HypervisorError(
                            f"this node has already something of a guest named {name}: process {found.pid}",
                            hint="see gnt-cluster verify",
                        )
                    # A daemon that died in between began it; where it waits cannot be relied on.
                    self._emulators.end(there, found)
            self._layout.forget(name)
            runtime = msgspec.structs.replace(
                self._plan(departure, disk_paths),
                spec=departure.spec,
                disk_paths=disk_paths,
                balloon=departure.balloon,
                incoming=migration,
            )
            # The memory of a guest that comes is of the size that it has, whatever the configuration says now.
            self._emulators.launch(runtime, "-incoming", "defer", "-S")
            try:
                return self._listen(runtime, address, tuning)
            except errors.HypervisorError:
                self._emulators.abandon(name)
                raise

    def _plan(self, departure: Departure, disk_paths: tuple[str, ...]) -> Runtime:
        emulators, spec = self._emulators, departure.spec
        try:
            return plan(
                msgspec.structs.replace(spec, beparams=spec.beparams | {"maxmem": departure.memory}),
                disk_paths,
                paths=emulators.paths,
                layout=self._layout,
                runner=emulators.runner,
                pinned=compat.pinned(departure),
                slots=departure.slots,
            )
        except errors.HypervisorError:
            self._layout.forget(spec.instance.name)  # network scripts
            raise

    def _listen(self, runtime: Runtime, address: str, tuning: Tuning) -> Endpoint:
        self._sender.enable(runtime, ("late-block-activate", *tuning.capabilities))
        ports = parameters.migration_ports(runtime.hvparams)
        # The emulator binds the port itself: nobody can take it in between.
        where = compat.uri(address, ports[0], ports[-1])
        self._emulators.execute(runtime, "migrate-incoming", {"uri": where})
        for bound in self._sender.migration(runtime).get("socket-address", ()):
            if bound.get("type") == "inet":
                return Endpoint(address=address, port=int(bound["port"]))
        raise errors.HypervisorError(f"the emulator of instance {runtime.name} does not tell on which port it waits")

    def finish(self, migration: str, name: str, uuid: str) -> None:
        with self._emulators.locked(name):
            runtime = self._emulators.find(name, uuid)
            with self._emulators.live(runtime) as (there, found):
                if there is None or found is None or there.incoming not in ("", migration):
                    raise errors.HypervisorError(f"instance {name} has not come here, or its process has ended")
                if not there.incoming:
                    return
                self._await_load(there)
                # Only a pause of ours is ended: a guest that shut down on the way stays so.
                if self._emulators.run_state(there) in ("paused", "prelaunch"):
                    self._go_on(there)
                self._layout.write(msgspec.structs.replace(there, incoming=""))
        log.info("instance %s has come here by migration %s", name, migration)

    def _await_load(self, runtime: Runtime) -> None:
        """The source may know a moment earlier that all is loaded than this emulator says so."""
        limit = self._emulators.clock.monotonic() + _LOAD_S
        while self._emulators.run_state(runtime) == "inmigrate":
            if self._emulators.clock.monotonic() > limit:
                raise errors.HypervisorError(f"instance {runtime.name} has not arrived completely")
            self._emulators.clock.sleep(0.01)

    def _go_on(self, runtime: Runtime) -> None:
        """The source's emulator may hold the locks of shared disks a moment longer than it says that all is sent."""
        limit = self._emulators.clock.monotonic() + _LOAD_S
        while True:
            try:
                self._emulators.execute(runtime, "cont", timeout_s=_GO_ON_S)
                return
            except monitor.MonitorError as err:
                if "lock" not in str(err) or self._emulators.clock.monotonic() > limit:
                    raise
                self._emulators.clock.sleep(0.05)

    # Source

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        self._sender.send(migration, name, uuid, endpoint=endpoint, tuning=tuning, watch=watch)

    def depart(self, migration: str, name: str, uuid: str) -> None:
        with self._emulators.locked(name):
            runtime = self._emulators.find(name, uuid)
            if runtime is None or runtime.outgoing != migration:
                return
            with self._emulators.live(runtime) as (there, found):
                if there is not None and found is not None:
                    if self._sender.half(there, found).side is not Side.DEPARTED:
                        log.warning("instance %s has not departed, so it is left alone", name)
                        return
                    self._emulators.end(there, found)
            self._layout.forget(name)

    # Both

    def abort(self, migration: str, name: str, uuid: str, *, resume: bool) -> Half:
        with self._emulators.locked(name):
            runtime = self._emulators.find(name, uuid)
            with self._emulators.live(runtime) as (there, found):
                if there is None:
                    return Half(side=Side.NONE)
                if there.incoming == migration:
                    if self._runs(there, found):
                        raise errors.HypervisorError(f"instance {name} runs here already, so it is not ended")
                    if found is not None:
                        self._emulators.end(there, found)
                    self._layout.forget(name)
                    return Half(side=Side.NONE)
                if there.outgoing != migration or found is None:
                    return self._sender.half(there, found)
            return self._sender.retract(there, resume=resume)

    def half(self, name: str, uuid: str) -> Half:
        with self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found):
            return Half(side=Side.NONE) if runtime is None else self._sender.half(runtime, found)

    def _runs(self, runtime: Runtime, found: Process | None) -> bool:
        """Whether a guest that was to come goes on here; one that hangs before it was told to does not."""
        try:
            return self._sender.half(runtime, found).side is Side.RUNNING
        except monitor.MonitorError as err:
            log.warning("instance %s: %s", runtime.name, err)
            return False
