"""gnt-node: the commands that are not one operation."""

from __future__ import annotations

from typing import Any

from ganeti.cli import blocks, common, lists, tables
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


@verb(
    "gnt-node",
    "list-drbd",
    arguments=(Argument(name="node", completes="node"),),
    options=(common.NO_HEADERS, common.SEPARATOR),
)
def list_drbd(session: Session, call: Call) -> int:
    """List the DRBD minors of a node: whose disk each is, which role the node has, and what the other node is."""
    from ganeti import errors
    from ganeti.ops.instance import OpInstanceQueryData

    fields = ["name", "uuid", "pinst_list", "sinst_list"]
    found = session.call("Query", "node", fields, ["=", "name", call.arguments[0]])["data"]
    if not found:
        raise errors.PrereqError("unknown_entity", f"node {call.arguments[0]!r} is not known")
    name, node, primary, secondary = (value for _, value in found[0])
    names = tuple(sorted({*primary, *secondary}))
    details = session.run(OpInstanceQueryData(instances=names, static=True)) if names else {}
    rows = sorted(
        _drbd(facts, index, disk, node)
        for facts in details.values()
        for index, disk in enumerate(facts["disks"])
        if disk["dev_type"] == "drbd"
    )
    titles = ("Node", "Minor", "Instance", "Disk", "Role", "PeerNode")
    columns = [tables.Column(title, is_right=title == "Minor") for title in titles]
    lists.write_table(session, call, columns, [(name, str(minor), *others) for minor, *others in rows])
    return 0


def _drbd(facts: dict[str, Any], index: int, disk: dict[str, Any], node: str) -> tuple[int, str, str, str, str]:
    """(minor, instance, disk, role, other node) on the node with that uuid. Any: JSON of OP_INSTANCE_QUERY_DATA."""
    first, _, _, *minors = disk["logical_id"]
    is_first = first == node
    # the id names the nodes in the order in which the mirror was made
    is_primary = facts["pnode_uuid"] == node
    role, peer = ("primary", facts["snodes"][0]) if is_primary else ("secondary", facts["pnode"])
    return int(minors[0 if is_first else 1]), facts["name"], f"disk/{index}", role, peer
