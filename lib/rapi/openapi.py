"""The OpenAPI 3.1 document of the REST interface, made from the table of resources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ganeti import settings
from ganeti.rapi import schemas
from ganeti.rapi.ask import Answer, Ask, answer
from ganeti.rapi.auth import REALM
from ganeti.rapi.routes import NUMBERS, Argument, Route

Schema = dict[str, Any]  # Any: JSON Schema

PATH = "/2/openapi.json"
_WORD: Schema = {"type": "string", "pattern": r"^[A-Za-z0-9_.-]{1,255}$"}
_NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999}
#: statuses that every resource may have: of the request itself, of its user, of the master
_ALWAYS = (400, 401, 403, 408, 413, 415, 429, 500, 502, 503, 504)
_TEXTS = {
    400: "The request has the wrong form, or asks for what cannot be done",
    401: "No user or a wrong password",
    403: "The user has not the right to do this",
    404: "There is no such object",
    408: "The request did not come to its end in time",
    412: "The object is not any more what If-Match says",
    413: "The body is too large",
    415: "The body is not application/json",
    429: "Too many wrong passwords from this address",
    500: "The daemon or the master failed",
    502: "The master daemon does not answer",
    503: "The job queue takes no jobs, or the object is in no state for this",
    504: "The master daemon took too long",
}


def route(routes: Iterable[Route]) -> Route:
    """The resource that shows the document of all the others; made when it is asked for the first time."""
    made: list[Answer] = []

    async def run(ask: Ask) -> Answer:
        if not made:
            made.append(answer(document(routes)))
        return made[0]

    return Route(
        method="GET",
        path=PATH,
        name="openapi",
        summary="This document.",
        run=run,
        result={"type": "object", "required": ["openapi", "paths"]},
    )


def document(routes: Iterable[Route]) -> Schema:
    paths: dict[str, Schema] = {}
    for one in routes:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": REALM,
            "version": settings.VERSION,
            "description": "Operations are jobs: a change answers with the number of its job.",
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": schemas.ERROR},
            "securitySchemes": {"password": {"type": "http", "scheme": "basic"}},
            "responses": {
                f"E{status}": {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for status, text in _TEXTS.items()
            },
        },
    }


def _operation(one: Route) -> Schema:
    found: Schema = {
        "operationId": one.name,
        "summary": one.summary.split(". ")[0].rstrip("."),
        "description": one.summary,
        "tags": [_group(one.path)],
        "parameters": list(_parameters(one)),
        "security": [{"password": []}] if one.rights else [{}, {"password": []}],
        "responses": _responses(one),
    }
    if one.rights:
        found["x-rights"] = list(one.rights)
    if one.body is not None:
        found["requestBody"] = {
            "content": {"application/json": {"schema": one.body}},
            "required": one.needs_body or "allOf" in one.body,
        }
    return found


def _group(path: str) -> str:
    words = [word for word in path.split("/") if word and word != "2"]
    return words[0] if words else "cluster"


def _parameters(one: Route) -> Iterable[Schema]:
    for word in one.words:
        yield {"name": word, "in": "path", "required": True, "schema": _NUMBER if word in NUMBERS else _WORD}
    for argument in one.query:
        yield _query(argument)
    if one.has_tag:
        yield _header("If-None-Match", "an ETag: 304 when it is still the same")
    if one.is_job:
        if one.takes_expected:
            yield _header("If-Match", "an ETag: the operation fails if the object has changed since", r'^"?\d{1,18}"?$')
        yield _header("Idempotency-Key", "a repeat with the same key gets the same job", r"^[ -~]{1,100}$")
        yield _header("Prefer", "wait=SECONDS: the answer comes when the job has ended", r"^wait=\d{1,2}$")


def _query(argument: Argument) -> Schema:
    found: Schema = {"name": argument.name, "in": "query", "schema": argument.schema}
    if argument.is_required:
        found["required"] = True
    if argument.help:
        found["description"] = argument.help
    return found


def _header(name: str, text: str, pattern: str = "") -> Schema:
    schema: Schema = {"type": "string", "pattern": pattern} if pattern else {"type": "string"}
    return {"name": name, "in": "header", "description": text, "schema": schema}


def _responses(one: Route) -> Schema:
    good: Schema = {"description": "Done", "content": {one.content_type: {"schema": one.result}}}
    if one.has_tag:
        good["headers"] = {"ETag": {"schema": {"type": "string"}}}
    found: Schema = {"200": good}
    if one.has_tag:
        found["304"] = {"description": "It is still the same"}
    more = (*_ALWAYS, *((404,) if one.may_miss else ()), *((412,) if one.is_job else ()))
    return found | {str(status): {"$ref": f"#/components/responses/E{status}"} for status in sorted(more)}
