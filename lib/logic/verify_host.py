"""Do the hosts below the nodes have what the cluster needs of them? Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ganeti import errors, paths
from ganeti.calls.node import VerifyReply
from ganeti.calls.os import OsDefinition
from ganeti.logic import placement
from ganeti.logic.findings import Findings
from ganeti.model import disks, params
from ganeti.model.config import Config
from ganeti.model.objects import DiskTemplate, Group, Node
from ganeti.model.types import Uuid

CERTIFICATE_WARNING_S = 30 * 86400.0
CERTIFICATE_ERROR_S = 7 * 86400.0
#: how much larger than the smallest one the largest physical volume may be
PV_TOLERANCE = 1.03
#: what the administrator's own script for the master's address is called
MASTER_IP_SCRIPT = f"{paths.CONFIG_DIR.path}/scripts/master-ip-setup"
#: after what verify finds
_END_MINORS = (
    "if this product left it behind, the watcher takes it down after gnt-cluster modify --maintain-node-health=yes; by "
    "hand there: drbdsetup down resource{minor}"
)
_EXCLUSION = "htools:iextags:"


def bridges(config: Config, node: Node) -> tuple[str, ...]:
    """Those that instances of the node need, and the default one."""
    wanted = set()
    uuids = config.primaries.get(node.uuid, frozenset()) | config.secondaries.get(node.uuid, frozenset())
    for uuid in uuids:
        for nic in config.instances[uuid].nics:
            filled = params.filled_nic(config, nic.params)
            if filled.get("mode") == "bridged":
                wanted.add(str(filled.get("link")))
    default = params.filled_nic(config, {})
    if default.get("mode") == "bridged":
        wanted.add(str(default.get("link")))
    return tuple(sorted(wanted))


def programs(config: Config, node: Node) -> tuple[str, ...]:
    """That must be executable there: out-of-band helpers are run by the master."""
    wanted = set()
    if config.cluster.use_external_mip_script:
        wanted.add(MASTER_IP_SCRIPT)
    if node.uuid == config.cluster.master_node:
        helpers = (params.filled_nd(config, each).get("oob_program") for each in config.nodes.values())
        wanted.update(str(path) for path in helpers if path)
    return tuple(sorted(wanted))


def devices(config: Config, node: Node) -> tuple[str, ...]:
    """Network interfaces: a node that may become master carries the cluster's address."""
    return (config.cluster.master_netdev,) if node.master_capable and config.cluster.master_netdev else ()


def allocators(config: Config, node: Node) -> tuple[str, ...]:
    name = config.cluster.default_iallocator
    return (name,) if node.master_capable and name not in ("", placement.BUILTIN) else ()


def uses_mirrors(config: Config) -> bool:
    return DiskTemplate.DRBD in config.cluster.enabled_disk_templates


def check_host(
    config: Config,
    node: Node,
    reply: VerifyReply,
    master: VerifyReply | None,
    found: Findings,
    *,
    is_indebted: bool = False,
) -> None:
    name = node.name
    missing = ", ".join(reply.missing_bridges)
    found.check(not missing, "ENODENET", name, f"bridges are missing: {missing}")
    is_master = node.uuid == config.cluster.master_node
    missing = ", ".join(reply.missing_devices)
    text = f"the interface for the cluster's address is missing: {missing}"
    found.check(not missing, "ENODENET", name, text, is_warning=not is_master)
    missing = ", ".join(reply.missing_allocators)
    text = f"the cluster's allocator is not installed: {missing}"
    found.check(not missing, "ENODESETUP", name, text, is_warning=not is_master)
    for path, why in sorted(reply.bad_programs.items()):
        code = "ENODEUSERSCRIPTS" if path == MASTER_IP_SCRIPT else "ENODEOOBPATH"
        found.check(False, code, name, f"the program {path} cannot be run: {why}")
    for why in reply.distrusted:
        found.check(False, "ENODEUSERSCRIPTS", name, f"root does not run what others could have changed: {why}")
    listed = "; ".join(reply.bad_storage_paths)
    found.check(not listed, "ENODEFILESTORAGEPATHS", name, f"in the list of directories for file disks: {listed}")
    text = f"untrusted OS scripts cannot run there: {reply.helper_problem}"
    found.check(not reply.helper_problem, "ENODEOS", name, text)
    if uses_mirrors(config) and node.vm_capable:
        _mirrors(config, node, reply, master, found, is_indebted=is_indebted)


def _mirrors(
    config: Config,
    node: Node,
    reply: VerifyReply,
    master: VerifyReply | None,
    found: Findings,
    *,
    is_indebted: bool,
) -> None:
    name = node.name
    if not found.check(not reply.drbd_problem, "ENODEDRBD", name, f"minors are not known: {reply.drbd_problem}"):
        return
    wanted = config.cluster.drbd_usermode_helper
    if wanted and reply.drbd_version:
        text = f"the module's helper is {reply.drbd_helper or 'none'}, the cluster wants {wanted}"
        found.check(reply.drbd_helper == wanted, "ENODEDRBDHELPER", name, text)
    if master is not None and master.drbd_version:
        text = f"it has DRBD {reply.drbd_version or 'not loaded'}, the master {master.drbd_version}"
        found.check(reply.drbd_version == master.drbd_version, "ENODEDRBDVERSION", name, text, is_warning=True)
    known = disks.used_minors(config, node.uuid)
    for minor in sorted(set(reply.minors) - known):
        # a node that has something to undo may still hold what the undo is about
        what = (
            "the node has still to undo something that may end it" if is_indebted else _END_MINORS.format(minor=minor)
        )
        text = f"minor {minor} is in use but belongs to no instance; {what}"
        found.check(False, "ENODEDRBD", name, text, is_warning=is_indebted)
    for minor, owner in sorted(_active_minors(config, node).items()):
        text = f"minor {minor} of {owner} is not active"
        found.check(minor in reply.minors, "ENODEDRBD", name, text)


