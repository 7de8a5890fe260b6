"""What of a node can be set beside its roles: secondary address, parameters, recorded states."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec

from ganeti import errors, settings
from ganeti.calls.node import AddressProbe
from ganeti.hypervisor import parameters
from ganeti.logic import checks
from ganeti.logic.base import Env
from ganeti.model import node_state, params
from ganeti.model.config import Config
from ganeti.model.objects import AdminState, Node, Params, Put
from ganeti.ops.node import OpNodeAdd, OpNodeSetParams

#: parameters that all nodes of a group have in common
_OF_GROUPS = ("exclusive_storage",)


def ndparams(old: Params, untrusted: Params | None) -> Params:
    """Overrides of a node with the changes made. Raises PrereqError."""
    for name in _OF_GROUPS:
        if name in (untrusted or {}):
            raise errors.PrereqError(
                "wrong_input",
                f"{name} is the same for all nodes of a group",
                hint="set it with gnt-group modify or gnt-cluster modify",
            )
    return params.merged(old, params.parse_nd(untrusted or {}))


def recorded(old: Node, op: OpNodeAdd | OpNodeSetParams) -> Node:
    """With the parameters and states that the operation sets. Raises PrereqError."""
    return msgspec.structs.replace(
        old,
        ndparams=ndparams(old.ndparams, op.ndparams),
        hv_state_static=node_state.changed_hv(old.hv_state_static, op.hv_state or {}, parameters.HYPERVISORS),
        disk_state_static=node_state.changed_disk(old.disk_state_static, op.disk_state or {}),
    )


def told(new: Node, op: OpNodeSetParams) -> list[tuple[str, str]]:
    """What the client is told of these changes."""
    found: list[tuple[str, str]] = []
    if op.secondary_ip is not None:
        found.append(("secondary_ip", new.secondary_ip))
    if op.powered is not None:
        found.append(("powered", str(op.powered)))
    values: tuple[tuple[str, dict[str, Any] | None, dict[str, Any]], ...] = (
        ("ndparams", op.ndparams, new.ndparams),
        ("hv_state", op.hv_state, new.hv_state_static),
        ("disk_state", op.disk_state, new.disk_state_static),
    )
    for what, given, now in values:
        for name in sorted(given or {}):
            # storage may be given by its type alone, it is recorded by type and name
            inner = [key for key in sorted(now) if key.startswith(f"{name}/")] if name not in now else []
            found += [(f"{what}/{key}", str(now.get(key, "default"))) for key in inner or [name]]
    return found


def check_power(config: Config, old: Node, new: Node, op: OpNodeSetParams) -> None:
    """Raises PrereqError."""
    if op.powered is not None and not params.filled_nd(config.apply([Put(new)]), new)["oob_program"]:
        raise errors.PrereqError(
            "wrong_state",
            f"the power state of node {new.name} is not recorded: it has no out-of-band helper",
            hint="set the node parameter oob_program",
        )
    if old.offline and not new.offline and not new.powered:
        raise errors.PrereqError(
            "wrong_state",
            f"node {new.name} is recorded as powered off, so it cannot come back",
            hint="power it on with gnt-node power on, or add --node-powered yes",
        )


async def secondary_ip(env: Env, node: Node, untrusted: str, *, force: bool) -> str:
    """The new address, checked to be the node's own. Raises PrereqError."""
    config = env.config
    try:
        address = str(ipaddress.ip_address(untrusted))
    except ValueError as err:
        raise errors.PrereqError("wrong_input", f"the secondary address {untrusted!r} is no IP address") from err
    if address == node.secondary_ip:
        return address
    for other in config.nodes.values():
        if other.uuid != node.uuid and address in (other.primary_ip, other.secondary_ip):
            raise errors.PrereqError("resource_not_unique", f"the address {address} belongs to node {other.name}")
    if address == config.cluster.master_ip:
        raise errors.PrereqError("resource_not_unique", f"the address {address} is the cluster's")
    _check_homes(env, node, address, force=force)
    _check_instances(config, node)
    if node.offline:
        env.warn(f"node {node.name} is offline: whether it has the address {address} was not checked")
        return address
    probe = AddressProbe(address=address, port=settings.NODED_PORT)
    if not await checks.ask(env, config.cluster.master_node, probe, f"look for {address}"):
        raise errors.PrereqError(
            "environment_error",
            f"the master reaches nobody at {address}",
            hint=f"set the address up on {node.name} first",
        )
    return address


def _check_homes(env: Env, node: Node, address: str, *, force: bool) -> None:
    """All nodes have an address of their own for replication, or none has."""
    master = env.config.master
    is_dual = address != node.primary_ip
    if node.uuid != master.uuid:
        master_is_dual = master.secondary_ip != master.primary_ip
        if is_dual != master_is_dual:
            raise errors.PrereqError(
                "wrong_input",
                f"the master has {'a' if master_is_dual else 'no'} secondary address of its own, the node would have "
                f"{'one' if is_dual else 'none'}",
                hint="change the master first",
            )
        return
    others = [
        other.name
        for other in env.config.nodes.values()
        if other.uuid != node.uuid and (other.secondary_ip != other.primary_ip) != is_dual
    ]
    if not others:
        return
    text = f"these nodes have {'no' if is_dual else 'a'} secondary address of their own: {', '.join(sorted(others))}"
    if not force:
        raise errors.PrereqError("wrong_state", text, hint="add --force, then change them too")
    env.warn(text, hint="change them too")


def _check_instances(config: Config, node: Node) -> None:
    nobody: frozenset[str] = frozenset()
    held = config.primaries.get(node.uuid, nobody) | config.secondaries.get(node.uuid, nobody)
    up = sorted(
        instance.name
        for instance in config.instances.values()
        if instance.uuid in held and instance.admin_state is AdminState.UP
    )
    if up:
        raise errors.PrereqError(
            "wrong_state",
            f"instances on node {node.name} are up: {', '.join(up[:5])}",
            hint="stop them or move them away before its secondary address changes",
        )
