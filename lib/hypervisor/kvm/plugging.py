"""Disks, network cards and memory of an emulator that runs, by QMP.

A device is made of two parts: what it is connected to (a block node, a network back end) and what the guest sees. The
guest has to give the second one back before the first can go; one whose operating system does not listen never does.
The run-time file follows each single change, so that it says at any time which devices the guest has.
"""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestSpec, GuestState
from ganeti.hypervisor import devices
from ganeti.hypervisor.kvm import commands, monitor, plan
from ganeti.hypervisor.kvm.commands import Form
from ganeti.hypervisor.kvm.emulator import Emulators
from ganeti.hypervisor.kvm.runtime import Runtime
from ganeti.model.types import MiB, Uuid

log = logging.getLogger(__name__)

#: how long a guest may take to give a device back, and to change its memory; in patiences with the emulator
_RELEASE = 6
_BALLOON = 3
_MIB = 1 << 20


def why_fixed(runtime: Runtime) -> str:
    """Why the devices of this guest cannot be changed while it runs, or nothing."""
    hv = runtime.hvparams
    if not hv["acpi"]:
        return "it was started with acpi=false, so it cannot be told of new devices"
    if hv["use_chroot"] or hv["security_model"] != "none":
        return "its emulator is confined (use_chroot, security_model), so it cannot open new files"
    if commands.is_express(hv["machine_version"]):
        return f"it was started with machine_version={hv['machine_version']}, whose root bus takes no new devices"
    for name in ("disk_type", "nic_type"):
        if hv[name] != "paravirtual":
            return f"it was started with {name}={hv[name]}; only paravirtual devices can be changed"
    return ""


