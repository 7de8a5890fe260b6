"""Resources that derive from operations: whatever declares a `Rest` has its route here, none is written by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import inspect

from ganeti.ops.base import COMMON_FIELDS, Declaration, OpCode, Rest
from ganeti.rapi import schemas, submit
from ganeti.rapi.ask import Answer, Ask, Query
from ganeti.rapi.failures import HttpFailure, bad_request
from ganeti.rapi.routes import Argument, Route, Run, default_rights

#: the body of OP_INSTANCE_CREATE says in which form it is; the only one there is
VERSION_KEY = "__version__"
CREATE = "OP_INSTANCE_CREATE"
MULTI_ALLOC = "OP_INSTANCE_MULTI_ALLOC"
#: query arguments of every operation, and the fields they set
_COMMON_FLAGS = {"dry-run": "dry_run"}
#: lists that older clients give as one text with commas
_WORDS_IN_TEXT = frozenset({"disks"})


def routes(declarations: dict[str, Declaration]) -> Iterator[Route]:
    for declaration in declarations.values():
        if declaration.rest is not None:
            yield _route(declaration, declaration.rest, declarations)


def _route(declaration: Declaration, rest: Rest, declarations: dict[str, Declaration]) -> Route:
    opcode = declaration.opcode
    body = None if rest.ignores_body else schemas.body(opcode, without=_set_elsewhere(rest), renames=rest.renames)
    if body is not None and declaration.opcode.__struct_config__.tag == CREATE:
        body["properties"][VERSION_KEY] = {"const": 1}
        body["required"] = [VERSION_KEY, *body.get("required", ())]
    return Route(
        method=rest.method,
        path=rest.path,
        name=str(opcode.__struct_config__.tag).removeprefix("OP_").lower(),
        summary=" ".join((opcode.__doc__ or "").split()),
        run=_runner(declaration, rest, declarations),
        rights=default_rights(rest.method) if rest.rights is None else rest.rights,
        query=tuple(_arguments(opcode, rest)),
        body=body,
        needs_body=bool(body and body.get("required")),
        result=schemas.JOB_ID,
        is_job=True,
        may_miss="{" in rest.path,
    )


def _words(path: str) -> set[str]:
    return {part.partition("}")[0] for part in path.split("{")[1:]}


def _set_elsewhere(rest: Rest) -> set[str]:
    return _words(rest.path) | {name for name, _ in rest.fixed} | set(rest.forbidden)


def _arguments(opcode: type[OpCode], rest: Rest) -> Iterator[Argument]:
    """Simple fields may come in the query too."""
    older = {new: old for old, new in rest.renames}
    taken = _set_elsewhere(rest) | COMMON_FIELDS
    for field in _fields(opcode):
        kind = _kind(field.type)
        if field.name not in taken and kind is not None:
            name = older.get(field.name, field.name)
            yield Argument(name=name, schema=schemas.QUERY[kind], help=schemas.description(field.type))
    yield Argument(name="dry-run", schema=schemas.FLAG, help="only say what would be done")
    yield Argument(name="reason", schema=schemas.TEXT, help="goes to the job's reason trail")


def _fields(opcode: type[OpCode]) -> tuple[inspect.Field, ...]:
    found = inspect.type_info(opcode)
    assert isinstance(found, inspect.StructType)
    return found.fields


def _kind(kind: inspect.Type) -> str | None:
    """How a query argument is read: flag, integer, text or words; None: only a body can hold it."""
    if isinstance(kind, inspect.Metadata):
        return _kind(kind.type)
    if isinstance(kind, inspect.UnionType):
        found = {_kind(one) for one in kind.types if not isinstance(one, inspect.NoneType)}
        return "text" if found == {"text", "integer"} else found.pop() if len(found) == 1 else None
    simple: dict[type, str] = {
        inspect.BoolType: "flag",
        inspect.IntType: "integer",
        inspect.StrType: "text",
        inspect.LiteralType: "text",
        inspect.EnumType: "text",
    }
    if isinstance(kind, inspect.VarTupleType) and _kind(kind.item_type) == "text":
        return "words"
    return simple.get(type(kind))


def _runner(declaration: Declaration, rest: Rest, declarations: dict[str, Declaration]) -> Run:
    kinds = {field.name: _kind(field.type) for field in _fields(declaration.opcode)}
    op_id = str(declaration.opcode.__struct_config__.tag)

    async def run(ask: Ask) -> Answer:
        body = {} if rest.ignores_body else dict(ask.object_body())
        if op_id == CREATE:
            check_version(body)
        if op_id == MULTI_ALLOC:
            body = with_new_names(body, declarations)
        return await submit.job(ask, [form(op_id, rest, kinds, ask, body)])

    return run


def form(op_id: str, rest: Rest, kinds: dict[str, str | None], ask: Ask, body: dict[str, Any]) -> dict[str, Any]:
    """The wire form of the operation that a request asks for. Raises HttpFailure(400)."""
    static: dict[str, Any] = {"OP_ID": op_id, **dict(rest.fixed)}
    for word, value in ask.path.items():
        static[word] = _of_path(value, kinds.get(word), word)
    asked = renamed(body, rest.renames)
    del body
    refused = sorted(asked.keys() & set(rest.forbidden)) or sorted(set(ask.query.names()) & set(rest.forbidden))
    if refused:
        raise HttpFailure(403, f"Parameters that cannot be set here: {', '.join(refused)}")
    for name, kind in kinds.items():
        if kind == "words" and isinstance(asked.get(name), str) and name in _WORDS_IN_TEXT:
            asked[name] = asked[name].split(",")
    both = sorted(static.keys() & asked.keys())
    if both:
        raise bad_request(f"Can't overwrite static parameters: {', '.join(both)}")
    for name, value in _from_query(ask.query, rest, kinds, set(static)).items():
        if asked.get(name) not in (None, value):
            raise bad_request(f"{name} is given in the query and, differently, in the body")
        asked[name] = value
    return {**asked, **static}


def _of_path(text: str, kind: str | None, word: str) -> Any:  # Any: JSON
    if kind == "words":
        return [text]
    return int(text) if word == "disk" else text


def renamed(body: dict[str, Any], renames: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    """With today's names. Raises HttpFailure(400) when the old and the new name of something are there."""
    found = dict(body)
    for old, new in renames:
        if old in found:
            if new in found:
                raise bad_request(f"Parameter {old!r} was renamed to {new!r}; give only one of them")
            found[new] = found.pop(old)
    return found


