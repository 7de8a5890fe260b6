"""Xen guests, paravirtual (xen-pvm) and fully virtual (xen-hvm), by xl. A domain's uuid is that of its instance."""

from __future__ import annotations

import logging
import os

from ganeti import errors, paths
from ganeti.calls.devices import Running
from ganeti.calls.instance import Console, Guest, GuestSpec, GuestState
from ganeti.calls.node import HypervisorInfo
from ganeti.host import files
from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.host.trust import why_not_trusted
from ganeti.hypervisor import devices, linux, parameters, traces
from ganeti.hypervisor.declare import OnNode
from ganeti.hypervisor.xen import autostart, config, keeper, parse, toolstack
from ganeti.hypervisor.xen.migration import XenMigration
from ganeti.hypervisor.xen.parse import Domain
from ganeti.hypervisor.xen.record import Record, Records
from ganeti.hypervisor.xen.toolstack import XL, Toolstack
from ganeti.model.objects import DiskTemplate, Params
from ganeti.model.types import MiB
from ganeti.paths import Paths

log = logging.getLogger(__name__)

_FILES = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE)
_FIXED = "a domain gets other devices with its next start only"
_PVM, _HVM = "xen-pvm", "xen-hvm"
#: parameters: what xl runs as root
_PROGRAMS = ("bootloader_path", "device_model", "vif_script")
#: how long an ended domain may stay in the list, and a reboot may take until the new domain is there
_END_S, _REBOOT_S = 60.0, 600.0
#: how long one that has shut down may take to go by itself; where users may shut down it stays
_FADE_S = 5.0
#: log of the guest's console, where xenconsoled is told to keep one (xl(1), xenconsoled(8))
_CONSOLE_LOG = "/var/log/xen/console/guest-{name}.log"