def _active_minors(config: Config, node: Node) -> dict[int, str]:
    """Minor → name of the instance whose disks shall be active."""
    held = config.primaries.get(node.uuid, frozenset()) | config.secondaries.get(node.uuid, frozenset())
    return {
        disks.Mirror.of(disk).minor(node.uuid): config.instances[uuid].name
        for uuid in held
        if config.instances[uuid].disks_active
        for disk in config.instances[uuid].disks
        if disks.is_mirror(disk)
    }


def has_whole_volumes(config: Config, node: Node) -> bool:
    """Whether each logical volume there is to have physical volumes of its own."""
    return bool(
        node.vm_capable and config.cluster.volume_group_name and params.filled_nd(config, node)["exclusive_storage"]
    )


def check_physical_volumes(
    config: Config, group: Group, answers: Mapping[Uuid, VerifyReply | errors.RpcError], found: Findings
) -> None:
    """Where volumes have physical ones of their own, these have to be of one size, or some of them cannot be used."""
    sizes = {
        config.nodes[node].name: answer.pv_sizes
        for node, answer in answers.items()
        if isinstance(answer, VerifyReply) and answer.pv_sizes and has_whole_volumes(config, config.nodes[node])
    }
    if not sizes:
        return
    smallest, where = min((min(own), name) for name, own in sizes.items())
    largest, there = max((max(own), name) for name, own in sizes.items())
    text = (
        f"physical volumes of {config.cluster.volume_group_name} differ in size: from {smallest:.0f} MiB on {where} to "
        f"{largest:.0f} MiB on {there}"
    )
    found.check(largest <= smallest * PV_TOLERANCE, "EGROUPDIFFERENTPVSIZE", group.name, text)


def check_certificate_authority(ends: float, now: float, found: Findings) -> None:
    """`ends` 0: not known."""
    if ends:
        left = ends - now
        text = f"the certificate of the cluster's authority ends in {max(0, int(left // 86400))} days"
        found.check(left > CERTIFICATE_WARNING_S, "ECLUSTERCERT", "", text, is_warning=left > CERTIFICATE_ERROR_S)


def check_definitions(
    config: Config, answers: Mapping[Uuid, tuple[OsDefinition, ...] | errors.RpcError], found: Findings
) -> None:
    """All nodes that hold instances have the same OS definitions; the first one of a name counts, as on the node."""
    by_node: dict[Uuid, dict[str, OsDefinition]] = {}
    for node, answer in answers.items():
        if not isinstance(answer, errors.RpcError):
            by_node[node] = {each.name: each for each in reversed(answer)}
    if not by_node:
        return
    reference = max(by_node, key=lambda node: (len(by_node[node]), node == config.cluster.master_node))
    usual, source = by_node[reference], config.nodes[reference].name
    for node, own in by_node.items():
        name = config.nodes[node].name
        for title, definition in sorted(usual.items()):
            there = own.get(title)
            found.check(there is not None, "ENODEOS", name, f"OS {title} is not there, but on {source}")
            if there is None or not found.check(
                there.valid, "ENODEOS", name, f"OS {title} at {there.path} is not valid: {there.reason}"
            ):
                continue
            is_same = not definition.valid or _properties(there) == _properties(definition)
            found.check(
                is_same, "ENODEOS", name, f"OS {title} has other versions, variants or parameters than {source}"
            )
        extra = ", ".join(sorted(set(own) - set(usual)))
        found.check(not extra, "ENODEOS", name, f"it has definitions that {source} has not: {extra}")


def _properties(definition: OsDefinition) -> tuple[object, ...]:
    return (
        frozenset(definition.api_versions),
        frozenset(definition.variants),
        frozenset(definition.parameters),
    )


def check_exclusion(config: Config, nodes: list[Node], found: Findings) -> None:
    """Instances with the same exclusion tag do not share a node; cluster tags say which tags exclude."""
    prefixes = tuple(tag.removeprefix(_EXCLUSION) + ":" for tag in config.cluster.tags if tag.startswith(_EXCLUSION))
    if not prefixes:
        return
    for node in nodes:
        holders: dict[str, list[str]] = {}
        for uuid in config.primaries.get(node.uuid, ()):
            instance = config.instances[uuid]
            for tag in instance.tags:
                if tag.startswith(prefixes):
                    holders.setdefault(tag, []).append(instance.name)
        for tag, names in sorted(holders.items()):
            text = f"instances that exclude each other ({tag}): {', '.join(sorted(names))}"
            found.check(len(names) == 1, "EEXTAGS", node.name, text, is_warning=True)
