"""What hook scripts are told: variables without their prefix, values as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ganeti.logic import guests
from ganeti.logic.base import HookPlan
from ganeti.model.config import Config
from ganeti.model.objects import Disk, DiskTemplate, Instance, Nic, Node
from ganeti.model.types import Uuid

_FILE_LIKE = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.GLUSTER, DiskTemplate.BLOCKDEV, DiskTemplate.RBD)
_OF_A_DEVICE = re.compile(r"INSTANCE_(NIC|DISK)[0-9]+_")


def text(value: Any) -> str:  # Any: a scalar
    return str(value)


def instance_environment(config: Config, instance: Instance) -> dict[str, str]:
    """The block of variables that all instance hooks share."""
    be = guests.beparams(config, instance)
    secondaries = " ".join(config.nodes[node].name for node in instance.secondary_nodes)
    found = {
        "OP_TARGET": instance.name,
        "INSTANCE_NAME": instance.name,
        "INSTANCE_PRIMARY": config.nodes[instance.primary_node].name,
        "INSTANCE_SECONDARY": secondaries,
        "INSTANCE_SECONDARIES": secondaries,
        "INSTANCE_OS_TYPE": instance.os,
        "INSTANCE_STATUS": instance.admin_state.value,
        "INSTANCE_MEMORY": text(be["maxmem"]),
        "INSTANCE_MINMEM": text(be["minmem"]),
        "INSTANCE_MAXMEM": text(be["maxmem"]),
        "INSTANCE_VCPUS": text(be["vcpus"]),
        "INSTANCE_DISK_TEMPLATE": instance.disk_template,
        "INSTANCE_HYPERVISOR": instance.hypervisor,
        "INSTANCE_NIC_COUNT": text(len(instance.nics)),
        "INSTANCE_DISK_COUNT": text(len(instance.disks)),
        "INSTANCE_TAGS": " ".join(sorted(instance.tags)),
    }
    for index, nic in enumerate(instance.nics):
        found |= {f"INSTANCE_NIC{index}_{name}": value for name, value in _nic(config, instance, nic).items()}
    for index, disk in enumerate(instance.disks):
        found |= {f"INSTANCE_DISK{index}_{name}": value for name, value in _disk(config, disk).items()}
    found |= {f"INSTANCE_BE_{name}": text(value) for name, value in be.items()}
    hv = guests.hvparams(config, instance)
    found |= {f"INSTANCE_HV_{name}": text(value) for name, value in hv.items()}
    return found


def _nic(config: Config, instance: Instance, nic: Nic) -> dict[str, str]:
    filled = guests.nic_params(config, instance, nic)
    found = {
        "IP": nic.ip or "",
        "MAC": nic.mac,
        "MODE": text(filled["mode"]),
        "LINK": text(filled["link"]),
        "VLAN": text(filled["vlan"]),
        "UUID": nic.uuid,
    }
    if filled["mode"] in ("bridged", "openvswitch"):
        found["BRIDGE"] = text(filled["link"])
    if nic.name:
        found["NAME"] = nic.name
    network = config.networks.get(nic.network) if nic.network else None
    if network is not None:
        found |= {f"NETWORK_{name}": value for name, value in network.environment().items()}
    return found


def _disk(config: Config, disk: Disk) -> dict[str, str]:
    found = {
        "SIZE": text(disk.size),
        "MODE": disk.mode.value,
        "UUID": disk.uuid,
        "DEV_TYPE": disk.template.value,
    }
    if disk.name:
        found["NAME"] = disk.name
    if disk.template in _FILE_LIKE:
        found |= {"DRIVER": text(disk.logical_id[0]), "ID": text(disk.logical_id[1])}
    elif disk.template is DiskTemplate.PLAIN:
        found |= {"VG": text(disk.logical_id[0]), "ID": text(disk.logical_id[1])}
    elif disk.template is DiskTemplate.EXT:
        found |= {"PROVIDER": text(disk.logical_id[0]), "ID": text(disk.logical_id[1])}
    elif disk.template is DiskTemplate.DRBD:
        primary, secondary, port, primary_minor, secondary_minor = disk.logical_id[:5]
        found |= {
            "PNODE": config.nodes[Uuid(str(primary))].name,
            "SNODE": config.nodes[Uuid(str(secondary))].name,
            "PORT": text(port),
            "PMINOR": text(primary_minor),
            "SMINOR": text(secondary_minor),
        }
        for role, child in zip(("DATA", "META"), disk.children, strict=False):
            found |= {f"{role}_VG": text(child.logical_id[0]), f"{role}_ID": text(child.logical_id[1])}
    return found


def environment_after(plan: HookPlan, config: Config) -> dict[str, str]:
    """The operation's variables with the values of now; those of an object that is gone stay as they were."""
    instance = config.instances.get(plan.instance) if plan.instance is not None else None
    if instance is None:
        return plan.environment
    kept = {name: value for name, value in plan.environment.items() if not _OF_A_DEVICE.match(name)}
    return kept | instance_environment(config, instance)


def move_environment(config: Config, instance: Instance, source: Node, target: Node) -> dict[str, str]:
    """Both roles before and after; the secondaries are empty unless the instance has mirrors."""
    old = new = ""
    if instance.secondary_nodes:
        secondary = config.nodes[instance.secondary_nodes[0]]
        old = secondary.name
        # a node that has no half yet takes the place of a primary that is dead, else of the secondary
        new = secondary.name if source.offline and target.uuid != secondary.uuid else source.name
    return {
        "OLD_PRIMARY": source.name,
        "NEW_PRIMARY": target.name,
        "OLD_SECONDARY": old,
        "NEW_SECONDARY": new,
    }


def instance_hooks(
    config: Config, instance: Instance, extra: dict[str, str], *, pre: Iterable[Uuid] | None = None
) -> HookPlan:
    """Master and the instance's nodes, unless `pre` says otherwise for the first phase."""
    nodes = tuple(dict.fromkeys((config.cluster.master_node, *instance.nodes)))
    return HookPlan(
        environment=instance_environment(config, instance) | extra,
        pre=nodes if pre is None else tuple(pre),
        post=nodes,
        instance=instance.uuid,
    )
