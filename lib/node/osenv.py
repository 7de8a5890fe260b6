"""The environment of OS scripts. Pure; nothing of the daemon's own environment gets in."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.calls.instance import GuestSpec
from ganeti.calls.os import OsDefinition
from ganeti.model.objects import Disk, DiskTemplate, Nic, Params
from ganeti.node import osdef

PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
_FILES = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.GLUSTER)


def base(spec: GuestSpec, definition: OsDefinition, disk_paths: Sequence[str], *, debug: int) -> dict[str, str]:
    """What every script gets that works on an instance. `disk_paths` are local, by disk."""
    instance = spec.instance
    environment = {
        "PATH": PATH,
        "OS_API_VERSION": str(osdef.api_version(definition)),
        "OS_NAME": definition.name,
        "OS_VARIANT": osdef.variant(definition, instance.os),
        "DEBUG_LEVEL": str(debug),
        "INSTANCE_NAME": instance.name,
        "INSTANCE_UUID": instance.uuid,
        "INSTANCE_OS": instance.os,
        "INSTANCE_CTIME": str(instance.ctime),
        "INSTANCE_MTIME": str(instance.mtime),
        "INSTANCE_PRIMARY_NODE": instance.primary_node,
        "INSTANCE_SECONDARY_NODES": " ".join(instance.secondary_nodes),
        "HYPERVISOR": instance.hypervisor,
        "DISK_COUNT": str(len(instance.disks)),
        "NIC_COUNT": str(len(instance.nics)),
    }
    for index, (disk, path) in enumerate(zip(instance.disks, disk_paths, strict=True)):
        environment |= _disk(f"DISK_{index}", disk, path, spec.hvparams)
    for index, (nic, params) in enumerate(zip(instance.nics, spec.nicparams, strict=True)):
        environment |= _nic(f"NIC_{index}", nic, params, spec)
    environment |= {f"INSTANCE_BE_{name}": str(value) for name, value in spec.beparams.items()}
    environment |= {f"INSTANCE_HV_{name}": str(value) for name, value in spec.hvparams.items()}
    return environment | parameters(spec.osparams)


def create(
    spec: GuestSpec, definition: OsDefinition, disk_paths: Sequence[str], *, reinstall: bool, debug: int
) -> dict[str, str]:
    more = {"INSTANCE_REINSTALL": "1"} if reinstall else {}
    return base(spec, definition, disk_paths, debug=debug) | more


def rename(
    spec: GuestSpec, definition: OsDefinition, disk_paths: Sequence[str], *, old_name: str, debug: int
) -> dict[str, str]:
    return base(spec, definition, disk_paths, debug=debug) | {"OLD_INSTANCE_NAME": old_name}


def export(
    spec: GuestSpec, definition: OsDefinition, disk_paths: Sequence[str], *, index: int, device: str, debug: int
) -> dict[str, str]:
    """`device` is what is read: the disk, or its snapshot."""
    more = {"EXPORT_DEVICE": device, "EXPORT_DISK_PATH": device, "EXPORT_INDEX": str(index)}
    return base(spec, definition, disk_paths, debug=debug) | more


def import_(
    spec: GuestSpec, definition: OsDefinition, disk_paths: Sequence[str], *, index: int, debug: int
) -> dict[str, str]:
    device = disk_paths[index]
    more = {"IMPORT_DEVICE": device, "IMPORT_DISK_PATH": device, "IMPORT_INDEX": str(index)}
    return base(spec, definition, disk_paths, debug=debug) | more


def verify(definition: OsDefinition, full: str, osparams: Params, *, debug: int) -> dict[str, str]:
    """What the verify script gets: nothing about any instance."""
    found = {
        "PATH": PATH,
        "OS_API_VERSION": str(osdef.api_version(definition)),
        "OS_NAME": definition.name,
        "OS_VARIANT": osdef.variant(definition, full),
        "DEBUG_LEVEL": str(debug),
    }
    return found | parameters(osparams)


def parameters(osparams: Params) -> dict[str, str]:
    return {f"OSP_{name.upper().replace('-', '_')}": str(value) for name, value in osparams.items()}


def _disk(prefix: str, disk: Disk, path: str, hvparams: Params) -> dict[str, str]:
    is_file = disk.template in _FILES
    found = {
        "PATH": path,
        "ACCESS": disk.mode.value,
        "UUID": disk.uuid,
        "SIZE": str(disk.size),
        "BACKEND_TYPE": f"file:{disk.logical_id[0]}" if is_file else "block",
    }
    if disk.name:
        found["NAME"] = disk.name
    if "disk_type" in hvparams:
        found["FRONTEND_TYPE"] = str(hvparams["disk_type"])
    return {f"{prefix}_{key}": value for key, value in found.items()}


def _nic(prefix: str, nic: Nic, params: Params, spec: GuestSpec) -> dict[str, str]:
    found = {"MAC": nic.mac, "UUID": nic.uuid}
    mode, link = str(params.get("mode") or ""), str(params.get("link") or "")
    found |= {key: value for key, value in (("MODE", mode), ("LINK", link)) if value}
    if nic.name:
        found["NAME"] = nic.name
    if nic.ip:
        found["IP"] = nic.ip
    if mode == "bridged":
        found["BRIDGE"] = link
    if "nic_type" in spec.hvparams:
        found["FRONTEND_TYPE"] = str(spec.hvparams["nic_type"])
    network = next((each for each in spec.networks if each.uuid == nic.network), None)
    if network is not None:
        found |= {f"NETWORK_{key}": value for key, value in network.environment().items()}
    return {f"{prefix}_{key}": value for key, value in found.items()}