class XenHypervisor:
    """One of the two kinds; both share domains' names, and each knows its own by their records."""

    def __init__(self, name: str, paths: Paths, runner: Runner, clock: Clock) -> None:
        self._name = name
        self._paths = paths
        self._clock = clock
        self._xl = Toolstack(runner, clock)
        self._records = Records(paths)
        self._migration = XenMigration(self._xl, self._records, runner, clock, plan=self._plan, validate=self.validate)

    @property
    def copying(self) -> None:
        """Xen cannot copy the disks of running guests."""

    @property
    def migration(self) -> XenMigration:
        return self._migration

    # What changes guests

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        name = spec.instance.name
        with self._records.locked(name):
            domains = {domain.name: domain for domain in self._xl.domains()}
            for half in parse.halves(name):
                if half in domains and domains[half].uuid == spec.instance.uuid:
                    raise errors.HypervisorError(
                        f"a migration of instance {name} is half-way on this node: domain {half}",
                        hint=f"run gnt-instance migrate --cleanup {name}, or shutdown, which ends it",
                    )
            there = domains.get(name)
            if there is not None:
                if there.uuid != spec.instance.uuid:
                    raise errors.HypervisorError(
                        f"a domain named {name} runs already, but it is instance {there.uuid}", hint="stop it first"
                    )
                record = self._records.read(name)
                if record is not None and record.incoming:
                    raise errors.HypervisorError(
                        f"a migration of instance {name} is half-way on this node",
                        hint=f"run gnt-instance migrate --cleanup {name}",
                    )
                if parse.state(there) is not GuestState.SHUTDOWN:
                    if record is None:
                        self._note_again(spec, disk_paths)
                    return
                self._end(name)
            elif self._is_rebooting(self._records.read(name), spec.instance.uuid):
                return
            problem = self.validate(spec.hvparams)
            if problem:
                raise errors.HypervisorError(f"instance {name} cannot be started: {problem}")
            record, text = self._plan(spec, disk_paths)
            self._records.write(record, text)
            self._create(record, paused=paused)

    def _note_again(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> None:
        """Of a running domain whose files were lost: without them it would not be listed."""
        log.warning("instance %s runs, but its files were lost: they are written anew", spec.instance.name)
        self._records.write(*self._plan(spec, disk_paths))

    def _create(self, record: Record, *, paused: bool) -> None:
        try:
            self._xl.create(self._records.config(record.name), paused=paused)
        except errors.HypervisorError as err:
            there = self._xl.find(record.name)
            if there is not None and there.uuid == record.spec.instance.uuid:
                if not toolstack.was_killed(err):
                    # xl removes what it could not complete: this is another one's, of a guest that has just rebooted
                    log.warning("instance %s runs already: %s", record.name, err)
                    return
                self._end(record.name)
            self._records.forget(record.name)
            raise

    def _plan(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> tuple[Record, str]:
        """What is kept, and the file for xl."""
        password = ""
        if spec.instance.hypervisor == _HVM:
            file = linux.host_file(self._paths, str(spec.hvparams["vnc_password_file"]))
            password = (files.read_text(file) or "").partition("\n")[0].strip()
            if not password:
                log.warning(
                    "instance %s: there is no VNC password in %s, so VNC is for this node only",
                    spec.instance.name,
                    file,
                )
        local = tuple(
            self._paths.local(path) if disk.template in _FILES else path
            for disk, path in zip(spec.instance.disks, disk_paths, strict=True)
        )
        stays = (files.read_text(self._paths.local(paths.ssconf("enabled_user_shutdown"))) or "").strip() == "True"
        text = config.render(spec, config.Places(disks=local, vnc_password=password, stays=stays))
        return Record(spec=spec, disk_paths=disk_paths), text

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        with self._records.locked(name):
            found = self._find(name, uuid)
            if found is None and force and self._is_rebooting(self._records.read(name), uuid):
                keeper.end(self._paths, name)
                found = self._find(name, uuid)
            if found is None:
                return
            if force:
                self._end(name)
            elif parse.state(found) is not GuestState.SHUTDOWN:
                if found.is_paused:
                    self._xl.unpause(name)  # it could not hear the request
                self._xl.shut_down(name, is_hvm=self._name == _HVM)

    def _end(self, name: str) -> None:
        self._xl.destroy(name)
        if not self._xl.await_end(name, _END_S):
            raise errors.HypervisorError(f"domain {name} is still there {_END_S:g} s after it was destroyed")

    def reboot(self, spec: GuestSpec, *, hard: bool, timeout_s: float = 120) -> None:
        name = spec.instance.name
        with self._records.locked(name):
            found, record = self._find(name, spec.instance.uuid), self._records.read(name)
            if found is not None and record is None:
                raise errors.HypervisorError(
                    f"instance {name} runs, but its files were lost",
                    hint=f"gnt-instance startup {name} writes them anew",
                )
            if found is None or record is None or record.incoming or parse.state(found) is GuestState.SHUTDOWN:
                raise errors.HypervisorError(f"cannot reboot instance {name} that is not running")
            can_restart = record.spec.hvparams["reboot_behavior"] == "reboot"
            if not hard and can_restart and not found.is_paused:
                self._restart(name, found)
                return
            if not os.path.exists(self._records.config(name)):
                self._records.write(record, self._plan(record.spec, record.disk_paths)[1])
            self._end(name)
            self._create(record, paused=False)

    def _restart(self, name: str, before: Domain) -> None:
        """The guest ends by itself and xl builds a domain with a new number; in between there may be none."""
        self._xl.restart(name, is_hvm=self._name == _HVM)
        limit = self._clock.monotonic() + _REBOOT_S
        while self._clock.monotonic() < limit:
            self._clock.sleep(0.5)
            now = self._xl.find(name)
            if now is not None and now.id != before.id and now.cpu_seconds > 0:
                return
        raise errors.HypervisorError(f"instance {name} did not reboot within {_REBOOT_S:g} s")

    def clean_up(self, name: str, uuid: str) -> None:
        with self._records.locked(name):
            found = self._find(name, uuid)
            is_rebooting = found is None and self._is_rebooting(self._records.read(name), uuid)
            if is_rebooting or (found is not None and parse.state(found) is not GuestState.SHUTDOWN):
                raise errors.HypervisorError(f"instance {name} is running, so its files stay", hint="stop it first")
            if found is not None and not self._xl.await_end(name, _FADE_S):
                self._end(name)
            record = self._records.read(name)
            if record is not None and uuid in ("", record.spec.instance.uuid) and self._is_mine(record):
                self._migration.end_halves(name, record.spec.instance.uuid)
                self._records.forget(name)

    # What asks

    def list(self) -> tuple[Guest, ...]:
        records = {name: record for name in self._records.names() if (record := self._records.read(name)) is not None}
        found = [
            self._report(domain, records[domain.name])
            for domain in (self._xl.domains() if records else ())
            if domain.name in records
            and domain.uuid == records[domain.name].spec.instance.uuid
            and self._is_mine(records[domain.name])
        ]
        listed = {guest.name for guest in found}
        found += [
            _between(record)
            for name, record in records.items()
            if name not in listed and self._is_mine(record) and self._is_rebooting(record, "")
        ]
        return tuple(found)

    def info(self, name: str, uuid: str) -> Guest | None:
        found, record = self._find(name, uuid), self._records.read(name)
        if found is None:
            is_rebooting = record is not None and self._is_mine(record) and self._is_rebooting(record, uuid)
            return _between(record) if record is not None and is_rebooting else None
        return self._report(found, record)

    def _is_rebooting(self, record: Record | None, uuid: str) -> bool:
        """Of a guest without a domain: it has ended the old one itself, and xl makes the new one."""
        if record is None or record.incoming or record.outgoing or uuid not in ("", record.spec.instance.uuid):
            return False
        return keeper.brings_back(self._paths, record.name, self._clock.time())

    def _find(self, name: str, uuid: str) -> Domain | None:
        """The domain of this instance; another one's of the same name is not the one that was asked for.

        Where its record was lost the uuid has to be known: it is the domain's too.
        """
        record = self._records.read(name)
        if record is not None and not self._is_mine(record):
            return None
        wanted = uuid if record is None else record.spec.instance.uuid
        if not wanted or uuid not in ("", wanted):
            return None
        found = self._xl.find(name)
        return found if found is not None and found.uuid == wanted else None

    def _is_mine(self, record: Record) -> bool:
        return record.spec.instance.hypervisor == self._name

    def _report(self, domain: Domain, record: Record | None) -> Guest:
        return Guest(
            name=domain.name,
            uuid=domain.uuid,
            hypervisor=self._name,
            state=GuestState.MIGRATING if record is not None and record.incoming else parse.state(domain),
            memory=domain.memory if record is None else config.memory(record.spec),
            vcpus=domain.vcpus,
            cpu_seconds=domain.cpu_seconds,
            has_switched_off=domain.has_switched_off,
        )

    def running(self, name: str, uuid: str) -> Running | None:
        record, found = self._records.read(name), self._find(name, uuid)
        if record is None or found is None or record.incoming or parse.state(found) is GuestState.SHUTDOWN:
            return None
        return Running(spec=record.spec, why_fixed=_FIXED)

    def set_devices(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> None:
        has = self.running(spec.instance.name, spec.instance.uuid)
        if has is not None and devices.difference(has.spec, spec):
            raise errors.HypervisorError(f"devices of instance {spec.instance.name} stay as they are: {_FIXED}")

    def set_memory(self, name: str, uuid: str, memory: MiB) -> None:
        if self._find(name, uuid) is None:
            raise errors.HypervisorError(f"instance {name} does not run here")
        raise errors.HypervisorError(
            f"memory of instance {name} stays as it is: a domain gets another size with its next start only"
        )

    def console(self, spec: GuestSpec) -> Console:
        kind = "serial" if self._name == _HVM else "pv"
        return Console(kind="ssh", host=spec.primary_name, command=(XL, "console", "-t", kind, spec.instance.name))

    def console_log(self, name: str, uuid: str, *, max_bytes: int) -> str:
        path = linux.host_file(self._paths, _CONSOLE_LOG.format(name=traces.safe(name)))
        try:
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - max_bytes))
                return file.read(max_bytes).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def node_info(self) -> HypervisorInfo:
        return parse.node_info(self._xl.info(), self._xl.find(parse.DOM0))

    def validate(self, hvparams: Params) -> str:
        problems = [each for each in (config.unsupported(self._name, hvparams), config.unwritable(hvparams)) if each]
        for parameter in parameters.declared(self._name).parameters:
            value = str(hvparams[parameter.name])
            is_unused = parameter.name in self._unused(hvparams)
            if parameter.on_node is not OnNode.FILE or not value.startswith("/") or is_unused:
                continue
            local = linux.host_file(self._paths, value)
            if not os.path.isfile(local):
                problems.append(f"{parameter.name}: there is no file {value}")
            elif parameter.name in _PROGRAMS and (problem := why_not_trusted(local, self._paths)):
                problems.append(f"{parameter.name}: {problem}")
        return "; ".join(problems)

    def _unused(self, hvparams: Params) -> tuple[str, ...]:
        if self._name == _HVM:
            # built-in values: xl finds loader and device model by itself; without a password VNC is for the node only
            return tuple(
                parameter.name
                for parameter in parameters.declared(_HVM).parameters
                if parameter.on_node is OnNode.FILE and hvparams[parameter.name] == parameter.default
            )
        return ("kernel_path", "initrd_path") if hvparams["use_bootloader"] else ("bootloader_path",)

    def verify(self) -> str:
        try:
            found = parse.info(self._xl.info())
        except errors.HypervisorError as err:
            return f"Xen does not answer: {err}"
        if self._name == _HVM and "hvm-" not in found.get("xen_caps", ""):
            return "this node's processors cannot run fully virtual guests (no hvm in xen_caps of xl info)"
        return autostart.problem(self._paths)

    def leftovers(self) -> tuple[str, ...]:
        names = {domain.name for domain in self._xl.domains()} if self._records.names() else set()
        found = [f"half of a migration: domain {name}" for name in names if name.endswith((parse.INCOMING, parse.AWAY))]
        for name in self._records.names():
            record = self._records.read(name)
            if record is None or not self._is_mine(record):
                continue
            if record.incoming:
                found.append(f"half of a migration of {name}")
            elif not names & {name, name + parse.AWAY} and not self._is_rebooting(record, ""):
                found.append(f"record of {name}, which does not run")
        return tuple(found)


def _between(record: Record) -> Guest:
    """A guest that reboots, while it has no domain."""
    instance, spec = record.spec.instance, record.spec
    return Guest(
        name=instance.name,
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        state=GuestState.RUNNING,
        memory=config.memory(spec),
        vcpus=int(spec.beparams["vcpus"]),
    )
