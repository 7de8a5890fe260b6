"""What is done with each instance, in order. Pure: facts in, operations out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from ganeti.burnin.options import Options
from ganeti.model.objects import DiskTemplate
from ganeti.ops.backup import OpBackupExport, OpBackupRemove
from ganeti.ops.base import OpCode
from ganeti.ops.disks import (
    OpInstanceActivateDisks,
    OpInstanceDeactivateDisks,
    OpInstanceGrowDisk,
    OpInstanceReplaceDisks,
)
from ganeti.ops.instance import (
    OpInstanceCreate,
    OpInstanceFailover,
    OpInstanceMigrate,
    OpInstanceReboot,
    OpInstanceReinstall,
    OpInstanceRemove,
    OpInstanceRename,
    OpInstanceSetParams,
    OpInstanceShutdown,
    OpInstanceStartup,
)

#: seen by both its nodes: it can move to the other
_MIRRORED = (DiskTemplate.DRBD, DiskTemplate.SHAREDFILE)
#: seconds that a guest gets to shut down: test systems often do not listen
_SHUTDOWN_S = 30


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """One instance as it is now."""

    name: str
    primary: str
    secondary: str = ""
    others: tuple[str, ...] = ()  # usable nodes that are neither


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    make: Callable[[Options, Guest], Sequence[OpCode]]
    is_wanted: Callable[[Options, int], bool]  # with the number of nodes
    one_by_one: bool = False  # what it needs is there only once


def create(options: Options, guest: Guest) -> Sequence[OpCode]:
    has_mirror = options.template is DiskTemplate.DRBD
    op = OpInstanceCreate(
        instance_name=guest.name,
        os_type=options.os,
        disk_template=options.template,
        disks=tuple({"size": size} for size in options.disk_sizes),
        nics=None if options.has_nics else (),
        hypervisor=options.hypervisor,
        beparams={"memory": options.memory, "vcpus": options.vcpus},
        ignore_ipolicy=True,
    )
    return (_placed(options, op, guest.primary, guest.secondary if has_mirror else ""),)


def _placed(options: Options, op: OpInstanceCreate, primary: str, secondary: str) -> OpInstanceCreate:
    if options.iallocator:
        return msgspec.structs.replace(op, iallocator=options.iallocator)
    return msgspec.structs.replace(op, pnode=primary, snode=secondary)


def _stop(guest: Guest) -> OpCode:
    return OpInstanceShutdown(instance_name=guest.name, timeout=_SHUTDOWN_S)


def _start(guest: Guest) -> OpCode:
    return OpInstanceStartup(instance_name=guest.name)


def _replace_in_place(options: Options, guest: Guest) -> Sequence[OpCode]:
    return (
        OpInstanceReplaceDisks(
            instance_name=guest.name, mode="replace_on_secondary", early_release=options.early_release
        ),
        OpInstanceReplaceDisks(
            instance_name=guest.name, mode="replace_on_primary", early_release=options.early_release
        ),
    )


def _replace_elsewhere(options: Options, guest: Guest) -> Sequence[OpCode]:
    return (
        OpInstanceReplaceDisks(
            instance_name=guest.name,
            mode="replace_new_secondary",
            early_release=options.early_release,
            ignore_ipolicy=True,
            iallocator=options.iallocator,
            remote_node="" if options.iallocator else guest.others[0],
        ),
    )


def _grow(options: Options, guest: Guest) -> Sequence[OpCode]:
    return tuple(
        OpInstanceGrowDisk(instance_name=guest.name, disk=index, amount=amount, ignore_ipolicy=True)
        for index, amount in enumerate(options.growths)
        if amount
    )


def _away(options: Options, guest: Guest) -> str:
    """What can run anywhere is told where to go; a mirror has one other node."""
    has_to_say = options.template is not DiskTemplate.DRBD and not options.iallocator
    return guest.others[0] if has_to_say and guest.others else ""


def _failover(options: Options, guest: Guest) -> Sequence[OpCode]:
    allocator = options.iallocator if options.template is not DiskTemplate.DRBD else ""
    return (
        OpInstanceFailover(
            instance_name=guest.name,
            shutdown_timeout=_SHUTDOWN_S,
            target_node=_away(options, guest),
            iallocator=allocator,
            ignore_ipolicy=True,
        ),
    )


def _migrate(options: Options, guest: Guest) -> Sequence[OpCode]:
    allocator = options.iallocator if options.template is not DiskTemplate.DRBD else ""
    return (
        OpInstanceMigrate(
            instance_name=guest.name, target_node=_away(options, guest), iallocator=allocator, ignore_ipolicy=True
        ),
        OpInstanceMigrate(instance_name=guest.name, cleanup=True),
    )


def _export_import(options: Options, guest: Guest) -> Sequence[OpCode]:
    place = (*guest.others, guest.secondary, guest.primary)[0]
    imported = OpInstanceCreate(
        instance_name=guest.name,
        mode="import",
        src_node=place,
        disk_template=options.template,
        nics=None if options.has_nics else (),
        ignore_ipolicy=True,
    )
    return (
        OpBackupExport(instance_name=guest.name, target_node=place, shutdown_timeout=_SHUTDOWN_S),
        _remove(guest),
        _placed(options, imported, guest.primary, guest.secondary),
        OpBackupRemove(instance_name=guest.name),
    )


def _reinstall(options: Options, guest: Guest) -> Sequence[OpCode]:
    return (
        _stop(guest),
        OpInstanceReinstall(instance_name=guest.name),
        OpInstanceReinstall(instance_name=guest.name, os_type=options.os),
        _start(guest),
    )


def _reboot(options: Options, guest: Guest) -> Sequence[OpCode]:
    return tuple(
        OpInstanceReboot(instance_name=guest.name, reboot_type=kind, shutdown_timeout=_SHUTDOWN_S)
        for kind in options.reboots
    )


def _more_disks(options: Options, guest: Guest) -> Sequence[OpCode]:
    size = {"size": options.disk_sizes[0]}
    return (
        _stop(guest),
        OpInstanceSetParams(instance_name=guest.name, disks=(("add", -1, size),), ignore_ipolicy=True),
        OpInstanceSetParams(instance_name=guest.name, disks=(("remove", -1, {}),), ignore_ipolicy=True),
        _start(guest),
    )


def _more_nics(options: Options, guest: Guest) -> Sequence[OpCode]:
    return tuple(
        OpInstanceSetParams(
            instance_name=guest.name, nics=((action, -1, {}),), ignore_ipolicy=True, hotplug_if_possible=True
        )
        for action in ("add", "remove")
    )


def _disks_alone(options: Options, guest: Guest) -> Sequence[OpCode]:
    up, down = (
        OpInstanceActivateDisks(instance_name=guest.name, wait_for_sync=True),
        OpInstanceDeactivateDisks(instance_name=guest.name),
    )
    return (up, _stop(guest), up, down, _start(guest))


def _rename(options: Options, guest: Guest) -> Sequence[OpCode]:
    return (
        _stop(guest),
        OpInstanceRename(instance_name=guest.name, new_name=options.rename),
        OpInstanceStartup(instance_name=options.rename),
        OpInstanceShutdown(instance_name=options.rename, timeout=_SHUTDOWN_S),
        OpInstanceRename(instance_name=options.rename, new_name=guest.name),
        _start(guest),
    )


def _stop_start(options: Options, guest: Guest) -> Sequence[OpCode]:
    return (_stop(guest), _start(guest))


def _remove(guest: Guest) -> OpCode:
    return OpInstanceRemove(instance_name=guest.name, shutdown_timeout=_SHUTDOWN_S)


def remove(name: str) -> Sequence[OpCode]:
    """Also of what is broken."""
    return (OpInstanceRemove(instance_name=name, shutdown_timeout=_SHUTDOWN_S, ignore_failures=True),)


def _unless(name: str) -> Callable[[Options, int], bool]:
    return lambda options, nodes: name not in options.left_out


def _mirrored(name: str) -> Callable[[Options, int], bool]:
    return lambda options, nodes: name not in options.left_out and options.template in _MIRRORED and nodes > 1


def _drbd(name: str, least: int) -> Callable[[Options, int], bool]:
    return lambda options, nodes: (
        name not in options.left_out and options.template is DiskTemplate.DRBD and nodes >= least
    )


def _with_disks(name: str) -> Callable[[Options, int], bool]:
    return lambda options, nodes: name not in options.left_out and bool(options.disk_sizes)


#: after the creation and before the removal
PHASES = (
    Phase(name="replace1", title="Replacing disks on the same nodes", make=_replace_in_place,
          is_wanted=_drbd("replace1", 2)),
    Phase(name="replace2", title="Giving mirrors another node", make=_replace_elsewhere,
          is_wanted=_drbd("replace2", 3)),
    Phase(name="grow", title="Growing disks", make=_grow, is_wanted=lambda options, nodes: any(options.growths)),
    Phase(name="failover", title="Failing over", make=_failover, is_wanted=_mirrored("failover")),
    Phase(name="migrate", title="Migrating", make=_migrate, is_wanted=_mirrored("migrate")),
    Phase(name="importexport", title="Exporting and importing", make=_export_import,
          is_wanted=_with_disks("importexport")),
    Phase(name="reinstall", title="Reinstalling", make=_reinstall, is_wanted=_with_disks("reinstall")),
    Phase(name="reboot", title="Rebooting", make=_reboot, is_wanted=_unless("reboot")),
    Phase(name="add-disks", title="Adding and removing disks", make=_more_disks, is_wanted=_with_disks("add-disks")),
    Phase(name="add-nics", title="Adding and removing NICs", make=_more_nics,
          is_wanted=lambda options, nodes: options.has_nics and "add-nics" not in options.left_out),
    Phase(name="activate-disks", title="Activating and deactivating disks", make=_disks_alone,
          is_wanted=_with_disks("activate-disks")),
    Phase(name="rename", title="Renaming", make=_rename, is_wanted=lambda options, nodes: bool(options.rename),
          one_by_one=True),
    Phase(name="startstop", title="Stopping and starting", make=_stop_start, is_wanted=_unless("startstop")),
)  # fmt: skip


def chosen(options: Options, nodes: int) -> tuple[Phase, ...]:
    return tuple(phase for phase in PHASES if phase.is_wanted(options, nodes))
