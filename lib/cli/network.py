"""gnt-network: the commands that are not one operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti import errors
from ganeti.cli import blocks, common, follow, lists
from ganeti.cli.blocks import Block
from ganeti.cli.session import Session
from ganeti.ops.base import Parse
from ganeti.ops.verbs import Argument, Call, flag, option, verb
from ganeti.ops.verbs import Session as AnySession
from ganeti.query.filter import filter_of_arguments

# Any: JSON of queries.

_MAP_WIDTH = 64


def _groups(value: Sequence[Sequence[str]]) -> str:
    return ", ".join(f"{name} ({', '.join(parts)})" for name, *parts in value)


_LISTING = lists.Listing(
    resource="network",
    default_fields=("name", "network", "gateway", "mac_prefix", "group_list", "tags"),
    formats={"group_list": _groups},
)
_NETWORKS = Argument(name="network", least=0, most=None, completes="network")


@verb(
    "gnt-network",
    "list",
    arguments=(_NETWORKS,),
    options=(*lists.OPTIONS, common.FILTER),
    exit_codes=(lists.UNKNOWN_FIELD_CODE,),
)
def list_networks(session: AnySession, call: Call) -> int:
    """List networks. Arguments are names, patterns with * and ?, or one query filter."""
    return lists.show(session, call, _LISTING)


lists.fields_verb("gnt-network", "network")

_INFO = (
    "name", "uuid", "serial_no", "network", "gateway", "network6", "gateway6", "mac_prefix", "free_count",
    "reserved_count", "map", "external_reservations", "group_list", "inst_list",
)  # fmt: skip


def _ask(session: AnySession, what: str, fields: Sequence[str], wanted: Any) -> list[dict[str, Any]]:
    answer = session.call("Query", what, list(fields), wanted)
    return [
        {name: value for name, (status, value) in zip(fields, row, strict=True) if status == 0}
        for row in answer["data"]
    ]


@verb("gnt-network", "info", arguments=(_NETWORKS,), aliases=("show",))
def info(session: AnySession, call: Call) -> int:
    """Show networks: their addresses, how node groups attach them, who uses them. Without names: all."""
    found = _ask(session, "network", _INFO, filter_of_arguments(call.arguments))
    users = {name for facts in found for name in facts.get("inst_list", ())}
    nics: dict[str, dict[str, Any]] = {}
    if users:
        wanted = ["|", *(["=", "name", name] for name in sorted(users))]
        rows = _ask(session, "instance", ("name", "nic.networks", "nic.ips"), wanted)
        nics = {row["name"]: row for row in rows}
    if found:
        session.out(blocks.render([_block(facts, nics) for facts in found]).removesuffix("\n"))
    return 0


def _block(facts: Mapping[str, Any], nics: Mapping[str, Mapping[str, Any]]) -> Block:
    size = facts["free_count"] + facts["reserved_count"]
    cells = facts["map"]
    lines = [
        (f"{start:>5} {min(start + _MAP_WIDTH, size) - 1:>5}", cells[start : start + _MAP_WIDTH])
        for start in range(0, size, _MAP_WIDTH)
    ]
    return Block(
        (
            ("Network name", facts["name"]),
            ("UUID", facts["uuid"]),
            ("Serial number", facts["serial_no"]),
            ("Subnet", facts["network"]),
            ("Gateway", facts.get("gateway")),
            ("IPv6 Subnet", facts.get("network6")),
            ("IPv6 Gateway", facts.get("gateway6")),
            ("Mac Prefix", facts.get("mac_prefix")),
            ("Size", size),
            ("Free", f"{facts['free_count']} ({100 * facts['free_count'] / size:.2f}%)"),
            ("Usage map", Block(tuple(lines))),
            ("externally reserved IPs", facts["external_reservations"]),
            (
                "connected to node groups",
                Block(tuple((name, ", ".join(parts)) for name, *parts in facts["group_list"])),
            ),
            (
                "used by instances",
                Block(tuple((name, _uses(facts["uuid"], nics.get(name))) for name in facts["inst_list"])),
            ),
        )
    )


def _uses(network: str, row: Mapping[str, Any] | None) -> str:
    """`INDEX:IP` of the NICs on the network."""
    if row is None:
        return ""
    pairs = enumerate(zip(row["nic.networks"], row["nic.ips"], strict=True))
    return ", ".join(f"{index}:{ip or '-'}" for index, (of, ip) in pairs if of == network)


_TARGETS = (Argument(name="network", completes="network"), Argument(name="group", least=0, most=None,
                                                                    completes="group"))  # fmt: skip
_SUBMISSION = (common.SUBMIT, common.PRINT_JOBID, common.PRIORITY)


def _for_each_group(session: AnySession, call: Call, form: dict[str, Any]) -> int:
    """One job for each of the groups, or for all."""
    import ganeti.ops.network  # noqa: F401 - declares the operations
    from ganeti.cli import submission

    assert isinstance(session, Session), session
    network, *groups = call.arguments
    if not groups:
        groups = [facts["name"] for facts in _ask(session, "group", ("name",), None)]
    forms = [(name, submission.checked({**form, "network_name": network, "group_name": name})) for name in groups]
    jobs = session.submit_many([(name, [session.stamp(each)]) for name, each in forms])
    if call.given("submit"):
        return submission.tell_submitted(session, jobs)
    outcomes = follow.wait_all(session, jobs)
    return 1 if any(outcome.error for outcome in outcomes) else 0


@verb(
    "gnt-network",
    "connect",
    arguments=_TARGETS,
    options=(
        option("nicparams", "-N", "--nic-parameters", help="mode, link and vlan of NICs on it there; what is missing "
               "is the cluster's", parse=Parse.KEYVAL, metavar="KEY=VALUE,..."),
        flag("no_conflicts_check", "--no-conflicts-check", help="do not look for instances with such addresses"),
        *_SUBMISSION,
    ),
)  # fmt: skip
def connect(session: AnySession, call: Call) -> int:
    """Say how NICs on a network are attached in node groups. Without groups: in all.

    It is refused when an instance there has an address of the network without being on it.
    """
    values = call.options.get("nicparams") or {}
    unknown = sorted(set(values) - {"mode", "link", "vlan"})
    if unknown:
        raise errors.PrereqError("wrong_input", f"unknown NIC parameter {unknown[0]!r}", hint="use mode, link, vlan")
    usual = session.call("QueryClusterInfo")["nicparams"]["default"]
    merged = {**{key: usual[key] for key in ("mode", "link")}, **values}
    form = {"OP_ID": "OP_NETWORK_CONNECT", **{f"network_{key}": value for key, value in merged.items()}}
    if call.given("no_conflicts_check"):
        form["conflicts_check"] = False
    return _for_each_group(session, call, form)


@verb("gnt-network", "disconnect", arguments=_TARGETS, options=_SUBMISSION)
def disconnect(session: AnySession, call: Call) -> int:
    """End the connection of a network to node groups. Without groups: to all. No instance there may use it."""
    return _for_each_group(session, call, {"OP_ID": "OP_NETWORK_DISCONNECT"})
