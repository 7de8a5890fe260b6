"""All commands of a tool, hand-written and derived; only what a run needs is imported."""

from __future__ import annotations

import functools
import importlib

import msgspec

from ganeti.ops.base import Declaration
from ganeti.ops.verbs import VERBS, Call, Session, Verb

#: tool → (modules searched first, modules searched after the derived commands)
TOOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gnt-cluster": (
        (
            "ganeti.cli.cluster",
            "ganeti.cli.upkeep",
            "ganeti.cli.remote",
            "ganeti.cli.epo",
            "ganeti.cli.watcher",
            "ganeti.cli.tags",
        ),
        ("ganeti.bootstrap.commands",),
    ),
    "gnt-node": (
        ("ganeti.cli.node", "ganeti.cli.evacuate", "ganeti.cli.node_storage", "ganeti.cli.power", "ganeti.cli.tags"),
        ("ganeti.bootstrap.commands",),
    ),
    "gnt-instance": (
        (
            "ganeti.cli.instance",
            "ganeti.cli.moves",
            "ganeti.cli.disks",
            "ganeti.cli.detached_disks",
            "ganeti.cli.batch_create",
            "ganeti.cli.tags",
        ),
        (),
    ),
    "gnt-group": (("ganeti.cli.group", "ganeti.cli.tags"), ()),
    "gnt-storage": (("ganeti.cli.storage",), ()),
    "gnt-network": (("ganeti.cli.network", "ganeti.cli.tags"), ()),
    "gnt-backup": (("ganeti.cli.backup",), ()),
    "gnt-os": (("ganeti.cli.os", "ganeti.cli.os_modify"), ()),
    "gnt-job": (("ganeti.cli.job",), ()),
    "gnt-filter": (("ganeti.cli.job_filter",), ()),
    "gnt-debug": (("ganeti.cli.debug", "ganeti.cli.queue_test", "ganeti.cli.iallocator"), ()),
}


def find(tool: str, name: str) -> Verb | None:
    """The command of that name or alias."""
    first, last = TOOLS[tool]
    return _pick(_written(tool, first), name) or _pick(_derived(tool), name) or _pick(_written(tool, last), name)


def every(tool: str) -> list[Verb]:
    """All commands, by name."""
    first, last = TOOLS[tool]
    found = _written(tool, first) + _derived(tool) + _written(tool, last)
    return sorted({verb.name: verb for verb in found}.values(), key=lambda verb: verb.name)


def _pick(verbs: list[Verb], name: str) -> Verb | None:
    return next((verb for verb in verbs if name == verb.name or name in verb.aliases), None)


def _written(tool: str, modules: tuple[str, ...]) -> list[Verb]:
    if not modules:
        return []
    for module in modules:
        importlib.import_module(module)
    mine = [verb for (of_tool, _), verb in VERBS.items() if of_tool == tool]
    return [_complete(verb) if verb.operation else verb for verb in mine]


def _complete(verb: Verb) -> Verb:
    """With the arguments and options of its operation's declaration."""
    from ganeti.cli import common, derive

    operation = verb.operation
    assert operation is not None
    assert operation.cli is not None, verb.name
    own = {flag for option in verb.options for flag in option.flags}
    derived = derive.options_of(operation.opcode) + common.of(operation.cli)
    return msgspec.structs.replace(
        verb,
        arguments=verb.arguments or derive.arguments_of(operation),
        options=tuple(option for option in derived if not own & set(option.flags) and option.dest not in verb.without)
        + verb.options,
        aliases=verb.aliases or operation.cli.aliases,
    )


def _derived(tool: str) -> list[Verb]:
    from ganeti.cli import common, derive
    from ganeti.ops import catalogue

    found = []
    for declaration in catalogue.REGISTRY.values():
        cli = declaration.cli
        if cli is not None and cli.tool == tool and not cli.custom:
            found.append(derive.verb_of(declaration, functools.partial(_submit, declaration), common.of(cli)))
    return found


def _submit(declaration: Declaration, session: Session, call: Call) -> int:
    from ganeti.cli import submission

    return submission.run(session, call, declaration)
