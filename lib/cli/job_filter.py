"""gnt-filter: rules for the jobs that wait in the queue."""

from __future__ import annotations

from typing import Any

from ganeti import errors
from ganeti.cli import blocks, lists
from ganeti.cli.blocks import Block
from ganeti.cli.session import Session as OwnSession
from ganeti.ops.verbs import Argument, Call, Session, option, verb
from ganeti.query.filter import filter_of_arguments
from ganeti.wire import codec

_FIELDS = ("uuid", "watermark", "priority", "predicates", "action", "reason_trail")


def _json(value: Any) -> str:  # Any: JSON
    return codec.dumps(value)


def _action(value: Any) -> str:  # Any: JSON, a word or [word, number]
    return value if isinstance(value, str) else " ".join(str(part) for part in value)


_LISTING = lists.Listing(
    resource="filter",
    default_fields=_FIELDS,
    name_field="uuid",
    formats={"predicates": _json, "reason_trail": _json, "action": _action},
)
_UUIDS = (Argument(name="uuid", least=0, most=None),)
_RULE = (
    option("rule_priority", "--priority", help="lower ones are looked at first", kind="int", absent=0, metavar="N"),
    option(
        "predicates",
        "--predicates",
        help="what a job must fulfil, all of it: a JSON list of [NAME, FILTER]; NAME is jobid (field id, compared to a"
        " number or the word watermark), opcode (fields such as OP_ID, instance_name) or reason (fields source,"
        " reason, timestamp)",
        absent="[]",
        metavar="JSON",
    ),
    option(
        "action",
        "--action",
        help="ACCEPT, PAUSE (it stays in the queue), REJECT, CONTINUE (look at the next filter), or 'RATE_LIMIT N' (at"
        " most N of them run at once)",
        absent="CONTINUE",
        metavar="ACTION",
    ),
)


def _set(session: Session, call: Call, uuid: str | None) -> int:
    assert isinstance(session, OwnSession), session
    try:
        predicates = codec.loads(call.options["predicates"])
    except codec.CodecError as err:
        raise errors.PrereqError("wrong_input", f"--predicates: {err}") from err
    word, *rest = call.options["action"].split() or [""]
    action: Any = [word.upper(), *(int(part) if part.isdecimal() else part for part in rest)] if rest else word.upper()
    trail = session.stamp({})["reason"]
    session.out(session.call("ReplaceFilter", uuid, call.options["rule_priority"], predicates, action, trail))
    return 0


@verb("gnt-filter", "add", options=_RULE)
def add(session: Session, call: Call) -> int:
    """Add a job filter and print its uuid. It holds for jobs that are queued already, too."""
    return _set(session, call, None)


@verb("gnt-filter", "replace", arguments=(Argument(name="uuid"),), options=_RULE)
def replace(session: Session, call: Call) -> int:
    """Put a job filter in the place of the one with that uuid, or add it with that uuid. Its watermark is renewed."""
    return _set(session, call, call.arguments[0])


@verb("gnt-filter", "delete", arguments=(Argument(name="uuid"),))
def delete(session: Session, call: Call) -> int:
    """Remove a job filter. Jobs that it held back start."""
    session.call("DeleteFilter", call.arguments[0])
    return 0


@verb("gnt-filter", "list", arguments=_UUIDS, options=lists.OPTIONS, exit_codes=(lists.UNKNOWN_FIELD_CODE,))
def list_filters(session: Session, call: Call) -> int:
    """List job filters in the order in which they are looked at. Arguments are uuids or one query filter."""
    return lists.show(session, call, _LISTING)


lists.fields_verb("gnt-filter", "filter")


@verb("gnt-filter", "info", arguments=_UUIDS, aliases=("show",))
def info(session: Session, call: Call) -> int:
    """Show everything about job filters. Without uuids: about all."""
    answer = session.call("Query", "filter", list(_FIELDS), filter_of_arguments(call.arguments, name_field="uuid"))
    found = [dict(zip(_FIELDS, (value for _, value in row), strict=True)) for row in answer["data"]]
    if found:
        session.out(blocks.render([_block(rule) for rule in found]).removesuffix("\n"))
    return 0


def _block(rule: dict[str, Any]) -> Block:
    return Block(
        (
            ("UUID", rule["uuid"]),
            ("Watermark", rule["watermark"]),
            ("Priority", rule["priority"]),
            ("Predicates", [_json(predicate) for predicate in rule["predicates"]]),
            ("Action", _action(rule["action"])),
            ("Reason trail", [_json(entry) for entry in rule["reason_trail"]]),
        )
    )
