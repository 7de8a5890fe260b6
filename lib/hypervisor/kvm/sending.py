"""The source of a live migration: QEMU sends, we follow it, stop it, and let the guest go on where it stays.

Emulated guests (TCG) get special care. QEMU learns which pages a guest changes from the emulated CPUs' own TLBs, and
up to 7.2 it does not bring those up to date when it collects what has changed: later writes are lost, and the guest
crashes at the target (with 7.2.22 every fifth guest that did a little). So it may collect only while the guest is
stopped: once at the start, for which we stop it some milliseconds, and once at the end, when it is stopped anyway.
With a downtime limit of 0 those releases collect at no other time: one pass over the memory, then a pause for what has
changed since. Newer ones would never end so. KVM learns it from the kernel and needs nothing of this.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestState
from ganeti.calls.migration import Endpoint, Half, Side, Tuning
from ganeti.hypervisor.base import Watch
from ganeti.hypervisor.kvm import compat, monitor, parse
from ganeti.hypervisor.kvm.emulator import Emulators
from ganeti.hypervisor.kvm.process import Process
from ganeti.hypervisor.kvm.progress import Meter
from ganeti.hypervisor.kvm.runtime import Runtime

log = logging.getLogger(__name__)

#: QEMU's word for no limit, in bytes per second; 0 would mean its default
_UNLIMITED = 1 << 50
#: nothing was taken by the target for so long: it is dead or cut off. QEMU itself would wait for TCP, for many minutes.
STALL_S = 30.0
#: how long the end of a migration may take, and of its first part, for which an emulated guest is stopped
_END_S = 20.0
_SETUP_S = 3.0
_GO_ON_S = 30.0
#: from this release on an emulated guest's migration would not end with a downtime limit of 0
_LOOKS_AGAIN = (8, 0)
#: states of QEMU's MigrationStatus (qemu-qmp-ref(7)) in which it is under way
_ACTIVE = (
    "setup", "active", "cancelling", "pre-switchover", "device", "wait-unplug",
    "postcopy-active", "postcopy-paused", "postcopy-recover",
)  # fmt: skip
#: run states in which a guest waits because of us
_HELD = ("paused", "prelaunch", "postmigrate")


class Sender:
    """Of one node. Whoever changes a guest by it holds the guest's lock."""

    def __init__(self, emulators: Emulators) -> None:
        self._emulators = emulators
        self._layout = emulators.layout

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        """As in `hypervisor.base.Migration`; takes the lock itself, for a moment at both ends."""
        with self._emulators.locked(name):
            runtime = self._begin(migration, self._emulators.find(name, uuid), endpoint, tuning)
        problem = self._follow(runtime, tuning, watch)
        if not problem:
            return
        with self._emulators.locked(name):
            # Not complete, so it has to go on here: what the target has is not worth anything.
            half = self.retract(runtime, resume=False)
        if half.side is Side.DEPARTED:
            log.warning("instance %s: %s, but it was too late: it has departed", name, problem)
            return
        raise errors.HypervisorError(f"instance {name} did not migrate: {problem}")

    def _begin(self, migration: str, runtime: Runtime | None, endpoint: Endpoint, tuning: Tuning) -> Runtime:
        """Start to send, or find that it was started by a daemon that died meanwhile."""
        with self._emulators.live(runtime) as (there, found):
            if there is None or found is None:
                raise errors.HypervisorError("the instance does not run here")
            half = self.half(there, found)
            if half.side in (Side.LEAVING, Side.DEPARTED):
                if half.migration != migration:
                    raise errors.HypervisorError(f"instance {there.name} is already part of migration {half.migration}")
                if half.side is Side.LEAVING and tuning.live:
                    self._let_run(there)
                return there
            if half.side is not Side.RUNNING and not (half.side is Side.PAUSED and half.migration == migration):
                raise errors.HypervisorError(f"instance {there.name} does not run, it is {half.side.value}")
            marked = msgspec.structs.replace(there, outgoing=migration)
            self._layout.write(marked)
            try:
                self._start(marked, endpoint, tuning)
            except errors.HypervisorError:
                self.retract(marked, resume=False)
                raise
            return marked

    def _start(self, runtime: Runtime, endpoint: Endpoint, tuning: Tuning) -> None:
        is_emulated = runtime.accelerator == "tcg"
        self.enable(runtime, ("return-path", *tuning.capabilities))
        limits = {"max-bandwidth": tuning.bandwidth << 20 or _UNLIMITED}
        if is_emulated and self._emulators.version(runtime) < _LOOKS_AGAIN:
            limits["downtime-limit"] = 0
        elif tuning.downtime:
            limits["downtime-limit"] = tuning.downtime
        self._emulators.execute(runtime, "migrate-set-parameters", limits)
        if is_emulated or not tuning.live:
            self._emulators.execute(runtime, "stop")
        self._emulators.execute(runtime, "migrate", {"uri": compat.uri(endpoint.address, endpoint.port)})
        if is_emulated and tuning.live:
            self._await_setup(runtime)
            self._let_run(runtime)

    def _let_run(self, runtime: Runtime) -> None:
        """Meanwhile, unless it is at its last part already, for which QEMU stops it."""
        try:
            if self._emulators.run_state(runtime) == "paused":
                self._emulators.execute(runtime, "cont", timeout_s=_GO_ON_S)
        except monitor.MonitorError:
            if self._emulators.run_state(runtime) == "paused":
                raise

    def _await_setup(self, runtime: Runtime) -> None:
        clock = self._emulators.clock
        limit = clock.monotonic() + _SETUP_S
        while self.migration(runtime).get("status") == "setup":
            if clock.monotonic() > limit:
                raise errors.HypervisorError(f"instance {runtime.name} did not migrate: the target does not answer")
            clock.sleep(0.005)

    def _follow(self, runtime: Runtime, tuning: Tuning, watch: Watch) -> str:
        """Wait for the end of sending; why it is not to go on or has failed, or nothing when the guest has departed."""
        clock = self._emulators.clock
        meter = Meter(clock.monotonic())
        silent_since: float | None = None
        while True:
            now = clock.monotonic()
            try:
                found = self.migration(runtime)
                status = str(found.get("status", "none"))
                has_ended = status not in _ACTIVE and self._emulators.run_state(runtime) != "finish-migrate"
            except monitor.MonitorError as err:
                silent_since = now if silent_since is None else silent_since
                if not self._is_alive(runtime):
                    return "its emulator has ended"
                if now - silent_since > STALL_S:
                    return str(err)
            else:
                silent_since = None
                meter.take(now, found.get("ram") or {})
                watch.progress.update(meter.progress())
                if has_ended and status == "completed":
                    watch.progress["text"] = meter.summary(found)
                    return ""
                if has_ended:
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

    def half(self, runtime: Runtime, found: Process | None) -> Half:
        """What there is of a guest, also at a target. Raises MonitorError when a live emulator does not answer."""
        migration = runtime.incoming or runtime.outgoing
        if found is None:
            return Half(side=Side.NONE, migration=migration)
        run_state = self._emulators.run_state(runtime)
        status = str(self.migration(runtime).get("status", "none"))
        state = parse.guest_state(run_state)
        if runtime.incoming:
            waits = Side.INCOMING if run_state == "inmigrate" else Side.ARRIVED
            return Half(side=Side.RUNNING if state is GuestState.RUNNING else waits, migration=migration)
        if run_state == "postmigrate" and status == "completed":
            return Half(side=Side.DEPARTED, migration=migration)
        if status in _ACTIVE or run_state == "finish-migrate":
            return Half(side=Side.LEAVING, migration=migration)
        sides = {GuestState.RUNNING: Side.RUNNING, GuestState.SHUTDOWN: Side.ENDED}
        return Half(side=sides.get(state, Side.PAUSED), migration=migration)

    def retract(self, runtime: Runtime, *, resume: bool) -> Half:
        """Stop sending; the guest goes on here, if it has not departed or may come back (`resume`)."""
        clock = self._emulators.clock
        limit = clock.monotonic() + _END_S
        while True:
            with self._emulators.process(runtime) as found:
                half = self.half(runtime, found)
            if half.side is not Side.LEAVING:
                break
            if clock.monotonic() > limit:
                raise errors.HypervisorError(f"the migration of instance {runtime.name} does not end")
            self._emulators.execute(runtime, "migrate_cancel")
            clock.sleep(0.05)
        if half.side is Side.NONE or (half.side is Side.DEPARTED and not resume):
            return half
        if self._emulators.run_state(runtime) in _HELD:
            self._emulators.execute(runtime, "cont", timeout_s=_GO_ON_S)
        stays = msgspec.structs.replace(runtime, outgoing="")
        self._layout.write(stays)
        with self._emulators.process(stays) as found:
            return self.half(stays, found)

    def migration(self, runtime: Runtime) -> dict[str, Any]:
        """The emulator's MigrationInfo. Any: what JSON has."""
        return self._emulators.execute(runtime, "query-migrate")

    def enable(self, runtime: Runtime, capabilities: Iterable[str]) -> None:
        wanted = [{"capability": name, "state": True} for name in capabilities]
        self._emulators.execute(runtime, "migrate-set-capabilities", {"capabilities": wanted})

    def _is_alive(self, runtime: Runtime) -> bool:
        with self._emulators.process(runtime) as found:
            return found is not None
