"""The configuration in the classic `config.data` form, version 3.0: written here, read by `classic_read`. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from ganeti.model import params, policy, ssh
from ganeti.model.config import Config
from ganeti.model.jobs import FilterRule
from ganeti.model.objects import (
    Cluster,
    DetachedDisk,
    Disk,
    DiskTemplate,
    Group,
    Instance,
    Network,
    Nic,
    Node,
    Object,
    Params,
)
from ganeti.model.types import Uuid

# Any: JSON in a form that others laid down.

VERSION = 3_000_000

#: keys of the cluster that are the same there and here
SAME = (
    "candidate_pool_size",
    "default_iallocator",
    "enabled_user_shutdown",
    "file_storage_dir",
    "highest_used_port",
    "mac_prefix",
    "maintain_node_health",
    "master_ip",
    "master_netdev",
    "master_netmask",
    "max_running_jobs",
    "max_tracked_jobs",
    "modify_etc_hosts",
    "modify_ssh_setup",
    "os_hvp",
    "osparams",
    "primary_ip_family",
    "shared_file_storage_dir",
)
COLLECTORS = ("cpu-avg-load", "diskstats", "drbd", "lv", "inst-status-xen", "xen-cpu-avg-load")
#: keys that readers want, with what they mean as long as nobody set them
USUAL: dict[str, Any] = {
    "blacklisted_os": [],
    "compression_tools": ["gzip", "gzip-fast", "gzip-slow"],
    "data_collectors": {name: {"active": True, "interval": 5_000_000} for name in COLLECTORS},
    "default_iallocator_params": {},
    "disk_state_static": {},
    "drbd_usermode_helper": "/bin/true",
    "gluster_storage_dir": "",
    "hidden_os": [],
    "hv_state_static": {},
    "install_image": "",
    "instance_communication_network": "",
    "osparams_private_cluster": {},
    "prealloc_wipe_disks": False,
    "reserved_lvs": [],
    "rsahostkeypub": "",
    "ssh_key_bits": 2048,
    "ssh_key_type": "rsa",
    "uid_pool": [],
    "use_external_mip_script": False,
    "zeroing_image": "",
}
#: keys of the cluster that others do not know: there only if they say something
OURS = ("lvm_self_repair", "lvm_self_repaired")
#: key of a disk of no instance, with what others do not keep of one
DETACHED = "detached"
#: place of the secret in the logical id of a mirrored disk
SECRET = 5
#: in the place of a secret
HIDDEN = "<redacted>"
#: disks that are on no node of their own
_SHARED = (DiskTemplate.SHAREDFILE, DiskTemplate.GLUSTER, DiskTemplate.BLOCKDEV, DiskTemplate.RBD, DiskTemplate.EXT)


def export(
    config: Config,
    *,
    serial: int,
    builtin: Mapping[str, Params],
    rules: Iterable[FilterRule] = (),
    with_secrets: bool = False,
) -> dict[str, Any]:
    """The whole document. `serial`: of the last change; `builtin`: complete defaults by hypervisor; `rules`: of jobs.

    Without secrets `HIDDEN` is in the places of mirrors' secrets and of private parameters' values.
    """
    document = _document(config, serial, builtin, rules)
    if not with_secrets:
        document["cluster"]["osparams_private_cluster"] = _hidden(document["cluster"]["osparams_private_cluster"])
        for instance in document["instances"].values():
            instance["osparams_private"] = _hidden(instance["osparams_private"])
        for disk in document["disks"].values():
            if disk["dev_type"] == DiskTemplate.DRBD.value:
                disk["logical_id"] = [*disk["logical_id"][:SECRET], HIDDEN]
    return document


def _hidden(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _hidden(value) if isinstance(value, Mapping) else HIDDEN for name, value in values.items()}


def _document(
    config: Config, serial: int, builtin: Mapping[str, Params], rules: Iterable[FilterRule]
) -> dict[str, Any]:
    instances = list(config.instances.values())
    return {
        "version": VERSION,
        "serial_no": serial,
        "ctime": config.cluster.ctime,
        "mtime": max(obj.mtime for obj in config.objects()),
        "cluster": _cluster(config, builtin),
        "nodegroups": {group.uuid: _group(group) for group in _ordered(config.groups.values())},
        "nodes": {node.uuid: _node(node) for node in _ordered(config.nodes.values())},
        "networks": {net.uuid: _network(net, instances) for net in _ordered(config.networks.values())},
        "instances": {instance.uuid: _instance(instance) for instance in _ordered(instances)},
        "disks": {
            disk.uuid: _disk(disk, f"disk/{index}", _nodes_of(disk, instance.primary_node), instance.ctime)
            for instance in _ordered(instances)
            for index, disk in enumerate(instance.disks)
        }
        | {each.uuid: _detached(each) for each in _ordered(config.disks.values())},
        "filters": {rule.uuid: _rule(rule) for rule in rules},
    }


def _rule(rule: FilterRule) -> dict[str, Any]:
    return {
        "uuid": rule.uuid,
        "watermark": rule.watermark,
        "priority": rule.priority,
        "predicates": list(rule.predicates),
        "action": list(rule.action) if len(rule.action) > 1 else rule.action[0],
        "reason_trail": list(rule.reason_trail),
    }


def _ordered(objects: Iterable[Any]) -> list[Any]:
    """By name: two documents of the same configuration are the same text."""
    return sorted(objects, key=lambda obj: obj.name)


def _common(obj: Object) -> dict[str, Any]:
    return {
        "uuid": obj.uuid,
        "serial_no": obj.serial_no,
        "ctime": obj.ctime,
        "mtime": obj.mtime,
        "tags": sorted(obj.tags),
    }


def _cluster(config: Config, builtin: Mapping[str, Params]) -> dict[str, Any]:
    cluster = config.cluster
    known = Cluster.__struct_fields__
    hypervisors = dict.fromkeys([*builtin, *cluster.hvparams])
    return {
        **{name: _plain(getattr(cluster, name)) if name in known else usual for name, usual in USUAL.items()},
        **{name: _plain(getattr(cluster, name)) for name in SAME},
        **{name: getattr(cluster, name) for name in OURS if getattr(cluster, name)},
        **dict(zip(("ssh_key_type", "ssh_key_bits"), ssh.settings(cluster), strict=True)),
        **_common(cluster),
        "cluster_name": cluster.name,
        "master_node": cluster.master_node,
        "volume_group_name": cluster.volume_group_name or None,
        "enabled_hypervisors": list(cluster.enabled_hypervisors),
        "enabled_disk_templates": [template.value for template in cluster.enabled_disk_templates],
        "hvparams": {name: {**builtin.get(name, {}), **cluster.hvparams.get(name, {})} for name in hypervisors},
        "beparams": {"default": {**params.defaults(params.BACKEND), **cluster.beparams}},
        "nicparams": {"default": {**params.defaults(params.NIC), **cluster.nicparams}},
        "ndparams": {**params.defaults(params.NODE), **cluster.ndparams},
        "diskparams": {template.value: dict(cluster.diskparams.get(template.value, {})) for template in DiskTemplate},
        "ipolicy": {**policy.builtin(), **cluster.ipolicy},
        "tcpudp_port_pool": sorted(cluster.tcpudp_port_pool),
        # digests of ours are SHA-256; those of the classic form are shorter, so nobody takes one for the other
        "candidate_certs": {
            node.uuid: node.certificate_digest for node in _ordered(config.nodes.values()) if node.certificate_digest
        },
    }


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "primary_ip": node.primary_ip,
        "secondary_ip": node.secondary_ip,
        "group": node.group,
        "master_candidate": node.master_candidate,
        "offline": node.offline,
        "drained": node.drained,
        "master_capable": node.master_capable,
        "vm_capable": node.vm_capable,
        "powered": node.powered,
        "ndparams": node.ndparams,
        **_recorded(node),
        **_common(node),
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "alloc_policy": group.alloc_policy.value,
        "ndparams": group.ndparams,
        "diskparams": group.diskparams,
        "ipolicy": group.ipolicy,
        "networks": group.networks,
        **_recorded(group),
        **_common(group),
    }


def _recorded(obj: Node | Group) -> dict[str, Any]:
    """States that were written down by hand, if there are any."""
    disks: dict[str, dict[str, Any]] = {}
    for name, values in obj.disk_state_static.items():
        storage, _, identifier = name.partition("/")
        disks.setdefault(storage, {})[identifier] = values
    return {"hv_state_static": obj.hv_state_static, "disk_state_static": disks}


def _instance(instance: Instance) -> dict[str, Any]:
    found = {
        "name": instance.name,
        "primary_node": instance.primary_node,
        "os": instance.os,
        "hypervisor": instance.hypervisor,
        "admin_state": instance.admin_state.value,
        "admin_state_source": instance.admin_state_source,
        "disks_active": instance.disks_active,
        "hvparams": instance.hvparams,
        "beparams": instance.beparams,
        "osparams": instance.osparams,
        "osparams_private": instance.osparams_private,
        "nics": [_nic(nic) for nic in instance.nics],
        "disks": [disk.uuid for disk in instance.disks],
        **_common(instance),
    }
    if instance.network_port is not None:
        found["network_port"] = instance.network_port
    return found


def _nic(nic: Nic) -> dict[str, Any]:
    found: dict[str, Any] = {"mac": nic.mac, "nicparams": nic.params, "uuid": nic.uuid}
    optional = {"ip": nic.ip, "network": nic.network, "name": nic.name or None}
    return found | {key: value for key, value in optional.items() if value is not None}


def _disk(disk: Disk, iv_name: str, nodes: list[Uuid], ctime: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dev_type": disk.template.value,
        "logical_id": list(disk.logical_id),
        # the data and metadata volumes of a mirror are on both of its nodes
        "children": [_disk(child, iv_name, nodes, ctime) for child in disk.children],
        "nodes": nodes,
        "iv_name": iv_name,
        "size": disk.size,
        "mode": disk.mode.value,
        "params": disk.params,
        "uuid": disk.uuid,
        "serial_no": 1,
        "ctime": ctime,
        "mtime": ctime,
    }
    if disk.name:
        found["name"] = disk.name
    return found


def _detached(detached: DetachedDisk) -> dict[str, Any]:
    """With no key that others do not know, unless it says what a reader would not assume by itself."""
    nodes = _nodes_of(detached.disk, detached.nodes[0])
    found = _disk(detached.disk, "", nodes, detached.ctime) | _common(detached)
    if not detached.tags:
        del found["tags"]
    told = {"nodes": list(detached.nodes), "owner": detached.owner, "instance_name": detached.instance_name}
    if told != {"nodes": nodes, "owner": detached.uuid, "instance_name": ""}:
        found[DETACHED] = told
    return found


def _nodes_of(disk: Disk, primary: Uuid) -> list[Uuid]:
    if disk.template is DiskTemplate.DRBD:
        return [Uuid(str(node)) for node in disk.logical_id[:2]]
    return [] if disk.template in _SHARED else [primary]


def _network(network: Network, instances: Iterable[Instance]) -> dict[str, Any]:
    """With its addresses as strings of 0 and 1, the network's own address first."""
    block = ipaddress.ip_network(network.network, strict=False)
    used = [nic.ip for instance in instances for nic in instance.nics if nic.network == network.uuid and nic.ip]
    found = {
        "name": network.name,
        "network": network.network,
        "reservations": _bits(block, used),
        "ext_reservations": _bits(block, [*network.reserved, *never_given(block, network.gateway)]),
        **_common(network),
    }
    optional = ("gateway", "network6", "gateway6", "mac_prefix")
    return found | {key: getattr(network, key) for key in optional if getattr(network, key)}


def never_given(block: ipaddress.IPv4Network | ipaddress.IPv6Network, gateway: str) -> list[str]:
    """Addresses that no NIC can have: there they stand among those reserved from outside, here they need not."""
    return [str(block.network_address), str(block.broadcast_address), *([gateway] if gateway else [])]


def _bits(block: ipaddress.IPv4Network | ipaddress.IPv6Network, addresses: Iterable[str]) -> str:
    bits = bytearray(b"0" * block.num_addresses)
    first = int(block.network_address)
    for text in addresses:
        place = int(ipaddress.ip_address(text)) - first
        if 0 <= place < len(bits):
            bits[place] = ord("1")
    return bits.decode()
