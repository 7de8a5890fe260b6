"""gnt-node: the commands that are not one operation."""

from __future__ import annotations

from typing import Any

from ganeti.cli import blocks, common, lists
from ganeti.cli.blocks import Block
from ganeti.ops.node import OpNodeSetParams
from ganeti.ops.verbs import Argument, Call, Session, verb
from ganeti.query.filter import filter_of_arguments

_LISTING = lists.Listing(
    resource="node",
    default_fields=("name", "dtotal", "dfree", "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt"),
)


@verb(
    "gnt-node",
    "list",
    arguments=(Argument(name="node", least=0, most=None, completes="node"),),
    options=(*lists.OPTIONS, common.UNITS, common.FILTER),
    exit_codes=(lists.UNKNOWN_FIELD_CODE,),
)
def list_nodes(session: Session, call: Call) -> int:
    """List nodes. Arguments are names, patterns with * and ?, or one query filter.

    The environment variable GNT_NODE_LIST holds words that go before the arguments.
    """
    return lists.show(session, call, _LISTING)


lists.fields_verb("gnt-node", "node")

_INFO = {
    "name": "Node name",
    "pip": "primary ip",
    "sip": "secondary ip",
    "master_candidate": "master candidate",
    "drained": "drained",
    "offline": "offline",
    "powered": "powered",
    "master_capable": "master_capable",
    "vm_capable": "vm_capable",
    "group": "node group",
    "pinst_list": "primary for instances",
    "sinst_list": "secondary for instances",
    "custom_ndparams": "",
    "ndparams": "node parameters",
}


@verb(
    "gnt-node",
    "info",
    arguments=(Argument(name="node", least=0, most=None, completes="node"),),
    aliases=("show",),
)
def info(session: Session, call: Call) -> int:
    """Show what is recorded about nodes. Without names: about all."""
    wanted = filter_of_arguments(call.arguments)
    answer = session.call("Query", "node", list(_INFO), wanted)
    if answer["data"]:
        session.out(blocks.render([_block(row) for row in answer["data"]]).removesuffix("\n"))
    return 0


def _block(row: list[list[Any]]) -> Block:  # Any: JSON of [status, value] pairs
    values = {name: value for name, (status, value) in zip(_INFO, row, strict=True) if status == 0}
    own = values.pop("custom_ndparams", None) or {}
    if "ndparams" in values:
        values["ndparams"] = blocks.parameters(own, values["ndparams"])
    return Block(tuple((_INFO[name], values[name]) for name in _INFO if name in values))


@verb("gnt-node", "modify", operation=OpNodeSetParams)
def modify(session: Session, call: Call) -> int:
    """Change a node's role, abilities, secondary address, parameters and recorded states.

    A node is at most one of master candidate, drained and offline; setting one of them clears the others. The
    master's roles are changed by gnt-cluster master-failover only.
    """
    from ganeti.cli import submission

    question = ""
    if call.form.get("offline") is False:
        question = (
            f"Node {call.arguments[0]} will be contacted again. What was moved away from it while it was offline may"
            " still run there. Is it sure that it does not?"
        )
    return submission.run(session, call, OpNodeSetParams.declaration, second_question=question)
