"""gnt-group: the commands that are not one operation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ganeti.cli import blocks, common, lists
from ganeti.cli.blocks import Block
from ganeti.ops.group import OpGroupAssignNodes
from ganeti.ops.verbs import Argument, Call, Session, flag, verb
from ganeti.query.filter import filter_of_arguments


def _parameters(value: Any) -> str:  # Any: JSON
    return ", ".join(f"{key}={value[key]}" for key in sorted(value)) or "(empty)"


_LISTING = lists.Listing(
    resource="group",
    default_fields=("name", "node_cnt", "pinst_cnt", "alloc_policy", "ndparams"),
    formats={"ndparams": _parameters, "custom_ndparams": _parameters},
)
_GROUPS = Argument(name="group", least=0, most=None, completes="group")


@verb(
    "gnt-group",
    "list",
    arguments=(_GROUPS,),
    options=(*lists.OPTIONS, common.FILTER),
    exit_codes=(lists.UNKNOWN_FIELD_CODE,),
)
def list_groups(session: Session, call: Call) -> int:
    """List node groups. Arguments are names, patterns with * and ?, or one query filter.

    The environment variable GNT_GROUP_LIST holds words that go before the arguments.
    """
    return lists.show(session, call, _LISTING)


lists.fields_verb("gnt-group", "group")

_INFO = (
    "name", "alloc_policy", "node_list", "custom_ndparams", "ndparams", "custom_diskparams", "diskparams",
    "custom_ipolicy", "ipolicy",
)  # fmt: skip


def _ask(session: Session, call: Call) -> list[dict[str, Any]]:
    """The facts about the groups that are named, or all."""
    answer = session.call("Query", "group", list(_INFO), filter_of_arguments(call.arguments))
    return [
        {name: value for name, (status, value) in zip(_INFO, row, strict=True) if status == 0} for row in answer["data"]
    ]


@verb("gnt-group", "info", arguments=(_GROUPS,), aliases=("show",))
def info(session: Session, call: Call) -> int:
    """Show the settings of node groups. Without names: of all."""
    found = _ask(session, call)
    if found:
        session.out(blocks.render([_block(facts) for facts in found]).removesuffix("\n"))
    return 0


def _block(facts: Mapping[str, Any]) -> Block:
    own_disks = facts["custom_diskparams"]
    return Block(
        (
            ("Node group", facts["name"]),
            ("Allocation policy", facts["alloc_policy"]),
            ("Nodes", ", ".join(facts["node_list"])),
            ("Node parameters", blocks.parameters(facts["custom_ndparams"], facts["ndparams"])),
            (
                "Disk parameters",
                {
                    name: blocks.parameters(own_disks.get(name, {}), values)
                    for name, values in facts["diskparams"].items()
                },
            ),
            ("Instance policy", policy_block(facts["custom_ipolicy"], facts["ipolicy"])),
        )
    )


def policy_block(own: Mapping[str, Any], complete: Mapping[str, Any]) -> Block:
    """The parts of an instance policy; those that are inherited say so."""

    def shown(key: str, text: str) -> str:
        return text if key in own else f"default ({text})"

    bounds = [
        Block(tuple((f"{side}/{number}", dict(pair[side])) for side in ("min", "max")))
        for number, pair in enumerate(complete.get("minmax", ()))
    ]
    templates = ", ".join(complete.get("disk-templates", ()))
    return Block(
        (
            ("bounds specs", bounds),
            ("allowed disk templates", shown("disk-templates", templates)),
            *((key, shown(key, str(complete.get(key)))) for key in ("vcpu-ratio", "spindle-ratio")),
        )
    )


@verb(
    "gnt-group",
    "assign-nodes",
    arguments=(Argument(name="group", completes="group"), Argument(name="node", most=None, completes="node")),
    operation=OpGroupAssignNodes,
)
def assign_nodes(session: Session, call: Call) -> int:
    """Put nodes into another node group.

    It is refused when the two nodes of a mirrored instance would be in different groups then, unless --force is given.
    """
    group, *nodes = call.arguments
    session.run(OpGroupAssignNodes(group_name=group, nodes=tuple(nodes), force=call.given("force")))
    return 0


@verb(
    "gnt-group",
    "show-ispecs-cmd",
    arguments=(_GROUPS,),
    options=(flag("include_defaults", "--include-defaults", help="inherited values too"),),
)
def show_ispecs_cmd(session: Session, call: Call) -> int:
    """Print the commands that would make groups with the same instance policy."""
    for facts in _ask(session, call):
        values = facts["ipolicy"] if call.given("include_defaults") else facts["custom_ipolicy"]
        words = ["gnt-group", "add", *policy_options(values), facts["name"]]
        session.out(shlex.join(words))
    return 0


def policy_options(values: Mapping[str, Any]) -> list[str]:
    """The options that say this policy."""
    words = []
    if values.get("minmax"):
        words += ["--ipolicy-bounds-specs", "//".join(_bounds(pair) for pair in values["minmax"])]
    if values.get("disk-templates"):
        words += ["--ipolicy-disk-templates", ",".join(values["disk-templates"])]
    for key in ("vcpu-ratio", "spindle-ratio"):
        if key in values:
            words += [f"--ipolicy-{key}", str(values[key])]
    return words


def _bounds(pair: Mapping[str, Mapping[str, int]]) -> str:
    return "/".join(f"{side}:{','.join(f'{k}={pair[side][k]}' for k in sorted(pair[side]))}" for side in ("min", "max"))