def _from_query(
    query: Query, rest: Rest, kinds: dict[str, str | None], static: set[str]
) -> dict[str, Any]:  # Any: JSON
    older = dict(rest.renames)
    found: dict[str, Any] = {}
    for argument in query.names():
        name = _COMMON_FLAGS.get(argument) or older.get(argument, argument.replace("-", "_"))
        kind = kinds.get(name)
        if kind is None or name in static or (name in COMMON_FIELDS and name != "dry_run"):
            continue
        if kind == "flag":
            found[name] = query.flag(argument)
        elif kind == "integer":
            found[name] = query.integer(argument)
        elif kind == "words":
            found[name] = query.words(argument)
        else:
            found[name] = query.text(argument)
    return found


def check_version(body: dict[str, Any]) -> None:
    """Takes the version key out. Raises HttpFailure(400)."""
    version = body.pop(VERSION_KEY, 0)
    if version == 0 or isinstance(version, bool):
        raise bad_request(f"Instance creation needs {VERSION_KEY} 1 in the body; version 0 is not supported")
    if version != 1:
        raise bad_request(f"Unsupported request data version {str(version)[:40]}")


def with_new_names(body: dict[str, Any], declarations: dict[str, Declaration]) -> dict[str, Any]:
    """Of a multi-allocation: each instance is a body of a creation."""
    rest, instances = declarations[CREATE].rest, body.get("instances")
    if rest is None or not isinstance(instances, list):
        return body
    return {**body, "instances": [renamed(one, rest.renames) if isinstance(one, dict) else one for one in instances]}
