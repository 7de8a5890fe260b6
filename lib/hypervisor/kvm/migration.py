"""Live migration: QEMU sends a guest's memory and devices to another QEMU, which waits with `-incoming defer -S`.

What keeps it to one running copy: the target's emulator never starts the guest by itself (`-S`) and does not take the
disks' locks before it is told to go on (`late-block-activate`); the source counts as done only when the target has
loaded everything (`return-path`), and its guest is stopped then (run state `postmigrate`).

Disks may be cached by both hosts (any `disk_cache`): the source writes everything out before the target reads, and
since QEMU 4.0 the target drops what its host had cached of a file (`drop-cache`, qemu-block-drivers(7)).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestState
from ganeti.calls.migration import Departure, Endpoint, Half, Obstacles, Side, Tuning
from ganeti.hypervisor import linux
from ganeti.hypervisor.base import Watch
from ganeti.hypervisor.kvm import accelerator, checks, compat, monitor, parse
from ganeti.hypervisor.kvm.emulator import Emulators
from ganeti.hypervisor.kvm.plan import plan
from ganeti.hypervisor.kvm.process import Process
from ganeti.hypervisor.kvm.progress import Meter
from ganeti.hypervisor.kvm.runtime import Runtime

log = logging.getLogger(__name__)

#: ports for guests that come at the same time, from migration_port on
PORTS = 64
#: QEMU's word for no limit, in bytes per second; 0 would mean its default
_UNLIMITED = 1 << 50
#: nothing was taken by the target for so long: it is dead or cut off. QEMU itself would wait for TCP, for many minutes.
STALL_S = 30.0
#: how long it may take until a cancelled migration has ended, and until one that was sent is loaded
_END_S = 20.0
_GO_ON_S = 30.0
#: states of QEMU's MigrationStatus (qemu-qmp-ref(7)) in which it is under way
_ACTIVE = (
    "setup", "active", "cancelling", "pre-switchover", "device", "wait-unplug",
    "postcopy-active", "postcopy-paused", "postcopy-recover",
)  # fmt: skip


class KvmMigration:
    """Implements `hypervisor.base.Migration`."""

    def __init__(self, emulators: Emulators) -> None:
        self._emulators = emulators
        self._layout = emulators.layout

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
            answer = self._emulators.execute(runtime, "query-version")["qemu"]
            version = f"{answer['major']}.{answer['minor']}.{answer['micro']}"
            type_name = self._emulators.execute(runtime, "qom-get", {"path": "/machine", "property": "type"})
            return Departure(
                spec=runtime.spec,
                memory=runtime.memory,
                is_running=self._emulators.state(runtime) is GuestState.RUNNING,
                machine=compat.machine(str(type_name)),
                accelerator=runtime.accelerator,
                cpu=compat.cpu(runtime.accelerator, runtime.hvparams, version, linux.cpuinfo()),
                version=version,
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
                self._plan(departure, disk_paths), spec=departure.spec, disk_paths=disk_paths, incoming=migration
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
            )
        except errors.HypervisorError:
            self._layout.forget(spec.instance.name)  # network scripts
            raise

    def _listen(self, runtime: Runtime, address: str, tuning: Tuning) -> Endpoint:
        self._enable(runtime, ("late-block-activate", *tuning.capabilities))
        first = int(runtime.hvparams["migration_port"])
        # The emulator binds the port itself: nobody can take it in between.
        where = compat.uri(address, first, min(first + PORTS - 1, 65535))
        self._emulators.execute(runtime, "migrate-incoming", {"uri": where})
        for bound in self._migration(runtime).get("socket-address", ()):
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
                    self._emulators.execute(there, "cont", timeout_s=_GO_ON_S)
                self._layout.write(msgspec.structs.replace(self._read(there), incoming=""))
        log.info("instance %s has come here by migration %s", name, migration)

    def _await_load(self, runtime: Runtime) -> None:
        """The source may know a moment earlier that all is loaded than this emulator says so."""
        limit = self._emulators.clock.monotonic() + _END_S
        while self._emulators.run_state(runtime) == "inmigrate":
            if self._emulators.clock.monotonic() > limit:
                raise errors.HypervisorError(f"instance {runtime.name} has not arrived completely")
            self._emulators.clock.sleep(0.01)

    # Source

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        with self._emulators.locked(name):
            runtime = self._begin(migration, self._emulators.find(name, uuid), endpoint, tuning)
        problem = self._follow(runtime, tuning, watch)
        if not problem:
            return
        with self._emulators.locked(name):
            # Not complete, so it has to go on here: what the target has is not worth anything.
            half = self._retract(runtime, resume=False)
        if half.side is Side.DEPARTED:
            log.warning("instance %s: %s, but it was too late: it has departed", name, problem)
            return
        raise errors.HypervisorError(f"instance {name} did not migrate: {problem}")

    def _begin(self, migration: str, runtime: Runtime | None, endpoint: Endpoint, tuning: Tuning) -> Runtime:
        """Start to send, or find that it was started by a daemon that died meanwhile."""
        with self._emulators.live(runtime) as (there, found):
            if there is None or found is None:
                raise errors.HypervisorError("the instance does not run here")
            half = self._half(there, found)
            if half.side in (Side.LEAVING, Side.DEPARTED):
                if half.migration == migration:
                    return there
                raise errors.HypervisorError(f"instance {there.name} is already part of migration {half.migration}")
            if half.side is not Side.RUNNING and not (half.side is Side.PAUSED and half.migration == migration):
                raise errors.HypervisorError(f"instance {there.name} does not run, it is {half.side.value}")
            marked = msgspec.structs.replace(self._read(there), outgoing=migration)
            self._layout.write(marked)
            try:
                self._enable(marked, ("return-path", *tuning.capabilities))
                self._emulators.execute(marked, "migrate-set-parameters", _parameters(tuning))
                if not tuning.live:
                    self._emulators.execute(marked, "stop")
                uri = compat.uri(endpoint.address, endpoint.port)
                self._emulators.execute(marked, "migrate", {"uri": uri})
            except errors.HypervisorError:
                self._retract(marked, resume=False)
                raise
            return marked

    def _follow(self, runtime: Runtime, tuning: Tuning, watch: Watch) -> str:
        """Wait for the end of sending; why it is not to go on or has failed, or nothing when the guest has departed."""
        clock = self._emulators.clock
        meter = Meter(clock.monotonic())
        silent_since: float | None = None
        while True:
            now = clock.monotonic()
            try:
                found = self._migration(runtime)
            except monitor.MonitorError as err:
                silent_since = now if silent_since is None else silent_since
                if not self._is_alive(runtime):
                    return "its emulator has ended"
                if now - silent_since > STALL_S:
                    return str(err)
            else:
                silent_since = None
                status = str(found.get("status", "none"))
                meter.take(now, found.get("ram") or {})
                watch.progress.update(meter.progress())
                if status == "completed":
                    watch.progress["text"] = meter.summary(found)
                    return ""
                if status not in _ACTIVE:
                    return str(found.get("error-desc") or f"the emulator says {status}")
            if watch.stop.is_set():
                return "it was stopped on request"
            if now - meter.begun > tuning.limit:
                return (
                    f"it did not end within {tuning.limit} s ({meter.text()}); the guest may change its memory faster"
                    " than it is sent: raise migration_bandwidth or migration_downtime, slow it down by"
                    " migration_caps=auto-converge, or use --non-live"
                )
            if now - meter.moved > STALL_S:
                return f"the target has taken nothing for {STALL_S:.0f} s"
            watch.stop.wait(meter.pause())

    def depart(self, migration: str, name: str, uuid: str) -> None:
        with self._emulators.locked(name):
            runtime = self._emulators.find(name, uuid)
            if runtime is None or runtime.outgoing != migration:
                return
            with self._emulators.live(runtime) as (there, found):
                if there is not None and found is not None:
                    if self._half(there, found).side is not Side.DEPARTED:
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
                    return self._half(there, found)
            return self._retract(there, resume=resume)

    def half(self, name: str, uuid: str) -> Half:
        with self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found):
            return Half(side=Side.NONE) if runtime is None else self._half(runtime, found)

    def _half(self, runtime: Runtime, found: Process | None) -> Half:
        """Raises MonitorError when a live emulator does not answer."""
        migration = runtime.incoming or runtime.outgoing
        if found is None:
            return Half(side=Side.NONE, migration=migration)
        run_state = self._emulators.run_state(runtime)
        status = str(self._migration(runtime).get("status", "none"))
        state = parse.guest_state(run_state)
        if runtime.incoming:
            waits = Side.INCOMING if run_state == "inmigrate" else Side.ARRIVED
            return Half(side=Side.RUNNING if state is GuestState.RUNNING else waits, migration=migration)
        if run_state == "postmigrate" and status == "completed":
            return Half(side=Side.DEPARTED, migration=migration)
        if status in _ACTIVE:
            return Half(side=Side.LEAVING, migration=migration)
        sides = {GuestState.RUNNING: Side.RUNNING, GuestState.SHUTDOWN: Side.ENDED}
        return Half(side=sides.get(state, Side.PAUSED), migration=migration)

    def _retract(self, runtime: Runtime, *, resume: bool) -> Half:
        """Stop sending; the guest goes on here, if it has not departed or may come back (`resume`)."""
        limit = self._emulators.clock.monotonic() + _END_S
        while True:
            with self._emulators.process(runtime) as found:
                half = self._half(runtime, found)
            if half.side is not Side.LEAVING:
                break
            if self._emulators.clock.monotonic() > limit:
                raise errors.HypervisorError(f"the migration of instance {runtime.name} does not end")
            self._emulators.execute(runtime, "migrate_cancel")
            self._emulators.clock.sleep(0.05)
        if half.side is Side.NONE or (half.side is Side.DEPARTED and not resume):
            return half
        # A guest that we stopped in order to send it, or that QEMU stopped for the last part.
        if self._emulators.run_state(runtime) in ("paused", "postmigrate", "prelaunch"):
            self._emulators.execute(runtime, "cont", timeout_s=_GO_ON_S)
        self._layout.write(msgspec.structs.replace(self._read(runtime), outgoing=""))
        with self._emulators.process(runtime) as found:
            return self._half(self._read(runtime), found)

    def _runs(self, runtime: Runtime, found: Process | None) -> bool:
        """Whether a guest that was to come goes on here; one that hangs before it was told to does not."""
        try:
            return self._half(runtime, found).side is Side.RUNNING
        except monitor.MonitorError as err:
            log.warning("instance %s: %s", runtime.name, err)
            return False

    def _read(self, runtime: Runtime) -> Runtime:
        """As it is written now: the number of its process may have been added."""
        return self._layout.read(runtime.name) or runtime

    def _is_alive(self, runtime: Runtime) -> bool:
        with self._emulators.process(runtime) as found:
            return found is not None

    def _migration(self, runtime: Runtime) -> dict[str, Any]:
        return self._emulators.execute(runtime, "query-migrate")

    def _enable(self, runtime: Runtime, capabilities: Iterable[str]) -> None:
        wanted = [{"capability": name, "state": True} for name in capabilities]
        self._emulators.execute(runtime, "migrate-set-capabilities", {"capabilities": wanted})


def _parameters(tuning: Tuning) -> dict[str, int]:
    found = {"max-bandwidth": tuning.bandwidth << 20 or _UNLIMITED}
    return found | ({"downtime-limit": tuning.downtime} if tuning.downtime else {})
