"""OP_OOB_COMMAND, OP_NODE_POWERCYCLE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.power import NodePowercycle, OobAsk, OobDo
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.logic.steps import Effect, Step
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.locks import LockPlan, exclusive, shared
from ganeti.model.objects import Node, Put
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.power import OpNodePowercycle, OpOobCommand
from ganeti.wire import codec

#: status of a value, as in answers to queries
NORMAL, NO_DATA, UNAVAILABLE = 0, 2, 3
_QUESTIONS = ("power-status", "health")
_HEALTH = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
#: what is recorded after it
_POWERED = {"power-on": True, "power-off": False, "power-cycle": True}

Row = list[list[Any]]  # Any: [[status, name], [status, answer]]


class OobFacts(msgspec.Struct, frozen=True, kw_only=True):
    nodes: tuple[Node, ...]


@implements(OpOobCommand)
class OobCommand(LogicalUnit[OpOobCommand, OobFacts]):
    """One node after the other; one that fails does not keep the others from it. The helpers run on the master."""

    def _chosen(self, config: Config) -> list[Node]:
        names = self.op.node_names
        nodes = [config.node(name) for name in names] if names else list(config.nodes.values())
        unique = {node.uuid: node for node in nodes}
        return sorted(unique.values(), key=lambda node: nice_key(node.name))

    def locks(self, config: Config) -> LockPlan:
        uuids = [node.uuid for node in self._chosen(config)]
        return LockPlan.of(nodes=shared(*uuids) if self.op.command in _QUESTIONS else exclusive(*uuids))

    async def check(self, env: Env) -> OobFacts:
        op, config = self.op, env.config
        nodes = self._chosen(config)
        if op.command in ("power-off", "power-cycle"):
            if any(node.uuid == config.cluster.master_node for node in nodes):
                raise errors.PrereqError(
                    "wrong_input",
                    f"{op.command} of the master {config.master.name} would end this job too",
                    hint="name the other nodes, or let another node become the master first",
                )
            online = [node.name for node in nodes if not node.offline]
            if op.command == "power-off" and online and not op.ignore_status:
                raise errors.PrereqError(
                    "wrong_state",
                    f"not marked offline: {', '.join(online)}",
                    hint="gnt-node modify --offline yes, or --ignore-status",
                )
        return OobFacts(nodes=tuple(nodes))

    def plan(self, facts: OobFacts, env: Env) -> Sequence[Step]:
        """Of the nodes that have a helper; for questions nothing."""
        if self.op.command in _QUESTIONS:
            return ()
        return [
            Effect(title=f"{self.op.command} {node.name}", node=env.config.cluster.master_node, call=call)
            for node in facts.nodes
            if (call := self._call(node, env)) is not None
        ]

    def _program(self, node: Node, env: Env) -> str:
        return str(params.filled_nd(env.config, node).get("oob_program") or "")

    def _call(self, node: Node, env: Env) -> OobDo | None:
        program = self._program(node, env)
        if not program:
            return None
        op = self.op
        return OobDo(
            program=program, command=op.command, target=node.name, timeout_s=op.timeout, request=env.new_request()
        )

    async def execute(self, facts: OobFacts, env: Env) -> list[Row]:
        rows: list[Row] = []
        for index, node in enumerate(facts.nodes):
            if index and self.op.command == "power-on" and self.op.power_delay:
                await env.sleep(self.op.power_delay)
            rows.append([[NORMAL, node.name], await self._one(node, env)])
        return rows

    async def _one(self, node: Node, env: Env) -> list[Any]:
        op, master, program = self.op, env.config.cluster.master_node, self._program(node, env)
        if not program:
            return [UNAVAILABLE, None]
        try:
            if op.command in _QUESTIONS:
                question = OobAsk(program=program, command=op.command, target=node.name, timeout_s=op.timeout)
                return [NORMAL, answer(op.command, await env.rpc.one(master, question))]
            call = self._call(node, env)
            assert call is not None, program
            await env.rpc.one(master, call)
        except (errors.RpcError, errors.ExecError) as err:
            env.warn(f"{op.command} of {node.name}: {err}")
            return [NO_DATA, None]
        await self._record(node.uuid, env)
        return [NORMAL, None]

    async def _record(self, uuid: Uuid, env: Env) -> None:
        node, powered = env.config.nodes[uuid], _POWERED[self.op.command]
        if node.powered != powered:
            await env.commit(Put(msgspec.structs.replace(node, powered=powered)), title=f"record {node.name}'s power")


def answer(command: str, untrusted: str) -> Any:
    """What a helper printed, as JSON. Raises ExecError when it has another form than it should have."""
    try:
        found = codec.loads(untrusted)
    except codec.CodecError as err:
        raise errors.ExecError(f"the helper's answer to {command} is no JSON: {err}") from err
    if command == "power-status":
        if not isinstance(found, dict) or not isinstance(found.get("powered"), bool):
            raise errors.ExecError(f"the helper's answer to {command} has no member powered that is true or false")
    elif not isinstance(found, list) or not all(
        isinstance(item, list) and len(item) == 2 and item[1] in _HEALTH for item in found
    ):
        raise errors.ExecError(f"the helper's answer to {command} is no list of [item, {'|'.join(_HEALTH)}]")
    return found


@implements(OpNodePowercycle)
class PowercycleNode(LogicalUnit[OpNodePowercycle, Node]):
    """Takes no locks: it has to work when jobs hang on that node."""

    async def check(self, env: Env) -> Node:
        node = env.config.node(self.op.node_name)
        if node.uuid == env.config.cluster.master_node and not self.op.force:
            raise errors.PrereqError("wrong_input", f"{node.name} is the master", hint="-f reboots it all the same")
        return node

    def plan(self, facts: Node, env: Env) -> Sequence[Step]:
        call = NodePowercycle(request=env.new_request())
        return (Effect(title=f"reboot {facts.name}", node=facts.uuid, call=call),)

    async def execute(self, facts: Node, env: Env) -> str:
        # also one that is marked offline: it may be so because it hangs
        try:
            return await env.rpc.at(facts, NodePowercycle(request=env.new_request()))
        except errors.RpcError as err:
            raise errors.ExecError(f"failed to schedule the reboot: {err}") from err
