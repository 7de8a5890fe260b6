"""Live migration of Xen guests: `xl migrate` at the source talks through socat to `xl migrate-receive` at the target.

Both ends run in sessions of their own, so they go on when the node daemon ends. What keeps it to one running copy: xl's
sender hands the guest over by a handshake and destroys its own domain only when the target has all of it; the target
leaves it paused (-p) until `finish`. When the connection breaks before, the sender lets the guest go on by itself.
So nothing is left at the source when `send` returns, and `depart` has nothing to do.

The stream is not encrypted: it belongs into the network of the nodes' secondary addresses.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestSpec, GuestState
from ganeti.calls.migration import Departure, Endpoint, Half, Obstacles, Side, Tuning
from ganeti.host import files, groups
from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.hypervisor import parameters
from ganeti.hypervisor.base import Watch
from ganeti.hypervisor.xen import config, parse, session, transport
from ganeti.hypervisor.xen.record import Record, Records
from ganeti.hypervisor.xen.toolstack import XL, Toolstack
from ganeti.model.objects import Params

log = logging.getLogger(__name__)

Plan = Callable[[GuestSpec, tuple[str, ...]], tuple[Record, str]]

_LISTEN_S, _ABORT_S, _POLL_S = 10.0, 90.0, 0.5
#: the guest stands still until the end of its sender has been seen
_FOLLOW_S = 0.05
#: how long a domain that was suspended for its migration may take to go on
_RESUME_S = 5.0


class XenMigration:
    """Implements `hypervisor.base.Migration`."""

    def __init__(
        self,
        xl: Toolstack,
        records: Records,
        runner: Runner,
        clock: Clock,
        *,
        plan: Plan,
        validate: Callable[[Params], str],
    ) -> None:
        self._xl = xl
        self._records = records
        self._runner = runner
        self._clock = clock
        self._plan = plan
        self._validate = validate

    # Before anything happens

    def departure(self, name: str, uuid: str) -> Departure | None:
        record, domain = self._records.read(name), self._xl.find(name)
        if record is None or domain is None or record.incoming or uuid not in ("", domain.uuid):
            return None
        state = parse.state(domain)
        return Departure(
            spec=record.spec,
            memory=config.memory(record.spec),
            is_running=state is GuestState.RUNNING and not domain.is_suspended,
            version=parse.version(parse.info(self._xl.info())),
        )

    def check(self, departure: Departure, tuning: Tuning) -> Obstacles:
        name = departure.spec.instance.name
        problems = [self._validate(departure.spec.hvparams)]
        taken = (name, *parse.halves(name))
        problems += [
            f"this node has already a domain {domain.name}" for domain in self._xl.domains() if domain.name in taken
        ]
        if len(problems) == 1 and self._records.read(name) is not None:
            # it waits for a guest of this name, and has no domain yet; or one has ended and was not cleaned up
            problems.append(f"this node has already something of a guest named {name}")
        found = parse.info(self._xl.info())
        free = found.get("free_memory", "")
        if free.isdigit() and int(free) < departure.memory:
            problems.append(f"{departure.memory} MiB are needed, {free} MiB are free here")
        return Obstacles(
            problems=tuple(problem for problem in problems if problem),
            version=parse.version_problem(departure.version, parse.version(found)),
        )

    # Target

    def prepare(
        self, migration: str, departure: Departure, disk_paths: tuple[str, ...], *, address: str, tuning: Tuning
    ) -> Endpoint:
        spec = departure.spec
        name = spec.instance.name
        with self._records.locked(name):
            there = self._records.read(name)
            if there is not None and there.incoming != migration:
                raise errors.HypervisorError(
                    f"this node has already something of a guest named {name}", hint="see gnt-cluster verify"
                )
            if there is not None:
                self._end_receiver(name)  # where it waits cannot be relied on
            record, text = self._plan(spec, disk_paths)
            wakes = departure.is_running
            self._records.write(msgspec.structs.replace(record, incoming=migration, wakes=wakes), text)
            ports = parameters.migration_ports(spec.hvparams)
            try:
                for port in ports:
                    if self._listen(name, address, port):
                        return Endpoint(address=address, port=port)
            except errors.HypervisorError:
                self._records.forget(name)
                raise
            self._records.forget(name)
            raise errors.HypervisorError(f"no port from {ports[0]} on is free at {address}")

    def _listen(self, name: str, address: str, port: int) -> bool:
        """False: the port is taken."""
        self._records.forget_migration(name)
        log_file, pid_file = (self._records.migration_file(name, kind) for kind in ("log", "pid"))
        receive = f"exec {XL} migrate-receive -p"
        command = shlex.join(transport.listen(address, port, receive))
        script = f"echo $$ >{shlex.quote(pid_file)}; exec {command} 2>{shlex.quote(log_file)}"
        self._launch(script)
        limit = self._clock.monotonic() + _LISTEN_S
        while self._clock.monotonic() < limit:
            if session.is_listening(address, port, self._pid(name)):
                return True
            said = files.read_text(log_file) or ""
            if said:
                if "Address already in use" in said:
                    return False
                break
            self._clock.sleep(0.1)
        self._end_receiver(name)
        raise errors.HypervisorError(
            f"socat does not wait at {address}:{port}: {(files.read_text(log_file) or 'it says nothing').strip()}",
            hint="is the package socat installed?",
        )

    def finish(self, migration: str, name: str, uuid: str) -> None:
        with self._records.locked(name):
            record, domain = self._records.read(name), self._xl.find(name)
            if record is None or domain is None or record.incoming not in ("", migration) or domain.uuid != uuid:
                raise errors.HypervisorError(f"instance {name} has not come here, or it has ended")
            if not record.incoming:
                return
            if record.wakes and domain.is_paused:
                self._xl.unpause(name)
            self._records.note(msgspec.structs.replace(record, incoming=""))
            self._records.forget_migration(name)
        log.info("instance %s has come here by migration %s", name, migration)

    # Source

    def send(self, migration: str, name: str, uuid: str, *, endpoint: Endpoint, tuning: Tuning, watch: Watch) -> None:
        with self._records.locked(name):
            if watch.stop.is_set():
                raise errors.HypervisorError(f"instance {name} did not migrate: it was stopped on request")
            self._begin(migration, name, uuid, endpoint, tuning)
        status = self._follow(name, tuning, watch)
        with self._records.locked(name):
            self._settle(name, status)

    def _begin(self, migration: str, name: str, uuid: str, endpoint: Endpoint, tuning: Tuning) -> None:
        record, domain = self._records.read(name), self._xl.find(name)
        if record is None:
            raise errors.HypervisorError(f"instance {name} does not run here")
        if record.outgoing == migration and self._pid(name):
            return  # begun by a node daemon that was killed; it may have ended since, which is settled then
        if domain is None or domain.uuid != uuid or record.incoming:
            raise errors.HypervisorError(f"instance {name} does not run here")
        self._records.forget_migration(name)
        # Whatever `tuning.live` says: a paused guest cannot answer the request to suspend itself, for which xl waits.
        # It need not stand still to end either: xl sends what was changed a few times only.
        self._records.note(msgspec.structs.replace(record, outgoing=migration, wakes=not domain.is_paused))
        log_file, pid_file, status_file = (
            shlex.quote(self._records.migration_file(name, kind)) for kind in ("log", "pid", "status")
        )
        carrier = transport.connect(endpoint.address, endpoint.port)
        command = shlex.join((XL, "migrate", "-p", "-s", carrier, name, endpoint.address))
        self._launch(
            f"echo $$ >{pid_file}; {command} >{log_file} 2>&1; s=$?; "
            f"echo $s >{status_file}.new; mv {status_file}.new {status_file}"
        )

    def _follow(self, name: str, tuning: Tuning, watch: Watch) -> int:
        """Exit status of `xl migrate`. On request and at the limit the connection is cut: the guest goes on here."""
        log_file = self._records.migration_file(name, "log")
        begun = self._clock.monotonic()
        cut_at: float | None = None
        while True:
            status = self._status(name)
            if status is not None:
                return status
            passed = self._clock.monotonic() - begun
            if cut_at is None and (watch.stop.is_set() or passed > tuning.limit):
                cut_at = passed
                self._cut(name)
            if cut_at is not None and passed - cut_at > _ABORT_S:
                raise errors.HypervisorError(
                    f"xl does not give up the migration of {name}",
                    hint=f"look at {log_file}, then run gnt-instance migrate --cleanup {name}",
                )
            percent = parse.progress(files.read_text(log_file) or "")
            watch.progress["seconds"] = passed
            if percent is not None:
                watch.progress.update(percent=percent, text=f"{percent:.0f} % sent")
            self._clock.sleep(_FOLLOW_S)

    def _settle(self, name: str, status: int) -> None:
        """What is true at the source now; raises when the guest has not gone."""
        record, domain = self._records.read(name), self._xl.find(name)
        said = (files.read_text(self._records.migration_file(name, "log")) or "").strip()
        if status == 0 and domain is None:
            if record is not None:
                self._records.forget(name)
            return
        was_ended = False
        if domain is not None and record is not None:
            # not renamed: the target was not told to go on
            was_ended = domain.is_suspended and not self._wake(name)
            if not was_ended:
                self._stays(record, domain)
        tail = " / ".join(said.splitlines()[-5:])
        raise errors.HypervisorError(
            f"instance {name} did not migrate: xl migrate ended with status {status}: {tail}"
            + ("; it stood still and was ended, to be started anew" if was_ended else "")
        )

    def _stays(self, record: Record, domain: parse.Domain) -> None:
        if record.wakes and domain.is_paused:
            self._xl.unpause(record.name)  # it was paused for the move
        self._records.note(msgspec.structs.replace(record, outgoing=""))
        self._records.forget_migration(record.name)

    def depart(self, migration: str, name: str, uuid: str) -> None:
        """The sender destroys its domain itself; when it or the node daemon was killed, that or the record is left."""
        with self._records.locked(name):
            record = self._records.read(name)
            if record is None or record.outgoing != migration or self._is_sending(name):
                return
            left = name + parse.AWAY
            if any((domain.name, domain.uuid) == (left, uuid) for domain in self._xl.domains()):
                self._xl.destroy(left)
                if not self._xl.await_end(left, _ABORT_S):
                    raise errors.HypervisorError(f"domain {left} does not end")
            if not any(domain.name in (name, left) for domain in self._xl.domains()):
                self._records.forget(name)

    # Both

    def abort(self, migration: str, name: str, uuid: str, *, resume: bool) -> Half:
        with self._records.locked(name):
            record = self._records.read(name)
            if record is not None and record.incoming == migration:
                domain = self._xl.find(name)
                if domain is not None and not domain.is_paused and parse.state(domain) is not GuestState.SHUTDOWN:
                    raise errors.HypervisorError(f"instance {name} runs here already, so it is not ended")
                self._end_receiver(name)
                self._records.forget(name)
                return Half(side=Side.NONE)
            if record is None or record.outgoing != migration:
                return self.half(name, uuid)
            if self._is_sending(name):
                self._cut(name)
                self._await_sender(name)
            if resume:
                self._take_back(name)
            # one that was not renamed goes on in any case: the target was not told to
            domain = self._xl.find(name)
            if domain is not None and domain.is_suspended:
                domain = self._xl.find(name) if self._wake(name) else None
            if domain is not None:
                self._stays(record, domain)
            return self.half(name, uuid)

    def _await_sender(self, name: str) -> None:
        limit = self._clock.monotonic() + _ABORT_S
        while self._is_sending(name):
            if self._clock.monotonic() > limit:
                raise errors.HypervisorError(f"xl does not give up the migration of {name}")
            self._clock.sleep(_POLL_S)

    def _take_back(self, name: str) -> None:
        """A sender that was killed in the handshake has suspended the domain and, last, renamed it."""
        if any(domain.name == name + parse.AWAY for domain in self._xl.domains()):
            self._xl.rename(name + parse.AWAY, name)
            self._xl.unpause(name)

    def _wake(self, name: str) -> bool:
        """Whether a suspended domain goes on. One that does not is ended: it would stand still and count as running."""
        self._xl.resume(name)
        limit = self._clock.monotonic() + _RESUME_S
        while (domain := self._xl.find(name)) is not None and domain.is_suspended:
            if self._clock.monotonic() >= limit:
                log.warning("instance %s does not go on after its migration: it is ended, to be started anew", name)
                self._xl.destroy(name)
                if not self._xl.await_end(name, _ABORT_S):
                    raise errors.HypervisorError(f"domain {name} is suspended and does not end")
                self._records.forget(name)
                return False
            self._clock.sleep(_POLL_S)
        return domain is not None

    def half(self, name: str, uuid: str) -> Half:
        record = self._records.read(name)
        domains = {domain.name: domain for domain in self._xl.domains()}
        domain = domains.get(name)
        if record is None:
            if domain is None or domain.uuid != uuid:
                return Half(side=Side.NONE)
            return Half(side=_plain(domain))
        if record.incoming:
            if domain is None:
                return Half(side=Side.INCOMING, migration=record.incoming)
            return Half(side=Side.ARRIVED if domain.is_paused else _plain(domain), migration=record.incoming)
        if record.outgoing and self._is_sending(name):
            return Half(side=Side.LEAVING, migration=record.outgoing)
        if domain is not None:
            return Half(side=Side.PAUSED if domain.is_suspended else _plain(domain), migration=record.outgoing)
        if name + parse.AWAY in domains:
            return Half(side=Side.DEPARTED, migration=record.outgoing)
        return Half(side=Side.NONE, migration=record.outgoing)

    # Processes

    def _launch(self, script: str) -> None:
        """In a session of its own; returns at once."""
        self._runner.run(("/bin/sh", "-c", 'exec setsid -f /bin/sh -c "$0" </dev/null >/dev/null 2>&1', script))

    def _pid(self, name: str) -> int:
        text = (files.read_text(self._records.migration_file(name, "pid")) or "").strip()
        return int(text) if text.isdigit() else 0

    def _status(self, name: str) -> int | None:
        """None: it is under way. A sender that was killed has no status of its own."""
        text = (files.read_text(self._records.migration_file(name, "status")) or "").strip()
        if text:
            return int(text) if text.isdigit() else 255
        pid = self._pid(name)
        return 255 if pid and not session.is_alive(pid) else None

    def _is_sending(self, name: str) -> bool:
        return bool(self._pid(name)) and self._status(name) is None

    def _cut(self, name: str) -> None:
        """End the transport only: its sender notices, and lets the guest go on."""
        session.end(self._pid(name), command="socat")

    def end_halves(self, name: str, uuid: str) -> None:
        """Whatever a migration has left here besides the domain of that name. The caller holds the guest's lock."""
        leader = self._pid(name)
        if session.is_alive(leader):
            groups.kill_group(leader)
        for domain in self._xl.domains():
            if domain.name in parse.halves(name) and domain.uuid == uuid:
                self._xl.destroy(domain.name)
                if not self._xl.await_end(domain.name, _ABORT_S):
                    raise errors.HypervisorError(f"domain {domain.name} does not end")

    def _end_receiver(self, name: str) -> None:
        leader = self._pid(name)
        if session.is_alive(leader):
            groups.kill_group(leader)
        for suffix in (parse.INCOMING, ""):
            self._xl.destroy(name + suffix)
        self._records.forget_migration(name)


def _plain(domain: parse.Domain) -> Side:
    return {GuestState.SHUTDOWN: Side.ENDED, GuestState.PAUSED: Side.PAUSED}.get(parse.state(domain), Side.RUNNING)
