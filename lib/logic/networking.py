"""NICs of instances on networks: who gets which address, and how they are attached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ganeti import errors
from ganeti.logic.base import Env
from ganeti.logic.devices import NicSpec
from ganeti.model import params, pool
from ganeti.model.config import Config
from ganeti.model.objects import Instance, Network, Nic, Node, Params
from ganeti.model.types import Uuid

#: as an ip: any free address of the network
FROM_POOL = "pool"


def locked(config: Config, untrusted_nics: Iterable[Mapping[str, Any]]) -> tuple[Uuid, ...]:
    """Networks that the described NICs are to be on, to be locked shared. Raises PrereqError."""
    names = [nic.get("network") for nic in untrusted_nics]
    wanted = [name for name in names if isinstance(name, str) and name.lower() not in ("", "none")]
    return tuple(dict.fromkeys(config.network(name).uuid for name in wanted))


def of_instance(instance: Instance) -> tuple[Uuid, ...]:
    """Networks that its NICs are on."""
    return tuple(dict.fromkeys(nic.network for nic in instance.nics if nic.network is not None))


def connection(config: Config, network: Network, node: Node) -> Params:
    """How NICs are attached on that node. Raises PrereqError when its group has no connection."""
    group = config.groups[node.group]
    found = group.networks.get(network.uuid)
    if found is None:
        raise errors.PrereqError(
            "wrong_state",
            f"network {network.name} is not connected to node group {group.name} of node {node.name}",
            hint=f"gnt-network connect -N mode=MODE,link=LINK {network.name} {group.name}",
        )
    return found


def without(config: Config, specs: Iterable[NicSpec]) -> frozenset[Uuid]:
    """Nodes on which one of the networks is not connected. Raises PrereqError when that is every node."""
    wanted = {spec.network for spec in specs if spec.network}
    found = frozenset(
        node.uuid for node in config.nodes.values() if not wanted <= config.groups[node.group].networks.keys()
    )
    if found and len(found) == len(config.nodes):
        names = ", ".join(sorted(config.network(uuid).name for uuid in wanted))
        raise errors.PrereqError("wrong_state", f"no node group is connected to all of these networks: {names}")
    return found


def check_move(config: Config, instance: Instance, target: Node) -> None:
    """All its networks are connected there. Raises PrereqError."""
    for uuid in of_instance(instance):
        if uuid in config.networks:
            connection(config, config.networks[uuid], target)


def address(env: Env, spec: NicSpec, own: str, node: Node, *, check: bool) -> str | None:
    """The address that the NIC gets, reserved until the operation ends. `own`: that of the instance's name.

    Without `check` it may be one that is reserved on its network, or lie in a network that the NIC is not on.
    Raises PrereqError.
    """
    config = env.config
    ip = own if spec.ip == "auto" else spec.ip
    if not spec.network:
        if ip and check:
            _check_outside(config, ip, node)
        params.check_nic(params.filled_nic(config, spec.params), ip)
        return ip
    network = config.network(spec.network)
    complete = params.filled_nic(config, spec.params, connection(config, network, node))
    if ip == FROM_POOL:
        ip = env.new_ip(network.uuid)
    elif ip:
        env.reserve_ip(network.uuid, ip, from_outside=check)
    params.check_nic(complete, ip)
    return ip


def _check_outside(config: Config, ip: str, node: Node) -> None:
    """The address of a NIC that is on no network belongs to none of the node group's."""
    for uuid in config.groups[node.group].networks:
        network = config.networks.get(Uuid(uuid))
        if network is not None and pool.contains(network, ip):
            raise errors.PrereqError(
                "wrong_input",
                f"{ip} is an address of network {network.name}",
                hint=f"put the NIC on it with network={network.name}, or add --no-conflicts-check",
            )


def mac_prefix(config: Config, spec: NicSpec) -> str:
    """Of addresses that are made for the NIC."""
    network = config.network(spec.network) if spec.network else None
    return (network.mac_prefix if network is not None else "") or config.cluster.mac_prefix


def new_nic(env: Env, spec: NicSpec, own: str, node: Node, *, check: bool) -> Nic:
    """A NIC for an instance on that node, with its addresses reserved until the operation ends."""
    config = env.config
    ip = address(env, spec, own, node, check=check)
    if spec.mac in ("auto", "generate"):
        mac = env.new_mac(mac_prefix(config, spec))
    else:
        mac = spec.mac
        env.reserve_mac(mac)
    network = config.network(spec.network).uuid if spec.network else None
    return Nic(uuid=env.new_uuid(), mac=mac, name=spec.name, ip=ip, network=network, params=spec.params)
