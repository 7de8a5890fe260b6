"""OP_NODE_ADD."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.node import NodeVersion, VersionReply
from ganeti.logic import candidates, checks, hosts, node_hooks, node_values, shared_secrets, ssh_keys
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.steps import Commit, Step
from ganeti.model.config import Config
from ganeti.model.locks import BIG, LockPlan, exclusive, new_name
from ganeti.model.objects import Node, Put
from ganeti.model.types import Uuid
from ganeti.ops.node import OpNodeAdd

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class AddFacts(msgspec.Struct, frozen=True, kw_only=True):
    node: Node  # not a candidate yet
    is_candidate: bool


@implements(OpNodeAdd)
class NodeAdd(LogicalUnit[OpNodeAdd, AddFacts]):
    """The node has joined: its daemon runs with a certificate of this cluster and our trust file."""

    def locks(self, config: Config) -> LockPlan:
        # two nodes that are added at once could take the same address
        return LockPlan.of(cluster=exclusive(BIG), nodes=exclusive(new_name(self.op.node_name)))

    async def check(self, env: Env) -> AddFacts:
        op, config = self.op, env.config
        name = checks.host_name(op.node_name)
        primary_ip = op.primary_ip
        if not primary_ip:
            full, primary_ip = await env.resolve(name)
            name = checks.host_name(full)
        primary_ip = _address(primary_ip, "primary")
        old = _known(config, name, readd=op.readd)
        secondary_ip = _address(op.secondary_ip or (old.secondary_ip if old else primary_ip), "secondary")
        digest = op.certificate_digest.lower() or (old.certificate_digest if old else "")
        if not _DIGEST.match(digest):
            raise errors.PrereqError(
                "wrong_input",
                f"no certificate of node {name} is known",
                hint="run gnt-node add on the master: it makes the node join first",
            )
        node = node_values.recorded(self._node(env, name, (primary_ip, secondary_ip), digest, old), op)
        _check_addresses(config, node, old)
        _check_certificate(config, node)
        await self._check_daemon(env, node)
        is_candidate = node.master_capable and candidates.joins(config, without=node.uuid)
        return AddFacts(node=node, is_candidate=is_candidate)

    def _node(self, env: Env, name: str, addresses: tuple[str, str], digest: str, old: Node | None) -> Node:
        op, config = self.op, env.config
        if old is not None:
            if op.node_uuid and op.node_uuid != old.uuid:
                raise errors.PrereqError(
                    "wrong_input", f"node {name} is known as {old.uuid}, but it joined as {op.node_uuid}"
                )
            return msgspec.structs.replace(
                old,
                primary_ip=addresses[0],
                secondary_ip=addresses[1],
                certificate_digest=digest,
                renewing_digest="",
                ssh_key="",
                ssh_renewing_key="",
                ssh_host_keys=(),
                offline=False,
                drained=False,
                powered=True,
                master_candidate=False,
            )
        uuid = Uuid(op.node_uuid) if op.node_uuid else env.new_uuid()
        if uuid in config.nodes:
            raise errors.PrereqError("already_exists", f"node {config.nodes[uuid].name} has the uuid {uuid} already")
        return Node(
            uuid=uuid,
            ctime=env.now(),
            name=name,
            primary_ip=addresses[0],
            secondary_ip=addresses[1],
            group=self._group(config),
            certificate_digest=digest,
            master_capable=op.master_capable,
            vm_capable=op.vm_capable,
        )

    def _group(self, config: Config) -> Uuid:
        if self.op.group:
            return config.group(self.op.group).uuid
        # the group that the cluster began with, else the one whose name comes first
        first = min(config.groups.values(), key=lambda group: (group.name != "default", group.name))
        return first.uuid

    @staticmethod
    async def _check_daemon(env: Env, node: Node) -> None:
        try:
            found = await env.rpc.at(node, NodeVersion())
        except errors.RpcError as err:
            raise errors.PrereqError(
                "environment_error", f"the node daemon of {node.name} does not answer: {err}"
            ) from err
        master = await checks.ask(env, env.config.cluster.master_node, NodeVersion(), "ask for the version")
        check_identity(found, master, node, env.config.cluster.name)

    def hooks(self, facts: AddFacts, config: Config) -> HookPlan:
        node = facts.node
        extra = {"NODE_NAME": node.name, "NODE_PIP": node.primary_ip, "NODE_SIP": node.secondary_ip}
        extra |= node_hooks.abilities(node.master_capable, node.vm_capable)
        present = [each.uuid for each in config.online_nodes if each.uuid != node.uuid]
        return node_hooks.plan(node, extra, pre=present, post=[*present, node.uuid])

    def plan(self, facts: AddFacts, env: Env) -> Sequence[Step]:
        verb = "re-add" if self.op.readd else "add"
        return (Commit(title=f"{verb} node {facts.node.name}", changes=(Put(facts.node),)),)

    async def execute(self, facts: AddFacts, env: Env) -> None:
        old = env.config.nodes.get(facts.node.uuid)
        if old is not None and old.master_candidate:
            # its copy of the state is gone or old: it votes again after it was brought up to date
            await candidates.demote(env, old)
        await super().execute(facts, env)
        await env.membership.publish_trust()
        await shared_secrets.share(env, [facts.node.uuid])
        await hosts.share(env)
        # an old key may be in other hands: who is added again is trusted anew
        await ssh_keys.learn(env, [facts.node.uuid], anew=True)
        if facts.is_candidate:
            try:
                node = env.config.nodes[facts.node.uuid]
                if old is not None and old.master_candidate:
                    await candidates.promote(env, node)
                elif not await candidates.promote_if_short(env, node):
                    return
            except errors.GanetiError as err:
                env.warn(
                    f"node {facts.node.name} was added but is no master candidate: {err}",
                    hint=f"try gnt-node modify -C yes {facts.node.name}",
                )
                return
            await env.membership.publish_trust()


def _address(text: str, which: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as err:
        raise errors.PrereqError("wrong_input", f"the {which} address {text!r} is no IP address") from err


def _known(config: Config, name: str, *, readd: bool) -> Node | None:
    uuid = config.node_names.get(name)
    if uuid is None and readd:
        raise errors.PrereqError("unknown_entity", f"node {name} is not known", hint="add it without --readd")
    if uuid is not None and not readd:
        raise errors.PrereqError(
            "already_exists", f"there is already a node called {name!r}", hint="add --readd if it was installed anew"
        )
    if uuid == config.cluster.master_node:
        raise errors.PrereqError("wrong_state", f"node {name} is the master: it cannot be re-added")
    return config.nodes[uuid] if uuid is not None else None


def _check_addresses(config: Config, node: Node, old: Node | None) -> None:
    if old is not None and (old.primary_ip, old.secondary_ip) != (node.primary_ip, node.secondary_ip):
        raise errors.PrereqError(
            "wrong_input",
            f"node {node.name} has the addresses {old.primary_ip} and {old.secondary_ip}, not "
            f"{node.primary_ip} and {node.secondary_ip}",
            hint="remove it and add it as a new node if they have changed",
        )
    own = {node.primary_ip, node.secondary_ip}
    for other in config.nodes.values():
        clash = own & {other.primary_ip, other.secondary_ip}
        if other.uuid != node.uuid and clash:
            raise errors.PrereqError(
                "resource_not_unique", f"the address {clash.pop()} belongs to node {other.name} already"
            )
    master = config.master
    is_dual, master_is_dual = node.primary_ip != node.secondary_ip, master.primary_ip != master.secondary_ip
    if master_is_dual and not is_dual:
        raise errors.PrereqError(
            "wrong_input",
            "the master has a secondary address of its own but the new node has none",
            hint="add -s ADDRESS",
        )
    if is_dual and not master_is_dual:
        raise errors.PrereqError(
            "wrong_input",
            "the new node has a secondary address of its own but the master has none",
            hint="leave -s out",
        )


def _check_certificate(config: Config, node: Node) -> None:
    for other in config.nodes.values():
        if other.uuid != node.uuid and other.certificate_digest == node.certificate_digest:
            raise errors.PrereqError(
                "resource_not_unique", f"the certificate of node {node.name} is that of node {other.name}"
            )


def check_identity(found: VersionReply, master: VersionReply, node: Node, cluster: str) -> None:
    """Is it the node that we mean, with a program that fits? Raises PrereqError."""
    if found.protocol != master.protocol:
        raise errors.PrereqError(
            "environment_error",
            f"node {node.name} speaks protocol {found.protocol}, the master {master.protocol}",
            hint=f"install version {master.software} there (it has {found.software})",
        )
    if found.cluster != cluster:
        raise errors.PrereqError(
            "wrong_state", f"node {node.name} belongs to cluster {found.cluster!r}, not to {cluster!r}"
        )
    for what, answered, meant in (("name", found.node, node.name), ("uuid", found.uuid, node.uuid)):
        if answered != meant:
            raise errors.PrereqError(
                "environment_error",
                f"at {node.primary_ip} a node with {what} {answered} answers, not {meant}",
                hint="does the address belong to another node?",
            )
