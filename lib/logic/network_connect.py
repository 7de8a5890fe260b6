"""OP_NETWORK_CONNECT, OP_NETWORK_DISCONNECT."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

import msgspec

from ganeti import errors
from ganeti.logic import network_settings, policies
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model import params, pool
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, shared
from ganeti.model.objects import Group, Instance, Network, Nic, Params, Put
from ganeti.ops.network import OpNetworkConnect, OpNetworkDisconnect

_ANY_ADDRESS = "0.0.0.0"


class ConnectFacts(msgspec.Struct, frozen=True, kw_only=True):
    group: Group
    network: Network
    connection: Params | None  # None: it ends
    changes: bool = True


def _hooks(facts: ConnectFacts, config: Config) -> HookPlan:
    shown = facts.connection if facts.connection is not None else facts.group.networks.get(facts.network.uuid, {})
    values = {
        "GROUP_NAME": facts.group.name,
        "GROUP_NETWORK_MODE": shown.get("mode", ""),
        "GROUP_NETWORK_LINK": shown.get("link", ""),
        "GROUP_NETWORK_VLAN": shown.get("vlan", ""),
    }
    nodes = tuple(sorted(node.uuid for node in config.nodes.values() if node.group == facts.group.uuid))
    return HookPlan(environment=network_settings.environment(facts.network) | values, pre=nodes, post=nodes)


def _steps(facts: ConnectFacts) -> Sequence[Step]:
    if not facts.changes:
        return ()
    connections = {uuid: found for uuid, found in facts.group.networks.items() if uuid != facts.network.uuid}
    if facts.connection is not None:
        connections[facts.network.uuid] = facts.connection
    verb = "connect" if facts.connection is not None else "disconnect"
    title = f"{verb} network {facts.network.name} {'to' if verb == 'connect' else 'from'} node group {facts.group.name}"
    changed = msgspec.structs.replace(facts.group, networks=connections)
    return (Commit(title=title, changes=(Put(changed),), is_final=True),)


def _in_group(config: Config, group: Group) -> Iterator[tuple[Instance, Nic]]:
    for instance in policies.in_group(config, group.uuid):
        for nic in instance.nics:
            yield instance, nic


@implements(OpNetworkConnect)
class NetworkConnect(LogicalUnit[OpNetworkConnect, ConnectFacts]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(
            groups=exclusive(config.group(self.op.group_name).uuid),
            instances=shared(ALL) if self.op.conflicts_check else None,
            networks=shared(config.network(self.op.network_name).uuid),
        )

    async def check(self, env: Env) -> ConnectFacts:
        op, config = self.op, env.config
        group, network = config.group(op.group_name), config.network(op.network_name)
        connection = params.parse_nic({"mode": op.network_mode, "link": op.network_link, "vlan": op.network_vlan})
        params.check_nic(params.filled_nic(config, connection), _ANY_ADDRESS)
        if network.uuid in group.networks:
            env.warn(f"network {network.name} is connected to node group {group.name} already; nothing is changed")
            return ConnectFacts(group=group, network=network, connection=connection, changes=False)
        if op.conflicts_check:
            subnet = pool.block(network)
            found = sorted(
                f"{instance.name} ({nic.ip})"
                for instance, nic in _in_group(config, group)
                if nic.network is None and nic.ip and ipaddress.ip_address(nic.ip) in subnet
            )
            if found:
                raise errors.PrereqError(
                    "wrong_state",
                    f"instances of node group {group.name} have addresses of {subnet} without being on the network: "
                    + ", ".join(found[:10]),
                    hint="reserve the addresses on the network and add --no-conflicts-check",
                )
        return ConnectFacts(group=group, network=network, connection=connection)

    def hooks(self, facts: ConnectFacts, config: Config) -> HookPlan:
        return _hooks(facts, config)

    def plan(self, facts: ConnectFacts, env: Env) -> Sequence[Step]:
        return _steps(facts)


@implements(OpNetworkDisconnect)
class NetworkDisconnect(LogicalUnit[OpNetworkDisconnect, ConnectFacts]):
    def locks(self, config: Config) -> LockPlan:
        # exclusive: nobody is about to put a NIC on it
        return LockPlan.of(
            groups=exclusive(config.group(self.op.group_name).uuid),
            instances=shared(ALL),
            networks=exclusive(config.network(self.op.network_name).uuid),
        )

    async def check(self, env: Env) -> ConnectFacts:
        config = env.config
        group, network = config.group(self.op.group_name), config.network(self.op.network_name)
        if network.uuid not in group.networks:
            env.warn(f"network {network.name} is not connected to node group {group.name}; nothing is changed")
            return ConnectFacts(group=group, network=network, connection=None, changes=False)
        users = sorted({instance.name for instance, nic in _in_group(config, group) if nic.network == network.uuid})
        if users:
            raise errors.PrereqError(
                "wrong_state",
                f"network {network.name} is used in node group {group.name} by {', '.join(users[:10])}",
                hint="take their NICs off the network first",
            )
        return ConnectFacts(group=group, network=network, connection=None)

    def hooks(self, facts: ConnectFacts, config: Config) -> HookPlan:
        return _hooks(facts, config)

    def plan(self, facts: ConnectFacts, env: Env) -> Sequence[Step]:
        return _steps(facts)
