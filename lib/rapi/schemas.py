"""JSON Schemas of requests and answers, made from the same types that check them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec
from msgspec import inspect

from ganeti.ops.base import COMMON_FIELDS, OpCode

Schema = dict[str, Any]  # Any: JSON Schema

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "integer", "enum": [0, 1]}
NULL: Schema = {"type": "null"}
JOB_ID: Schema = {"type": "integer", "minimum": 1, "description": "number of the job"}
TEXTS: Schema = {"type": "array", "items": TEXT}
ERROR: Schema = {
    "type": "object",
    "required": ["code", "message", "explain"],
    "properties": {"code": {"type": "integer"}, "message": TEXT, "explain": TEXT},
    "additionalProperties": False,
}
#: how arguments of the query look, by how they are read
QUERY: dict[str, Schema] = {
    "flag": FLAG,
    "integer": {"type": "integer"},
    "text": TEXT,
    "words": TEXT,
}
_COMMON_KEYS = ("depends", "priority", "comment", "dry_run")


def links(key: str) -> Schema:
    """A list of `{key, "uri"}`, and with bulk=1 of objects."""
    value = {"type": "integer"} if key == "jobs" else TEXT
    name = "id" if key == "jobs" else key
    return {
        "type": "array",
        "items": {"type": "object", "required": [name], "properties": {name: value, "uri": TEXT}},
    }


def record(fields: Iterable[str]) -> Schema:
    """An object with these keys."""
    names = list(fields)
    return {"type": "object", "required": names, "properties": {name: {} for name in names}}


def body(opcode: type[OpCode], *, without: Collection[str], renames: tuple[tuple[str, str], ...] = ()) -> Schema:
    """What may be in the body of a request for the operation. Null stands for: not given."""
    (full,), components = msgspec.json.schema_components([opcode], ref_template="#/$defs/{name}")
    found = components.get(opcode.__name__, full)
    properties: Schema = {}
    for name, schema in found["properties"].items():
        if name in without or name == "OP_ID" or (name in COMMON_FIELDS and name not in _COMMON_KEYS):
            continue
        properties[name] = _inlined(schema, components)
    required = [name for name in found.get("required", ()) if name in properties]
    for name, schema in properties.items():
        if name not in required:
            properties[name] = _nullable(schema)
    for old, new in renames:
        if new in properties:
            properties[old] = {**properties[new], "deprecated": True}
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    older = {new: old for old, new in renames}
    kept = [name for name in required if name not in older]
    if kept:
        made["required"] = kept
    either = [{"anyOf": [{"required": [name]}, {"required": [older[name]]}]} for name in required if name in older]
    if either:
        made["allOf"] = either
    return made


def _nullable(schema: Schema) -> Schema:
    options = schema.get("anyOf", ())
    if schema.get("type") == "null" or {"type": "null"} in options:
        return schema
    return {"anyOf": [schema, NULL]}


def _inlined(schema: Any, components: dict[str, Schema]) -> Any:
    """Without references."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inlined(components[schema["$ref"].rpartition("/")[2]], components)
        return {key: _inlined(value, components) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(value, components) for value in schema]
    return schema


def description(kind: inspect.Type) -> str:
    """What the declaration says of a field."""
    if isinstance(kind, inspect.Metadata):
        own = (kind.extra_json_schema or {}).get("description", "")
        return str(own) or description(kind.type)
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, (description(one) for one in kind.types)), "")
    return ""
