"""The words of --dry-run: what an operation would hold, do, and take back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganeti.calls.base import ChangingCall
from ganeti.logic import owing, steps
from ganeti.logic.steps import Ask, Commit, Effect, Parallel, Step, Wait
from ganeti.model.config import Config
from ganeti.model.jobs import Resolve, Undo
from ganeti.model.locks import ALL, LEVEL_NAMES, Level, LockKey
from ganeti.model.types import Uuid


def lock_name(key: LockKey, config: Config) -> str:
    """`level/name`, such as instance/web1; the whole level is `level/*`."""
    tables: dict[Level, Mapping[Uuid, Any]] = {  # Any: objects of each kind; all have a name
        Level.INSTANCE: config.instances,
        Level.GROUP: config.groups,
        Level.NODE: config.nodes,
        Level.NODE_RES: config.nodes,
        Level.NETWORK: config.networks,
    }
    found = tables.get(key.level, {}).get(Uuid(key.name))
    name = key.name if key.name == ALL or found is None else found.name
    return f"{LEVEL_NAMES[key.level]}/{name.removeprefix('name:')}"


def locks(held: Mapping[LockKey, bool], config: Config) -> str:
    """One line: all that is held, in the order of acquisition."""
    told = [f"{lock_name(key, config)} {'exclusive' if held[key] else 'shared'}" for key in sorted(held)]
    return "locks: " + ", ".join(told)


def lines(plan: Sequence[Step], config: Config) -> list[str]:
    """A line for each step, as the log of the job numbers them, with lines for nodes, calls and ways back below it."""
    found = []
    for number, step in enumerate(plan, start=1):
        found.append(f"step {number} of {len(plan)}: {steps.title(step)}")
        found += [f"  {line}" for line in _details(step, config)]
    return found


def _details(step: Step, config: Config) -> Iterator[str]:
    if isinstance(step, Parallel):
        for effect in step.effects:
            yield from _details(effect, config)
    elif isinstance(step, Effect):
        back = f"taken back by {_call(step.undo)}" if step.undo is not None else "not taken back"
        yield f"{_call(step.call)} on {_node(step.node, config)}; {back}"
    elif isinstance(step, Ask | Wait):
        yield f"{step.call.call_name} on {_node(step.node, config)}; changes nothing"
    elif isinstance(step, Commit):
        if step.is_final:
            yield "decided from here on: nothing is taken back"
        for recovery in step.recoveries:
            yield _recovery(recovery, config)
        for debt in step.debts:
            when = f"when {_node(debt.node, config)} is back" if debt.until_good is None else _node(debt.node, config)
            yield f"{when}: {owing.told(config, debt)}"


def _recovery(recovery: Resolve | Undo, config: Config) -> str:
    if isinstance(recovery, Undo):
        return f"if it is interrupted, {_node(recovery.node, config)} undoes: {recovery.title}"
    return f"if it is interrupted, {recovery.procedure} decides about the {recovery.title}"


def _call(call: ChangingCall[Any]) -> str:  # Any: the reply does not matter
    return call.call_name


def _node(uuid: Uuid, config: Config) -> str:
    return config.nodes[uuid].name
