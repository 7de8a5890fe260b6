"""One opcode from its locks to its post hooks, the same for all operations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from ganeti import errors
from ganeti.logic.base import HookPlan, LogicalUnit
from ganeti.logic.catalogue import UNITS
from ganeti.logic.steps import Step
from ganeti.master import hooks, plan_text
from ganeti.master.env import JobEnv, Parts
from ganeti.master.ssconf import Distributor
from ganeti.model.config import Config
from ganeti.model.objects import Object
from ganeti.model.types import JobId, Uuid
from ganeti.ops.base import Expected, OpCode

log = logging.getLogger(__name__)

#: hooks path that runs after every operation that changed the configuration
CONFIG_UPDATE = "config-update"

Unit = LogicalUnit[Any, Any]  # Any: the processor does not know what an operation's facts are


def check_expected(wanted: Expected, config: Config) -> None:
    """Raises PrereqError(serial_mismatch) when the object has changed, PrereqError when it is not there."""
    look_up: dict[str, Callable[[str], Object]] = {
        "cluster": lambda _: config.cluster,
        "node": config.node,
        "nodegroup": config.group,
        "instance": config.instance,
        "network": config.network,
    }
    found = look_up[wanted.kind](wanted.name)
    if found.serial_no == wanted.serial and found.uuid.startswith(wanted.uuid):
        return
    what = f"{wanted.kind} {wanted.name}".rstrip()
    is_other = not found.uuid.startswith(wanted.uuid)
    raise errors.PrereqError(
        errors.SERIAL_MISMATCH,
        f"{what} is another one than the one that was seen"
        if is_other
        else f"{what} has serial number {found.serial_no}, but {wanted.serial} was expected",
        hint="look at it again, and decide anew",
    )


class Processor:
    def __init__(self, parts: Parts, distributor: Distributor) -> None:
        self._parts = parts
        self._distributor = distributor

    async def execute(self, env: JobEnv, op: OpCode, priority: int) -> Any:
        """The opcode's result. Raises GanetiError; taking effects back is the caller's part."""
        unit_class = UNITS.get(type(op))
        if unit_class is None:
            raise errors.OpCodeUnknown(f"this version cannot run {op.op_id}")
        unit = unit_class(op)
        await self._acquire(env.job, unit, priority)
        env.begin()
        if op.expected is not None:
            # the locks are held and nothing is awaited in between: what is seen now stays until the operation ends
            check_expected(op.expected, env.config)
        facts = await unit.check(env)
        plan = unit.hooks(facts, env.config) if op.declaration.hooks else None
        if plan is not None:
            await self._pre_hooks(env, op, plan)
        if op.dry_run:
            self._tell_plan(env, unit.plan(facts, env))
            return unit.dry_result(facts)
        if plan is not None and plan.leaving:
            await self._post_hooks(env, op, plan, plan.leaving)
        try:
            result = await unit.execute(facts, env)
        finally:
            if env.has_changed:
                if env.wants_all_files:
                    self._distributor.send_all_again()
                await self._distributor.distribute()
                await self._config_hooks(env, op)
        if plan is not None:
            failures = await self._post_hooks(env, op, plan, (*plan.post, *_nodes_now(plan, env.config)))
            result = unit.after_hooks(result, failures, env)
        return result

    def _tell_plan(self, env: JobEnv, plan: Sequence[Step]) -> None:
        env.report(plan_text.locks(self._parts.locks.held(env.job), env.config))
        for line in plan_text.lines(plan, env.config):
            env.report(f"would do: {line}")

    async def _acquire(self, job: JobId, unit: Unit, priority: int) -> None:
        """Locks of the plan on the newest snapshot; the place in the queue is kept while the set changes."""
        plan = unit.locks(self._parts.state.config)
        await self._parts.locks.acquire(job, plan, priority)
        while True:
            now = unit.locks(self._parts.state.config)
            if now.wanted == plan.wanted:
                return
            plan = now
            await self._parts.locks.replace(job, plan)

    async def _pre_hooks(self, env: JobEnv, op: OpCode, plan: HookPlan) -> None:
        path = op.declaration.hooks
        nodes = _reachable(plan.pre, env.config)
        if not nodes:
            return
        environ = hooks.environment(env.config, op, path, "pre", plan.environment)
        calls = hooks.calls(nodes, path=path, phase="pre", environ=environ)
        results = await env.unless_killed(hooks.run(env.rpc, calls), lambda: hooks.stop(env.rpc, calls))
        env.check_wish()  # scripts that were stopped have not refused anything
        if results and all(isinstance(answer, errors.RpcError) for answer in results.values()):
            raise errors.HooksFailure(f"no node could run the pre hooks {path}")
        for answer in results.values():
            if isinstance(answer, errors.RpcError):
                env.warn(f"pre hooks not run: {answer}")
        failed = hooks.failures(env.config, results)
        if failed:
            raise errors.HooksAbort(failed)

    async def _post_hooks(
        self, env: JobEnv, op: OpCode, plan: HookPlan, nodes: Sequence[Uuid]
    ) -> list[tuple[str, str, str]]:
        path, config = op.declaration.hooks, env.config
        environ = hooks.environment(config, op, path, "post", plan.environment) | hooks.after(plan, config)
        calls = hooks.calls(_reachable(nodes, config), path=path, phase="post", environ=environ)
        results = await hooks.run(env.rpc, calls)
        failures = hooks.failures(config, results)
        for answer in results.values():
            if isinstance(answer, errors.RpcError):
                env.warn(f"post hooks not run: {answer}")
        for node, script, output in failures:
            env.warn(f"post hook {script} failed on node {node}: {output.strip() or '(no output)'}")
        return failures

    @staticmethod
    async def _config_hooks(env: JobEnv, op: OpCode) -> None:
        """For whoever wants to know of every change; what they do is no matter of the operation."""
        config = env.config
        environ = hooks.environment(config, op, CONFIG_UPDATE, "post", {})
        nodes = (config.cluster.master_node,)
        results = await hooks.run(env.rpc, hooks.calls(nodes, path=CONFIG_UPDATE, phase="post", environ=environ))
        for answer in results.values():
            if isinstance(answer, errors.RpcError):
                log.warning("%s hooks were not run: %s", CONFIG_UPDATE, answer)
        for _, script, output in hooks.failures(config, results):
            log.warning("hook %s failed: %s", script, output.strip() or "(no output)")


def _nodes_now(plan: HookPlan, config: Config) -> tuple[Uuid, ...]:
    """Where the instance is after the operation, which may be elsewhere than was planned."""
    instance = config.instances.get(plan.instance) if plan.instance is not None else None
    return instance.nodes if instance is not None else ()


def _reachable(nodes: Sequence[Uuid], config: Config) -> list[Uuid]:
    """Hooks run where somebody answers: not on nodes that are gone or marked offline."""
    return [node for node in nodes if node in config.nodes and not config.nodes[node].offline]