class Plugging:
    """Of one node."""

    def __init__(self, emulators: Emulators) -> None:
        self._emulators = emulators

    def set_devices(self, spec: GuestSpec, disk_paths: tuple[str, ...]) -> None:
        name = spec.instance.name
        with (
            self._emulators.locked(name),
            self._emulators.live(self._emulators.find(name, spec.instance.uuid)) as (runtime, found),
        ):
            if runtime is None or found is None or runtime.spec is None:
                return
            if runtime.incoming or self._emulators.state(runtime) is GuestState.MIGRATING:
                raise errors.HypervisorError(f"a migration of instance {name} is half-way on this node")
            change = devices.difference(runtime.spec, spec)
            problem = why_fixed(runtime)
            if change and problem:
                raise errors.HypervisorError(f"devices of instance {name} cannot be changed: {problem}")
            paths = dict(zip((disk.uuid for disk in spec.instance.disks), disk_paths, strict=True))
            self._change(runtime, spec, change, paths)

    def _change(self, runtime: Runtime, wanted: GuestSpec, change: devices.Difference, paths: dict[Uuid, str]) -> None:
        assert runtime.spec is not None
        disks = {disk.uuid: disk for disk in wanted.instance.disks}
        nics = {nic.uuid: (nic, params) for nic, params in zip(wanted.instance.nics, wanted.nicparams, strict=True)}
        for uuid in change.nics_out:
            self._unplug(runtime, commands.device_id(uuid, "nic"), "netdev_del", "id")
            runtime = self._noted(runtime, devices.without_nic(_spec(runtime), uuid), paths)
        for uuid in change.disks_out:
            self._unplug(runtime, commands.device_id(uuid, "disk"), "blockdev-del", "node-name")
            runtime = self._noted(runtime, devices.without_disk(_spec(runtime), uuid), paths)
        for uuid in change.disks_in:
            after, machine = self._planned(runtime, devices.with_disk(_spec(runtime), disks[uuid]), paths)
            drive = next(each for each in machine.drives if each.uuid == uuid)
            back, front = commands.blockdev(machine, drive), commands.disk_device(machine, drive)
            self._plug(runtime, ("blockdev-add", back), ("blockdev-del", "node-name"), front)
            runtime = self._written(after)
        for uuid in change.nics_in:
            nic, params = nics[uuid]
            after, machine = self._planned(runtime, devices.with_nic(_spec(runtime), nic, params), paths)
            card = next(each for each in machine.cards if each.uuid == uuid)
            back, front = commands.netdev(machine, card), commands.nic_device(machine, card)
            self._plug(runtime, ("netdev_add", back), ("netdev_del", "id"), front)
            runtime = self._written(after)
        # order, names and modes are of the spec too
        self._noted(runtime, devices.with_devices(_spec(runtime), wanted), paths)

    # The run-time file

    def _planned(self, runtime: Runtime, spec: GuestSpec, paths: dict[Uuid, str]) -> tuple[Runtime, commands.Machine]:
        """As it is when the guest has the devices of `spec`. Writes the scripts of its network cards."""
        known = dict(zip((disk.uuid for disk in _spec(runtime).instance.disks), runtime.disk_paths, strict=True))
        disk_paths = tuple({**known, **paths}[disk.uuid] for disk in spec.instance.disks)
        emulators = self._emulators
        machine, made = plan.machine_and_runtime(
            msgspec.structs.replace(spec, beparams=spec.beparams | {"maxmem": runtime.memory}),
            disk_paths,
            paths=emulators.paths,
            layout=emulators.layout,
            runner=emulators.runner,
            pinned=runtime.pinned,
            slots=runtime.slots,
            accelerator_used=runtime.accelerator,
        )
        after = msgspec.structs.replace(runtime, spec=spec, disk_paths=disk_paths, argv=made.argv, slots=made.slots)
        return after, machine

    def _noted(self, runtime: Runtime, spec: GuestSpec, paths: dict[Uuid, str]) -> Runtime:
        after, _ = self._planned(runtime, spec, paths)
        return self._written(after)

    def _written(self, runtime: Runtime) -> Runtime:
        self._emulators.layout.write(runtime)
        return runtime

    # The emulator

    def _plug(self, runtime: Runtime, add: tuple[str, Form], take_back: tuple[str, str], front: Form) -> None:
        command, back = add
        removal, key = take_back
        if str(front["id"]) in self._present(runtime):
            return  # a node daemon that died in between did it
        try:
            self._execute(runtime, command, back)
        except monitor.MonitorError as err:
            # the same, half-way
            log.info("instance %s: %s; what is left of an earlier attempt goes first", runtime.name, err)
            self._quietly(runtime, removal, {key: back[key]})
            self._execute(runtime, command, back)
        try:
            self._execute(runtime, "device_add", front)
        except monitor.MonitorError:
            self._quietly(runtime, removal, {key: back[key]})
            raise
        log.info("instance %s: %s plugged in", runtime.name, front["id"])

    def _unplug(self, runtime: Runtime, device: str, removal: str, key: str) -> None:
        if device in self._present(runtime):
            # asked already and not yet given back: refused, but still valid
            refusal = self._quietly(runtime, "device_del", {"id": device})
            limit = self._emulators.clock.monotonic() + _RELEASE * self._emulators.patience_s
            while device in self._present(runtime):
                if self._emulators.clock.monotonic() > limit:
                    raise errors.HypervisorError(
                        f"the guest of instance {runtime.name} does not give {device} back"
                        + (f" ({refusal})" if refusal else ""),
                        hint="its operating system has to run and to support ACPI hotplug; else stop it first",
                    )
                self._emulators.clock.sleep(0.1)
        self._remove_back(runtime, device, removal, key)
        log.info("instance %s: %s unplugged", runtime.name, device)

    def _remove_back(self, runtime: Runtime, device: str, removal: str, key: str) -> None:
        """It may be gone already. The emulator lets go of it a moment after the guest did; a copy takes longer."""
        limit = self._emulators.clock.monotonic() + _RELEASE * self._emulators.patience_s
        while refusal := self._quietly(runtime, removal, {key: device}):
            if removal != "blockdev-del" or device not in self._nodes(runtime):
                return
            if self._emulators.clock.monotonic() > limit:
                raise errors.HypervisorError(
                    f"the emulator of instance {runtime.name} does not let go of {device}: {refusal}",
                    hint="is it being copied? repeat this when that has ended",
                )
            self._emulators.clock.sleep(0.1)

    def _nodes(self, runtime: Runtime) -> frozenset[str]:
        """Block devices that it has open."""
        found: Any = self._emulators.execute(runtime, "query-named-block-nodes")
        return frozenset(str(each["node-name"]) for each in found)

    def _present(self, runtime: Runtime) -> frozenset[str]:
        """Ids of the devices that the guest sees."""
        found: Any = self._emulators.execute(runtime, "qom-list", {"path": "/machine/peripheral"})
        return frozenset(str(each["name"]) for each in found)

    def _execute(self, runtime: Runtime, command: str, arguments: Form) -> None:
        self._emulators.execute(runtime, command, arguments)

    def _quietly(self, runtime: Runtime, command: str, arguments: Form) -> str:
        """What the emulator said no with, or nothing."""
        try:
            self._execute(runtime, command, arguments)
        except monitor.MonitorError as err:
            log.info("instance %s: %s", runtime.name, err)
            return str(err)
        return ""

    # Memory

    def set_memory(self, name: str, uuid: str, memory: MiB) -> None:
        with (
            self._emulators.locked(name),
            self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found),
        ):
            if runtime is None or found is None or self._emulators.state(runtime) is not GuestState.RUNNING:
                raise errors.HypervisorError(f"instance {name} does not run here")
            if memory > runtime.memory:
                raise errors.HypervisorError(
                    f"instance {name} was started with {runtime.memory} MiB: it cannot have {memory} MiB",
                    hint="change maxmem and start it anew",
                )
            self._execute(runtime, "balloon", {"value": memory * _MIB})
            got = self._settled(runtime, memory)
            if got != memory:
                self._execute(runtime, "balloon", {"value": (runtime.balloon or runtime.memory) * _MIB})
                raise errors.HypervisorError(
                    f"the guest of instance {name} stays at {got} MiB instead of {memory} MiB",
                    hint="its operating system needs the driver virtio_balloon",
                )
            self._written(msgspec.structs.replace(runtime, balloon=0 if memory == runtime.memory else memory))

    def _settled(self, runtime: Runtime, wanted: MiB) -> MiB:
        """What it has, as soon as it is what is wanted, or when the time is over."""
        limit = self._emulators.clock.monotonic() + _BALLOON * self._emulators.patience_s
        while True:
            got = int(self._emulators.execute(runtime, "query-balloon")["actual"]) // _MIB
            if got == wanted or self._emulators.clock.monotonic() > limit:
                return got
            self._emulators.clock.sleep(0.1)


def _spec(runtime: Runtime) -> GuestSpec:
    assert runtime.spec is not None
    return runtime.spec
