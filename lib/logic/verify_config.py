"""Is the configuration consistent with itself? Pure.

The parts are iterators that yield after every object, so that the caller can let others run in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ganeti import errors
from ganeti.hypervisor import parameters
from ganeti.logic import candidates, guests, node_storage
from ganeti.logic.findings import Findings
from ganeti.model import params, pool
from ganeti.model.config import Config
from ganeti.model.objects import DiskTemplate, Instance, Node


def check_config(config: Config, found: Findings) -> Iterator[None]:
    _cluster(config, found)
    for node in config.nodes.values():
        _node(config, node, found)
        yield
    _addresses(config, found)
    for instance in config.instances.values():
        _instance(config, instance, found)
        yield
    _networks(config, found)
    yield from _unique(config, found)


def _cluster(config: Config, found: Findings) -> None:
    cluster = config.cluster
    known = [name for name in cluster.enabled_hypervisors if name in parameters.HYPERVISORS]
    found.check(bool(known), "ECLUSTERCFG", "", "no known hypervisor is enabled")
    for name in cluster.enabled_hypervisors:
        if not found.check(name in known, "ECLUSTERCFG", "", f"enabled hypervisor {name} is not known"):
            continue
        try:
            parameters.check(name, guests.cluster_hvparams(config, name))
            problem = ""
        except errors.GanetiError as err:
            problem = str(err)
        found.check(not problem, "ECLUSTERCFG", "", f"defaults of hypervisor {name} are wrong: {problem}")
    is_halfway = cluster.ca_certificate.count("BEGIN CERTIFICATE") > 1 or any(
        node.renewing_digest for node in config.nodes.values()
    )
    text = "a renewal of certificates was interrupted, old ones are still good: run gnt-cluster renew-crypto again"
    found.check(not is_halfway, "ECLUSTERCERT", "", text, is_warning=True)
    text = f"{node_storage.used_up(cluster)}: {node_storage.AGAIN}"
    found.check(not cluster.lvm_self_repaired, "ECLUSTERCFG", "", text, is_warning=True)
    found.check(bool(cluster.enabled_disk_templates), "ECLUSTERCFG", "", "no disk template is enabled")
    be = params.filled_be(config, {})
    found.check(be["minmem"] <= be["maxmem"], "ECLUSTERCFG", "", "the default minmem is more than the default maxmem")
    master = config.nodes.get(cluster.master_node)
    if found.check(master is not None, "ECLUSTERCFG", "", f"the master {cluster.master_node} is no known node"):
        is_candidate = master is not None and master.master_candidate
        found.check(is_candidate, "ECLUSTERCFG", "", "the master node is no master candidate")
    pool = candidates.pool(config)
    found.check(
        not pool.is_short,
        "ECLUSTERCFG",
        "",
        f"there are {pool.present} master candidates, {pool.wanted} are wanted",
        is_warning=True,
    )


def _node(config: Config, node: Node, found: Findings) -> None:
    found.check(node.group in config.groups, "ECLUSTERDANGLINGNODES", node.name, f"its group {node.group} is not known")
    roles = [
        name
        for name, is_set in (
            ("master candidate", node.master_candidate),
            ("drained", node.drained),
            ("offline", node.offline),
        )
        if is_set
    ]
    found.check(len(roles) <= 1, "ECLUSTERCFG", node.name, "the node is at once " + " and ".join(roles))
    found.check(
        node.master_capable or not node.master_candidate,
        "ECLUSTERCFG",
        node.name,
        "the node is a master candidate but not master_capable",
    )
    found.check(
        bool(node.certificate_digest), "ECLUSTERCLIENTCERT", node.name, "no certificate of the node is recorded"
    )


def _addresses(config: Config, found: Findings) -> None:
    holders: dict[str, list[str]] = {}
    for node in config.nodes.values():
        for address in {node.primary_ip, node.secondary_ip}:
            holders.setdefault(address, []).append(node.name)
    digests = Counter(node.certificate_digest for node in config.nodes.values() if node.certificate_digest)
    for address, names in holders.items():
        found.check(
            len(names) == 1, "ECLUSTERCFG", "", f"the address {address} belongs to {' and '.join(sorted(names))}"
        )
    shared = [digest for digest, count in digests.items() if count > 1]
    found.check(not shared, "ECLUSTERCLIENTCERT", "", "several nodes have the same certificate")


def _instance(config: Config, instance: Instance, found: Findings) -> None:
    name = instance.name
    primary = config.nodes.get(instance.primary_node)
    found.check(primary is not None, "ECLUSTERDANGLINGINST", name, f"its node {instance.primary_node} is not known")
    unknown = [node for node in instance.secondary_nodes if node not in config.nodes]
    found.check(not unknown, "ECLUSTERDANGLINGINST", name, f"its secondary nodes {', '.join(unknown)} are not known")
    if primary is not None:
        found.check(primary.vm_capable, "EINSTANCEBADNODE", name, f"its node {primary.name} is not vm_capable")
    found.check(
        instance.hypervisor in config.cluster.enabled_hypervisors,
        "ECLUSTERCFG",
        name,
        f"its hypervisor {instance.hypervisor} is not enabled",
    )
    if instance.hypervisor in parameters.HYPERVISORS:
        complete = guests.hvparams(config, instance)
        missing = sorted(set(parameters.defaults(instance.hypervisor)) - set(complete))
        unknown_names = sorted(set(complete) - set(parameters.defaults(instance.hypervisor)))
        found.check(
            not missing and not unknown_names,
            "EINSTANCEMISSINGCFGPARAMETER",
            name,
            f"hypervisor parameters that are missing or unknown: {', '.join(missing + unknown_names)}",
        )
    _nics(config, instance, found)
    be = guests.beparams(config, instance)
    found.check(be["minmem"] <= be["maxmem"], "ECLUSTERCFG", name, "its minmem is more than its maxmem")
    found.check(not instance.blocked, "ECLUSTERCFG", name, f"it is blocked: {instance.blocked}")


def _networks(config: Config, found: Findings) -> None:
    """Networks and their node groups; NICs on them are looked at with their instances."""
    for group in config.groups.values():
        unknown = [uuid for uuid in group.networks if uuid not in config.networks]
        found.check(
            not unknown, "ECLUSTERCFG", "", f"node group {group.name} has unknown networks {', '.join(unknown)}"
        )
    for network in config.networks.values():
        outside = [ip for ip in network.reserved if not pool.contains(network, ip)]
        text = f"reserved addresses of network {network.name} are not in {network.network}: {', '.join(outside)}"
        found.check(not outside, "ECLUSTERCFG", "", text)


def _nics(config: Config, instance: Instance, found: Findings) -> None:
    node = config.nodes.get(instance.primary_node)
    for index, nic in enumerate(instance.nics):
        if nic.network is None:
            continue
        network = config.networks.get(nic.network)
        if not found.check(
            network is not None, "ECLUSTERCFG", instance.name, f"NIC {index} is on an unknown network {nic.network}"
        ):
            continue
        assert network is not None
        group = config.groups.get(node.group) if node is not None else None
        text = f"NIC {index} is on network {network.name}, which is not connected in its node group"
        found.check(group is None or network.uuid in group.networks, "ECLUSTERCFG", instance.name, text)
        if nic.ip:
            text = f"NIC {index} has {nic.ip}, which is not in network {network.name}"
            is_inside = pool.contains(network, nic.ip)
            found.check(is_inside, "ECLUSTERCFG", instance.name, text)
            holders = pool.holders(config, network.uuid, nic.ip)
            names = " and ".join(sorted(config.instances[uuid].name for uuid in holders))
            text = f"{nic.ip} of network {network.name} belongs to {names}"
            found.check(len(holders) <= 1, "ECLUSTERCFG", instance.name, text)


def _unique(config: Config, found: Findings) -> Iterator[None]:
    macs: dict[str, list[str]] = {}
    ports: dict[int, list[str]] = {}
    volumes: dict[tuple[object, ...], list[str]] = {}
    for instance in config.instances.values():
        for nic in instance.nics:
            macs.setdefault(nic.mac, []).append(instance.name)
        if instance.network_port is not None:
            ports.setdefault(instance.network_port, []).append(instance.name)
        for disk in instance.disks:
            # the same path on two nodes is two volumes, unless the storage is shared
            place = instance.primary_node if disk.template in (DiskTemplate.FILE, DiskTemplate.PLAIN) else ""
            volumes.setdefault((disk.template, place, disk.logical_id), []).append(instance.name)
        yield
    numbered: list[tuple[str, dict[Any, list[str]]]] = [
        ("MAC address", macs),
        ("port", ports),
    ]  # Any: the key is only told
    for what, table in numbered:
        for value, names in table.items():
            found.check(len(names) == 1, "ECLUSTERCFG", "", f"{what} {value} is used by {', '.join(sorted(names))}")
    for (_, _, logical_id), names in volumes.items():
        found.check(len(names) == 1, "ECLUSTERCFG", "", f"volume {logical_id} is a disk of {', '.join(sorted(names))}")
