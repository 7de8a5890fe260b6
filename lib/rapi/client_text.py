"""Writes `client.py`: in one file a typed method for each resource. Run as `python -m ganeti.rapi.client_text`."""

from __future__ import annotations

import keyword
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from ganeti.rapi import catalogue
from ganeti.rapi.derived import VERSION_KEY
from ganeti.rapi.routes import NUMBERS, Route

Schema = dict[str, Any]  # Any: JSON Schema

HEAD = '''\
"""Client of the REST interface in one file that needs nothing but Python: copy it where you like.

Made from the table of resources, not written by hand. A change answers with the number of its job:

    cluster = Client("cluster.example.com", user="anna", password="...", cafile="rapi.crt")
    job = cluster.instance_startup("web1.example.com", expected=cluster.tag)
    cluster.wait(job)
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
import urllib.parse
from typing import Any, Final, Literal, NoReturn

PORT: Final = 5080
_FINAL = ("success", "error", "canceled")
#: the server cannot reach the master daemon, or is too busy
_PASSING = (502, 503, 504)


class RestError(Exception):
    """An answer that is not 200: `status`, and the `message` of the server."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class JobError(Exception):
    """A job that did not end well; `job` is what the server tells of it. Any: JSON."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__(f"job {job['id']} ended in {job['status']}: {job['opresult']}")
        self.job = job


class Client:
    """One user of one cluster; each request is a connection of its own, so threads may share it. Any: JSON."""

    def __init__(
        self,
        host: str,
        *,
        port: int = PORT,
        user: str = "",
        password: str = "",
        cafile: str = "",
        verify: bool = True,
        timeout_s: float = 60.0,
    ) -> None:
        """`cafile`: the server's certificate, or that of who signed it. `verify` false: anybody may be the server."""
        self._host, self._port, self._timeout_s = host, port, timeout_s
        self._context = ssl.create_default_context(cafile=cafile or None)
        if not verify:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._headers = {"Accept": "application/json"}
        if user:
            token = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
            self._headers["Authorization"] = f"Basic {token}"
        #: between questions to a server that is away
        self.pause_s = 1.0
        #: ETag of the last answer that had one: `expected` of a change that shall depend on it
        self.tag = ""

    def call(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None = None,
        body: Any = None,
        *,
        has_body: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Any request. Raises RestError, OSError."""
        pairs = [
            (name, int(one) if isinstance(one, bool) else one)
            for name, value in (query or {}).items()
            if value is not None
            for one in (value if isinstance(value, list | tuple) else (value,))
        ]
        target = path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
        sent = {**self._headers, **(headers or {})}
        if has_body:
            sent["Content-Type"] = "application/json"
        connection = http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout_s, context=self._context
        )
        try:
            connection.request(method, target, json.dumps(body) if has_body else None, sent)
            reply = connection.getresponse()
            raw = reply.read()
        finally:
            connection.close()
        if reply.status != http.HTTPStatus.OK:
            _fail(reply.status, raw)
        self.tag = reply.getheader("ETag") or self.tag
        is_json = (reply.getheader("Content-Type") or "").startswith("application/json")
        return json.loads(raw) if is_json else raw.decode("utf-8")

    def wait(self, job: int, *, limit_s: float = 3600.0) -> list[Any]:
        """The results of a job's operations when it has ended. Raises JobError, RestError, TimeoutError.

        The server may be away for a while meanwhile, as when another node becomes the master.
        """
        deadline = time.monotonic() + limit_s
        found: dict[str, Any] = {"status": "not known"}
        while True:
            try:
                found = self.get_job(job)
                if found["status"] in _FINAL:
                    break
                self._news(job, found["status"])
            except (ConnectionError, TimeoutError, http.client.HTTPException):
                time.sleep(self.pause_s)
            except RestError as err:
                if err.status not in _PASSING:
                    raise
                time.sleep(self.pause_s)
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} is {found['status']} after {limit_s:g} s")
        if found["status"] != "success":
            raise JobError(found)
        return list(found["opresult"])

    def _news(self, job: int, status: str) -> None:
        try:
            self.wait_for_job_change(job, fields=["status"], previous_job_info=[status])
        except RestError as err:
            if err.status not in (401, 403):
                raise
            time.sleep(self.pause_s)  # that needs the right to write
'''

TAIL = '''

def _quoted(word: str | int) -> str:
    return urllib.parse.quote(str(word), safe="")


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _of_job(expected: str, key: str, wait_s: int) -> dict[str, str]:
    """Headers of a change."""
    headers = {"If-Match": expected, "Idempotency-Key": key, "Prefer": f"wait={wait_s}" if wait_s else ""}
    return {name: value for name, value in headers.items() if value}


def _fail(status: int, raw: bytes) -> NoReturn:
    try:
        message = str(json.loads(raw)["message"])
    except (ValueError, KeyError, TypeError):
        message = raw[:200].decode("utf-8", "replace")
    raise RestError(status, message)
'''


def text() -> str:
    """The source, not yet formatted."""
    methods = (line for route in catalogue.table().routes for line in ("", *_method(route)))
    return HEAD + "".join(f"    {line}".rstrip() + "\n" for line in methods) + TAIL


def _method(route: Route) -> Iterator[str]:
    arguments = [f"{word}: {'int' if word in NUMBERS else 'str'}" for word in route.words]
    body = route.body or {}
    properties = {
        name: schema
        for name, schema in body.get("properties", {}).items()
        if not schema.get("deprecated") and name != VERSION_KEY
    }
    required = {*body.get("required", ()), *(one["anyOf"][0]["required"][0] for one in body.get("allOf", ()))}
    older = {argument.name for argument in route.query} - {name.replace("_", "-") for name in properties}
    query = {
        _python(argument.name): argument
        for argument in route.query
        if argument.name in older and _python(argument.name) not in properties and not _is_older(argument.name, body)
    }
    own: list[tuple[bool, str]] = []
    if body and "properties" not in body:
        arguments.append(f"value: {python_type(body)}")
    for name, schema in properties.items():
        kind = python_type(schema)
        own.append(
            (
                name in required,
                f"{_python(name)}: {kind}" if name in required else f"{_python(name)}: {_optional(kind)}",
            )
        )
    for name, argument in query.items():
        kind = "bool" if argument.schema.get("enum") == [0, 1] else python_type(argument.schema)
        own.append((argument.is_required, f"{name}: {kind if argument.is_required else _optional(kind)}"))
    keywords = [line for _, line in sorted(own, key=lambda pair: not pair[0])]
    if route.is_job:
        keywords += ['expected: str = ""'] if route.takes_expected else []
        keywords += ['key: str = ""', "wait_s: int = 0"]
    result = python_type(route.result)
    yield f"def {route.name}({', '.join(['self', *arguments, *(['*', *keywords] if keywords else [])])}) -> {result}:"
    lines = textwrap.wrap(route.summary, 100)
    yield from (f"    {line}" for line in ('"""' + lines[0] + ('"""' if len(lines) == 1 else ""), *lines[1:]))
    if len(lines) > 1:
        yield '    """'
    yield f"    found: {result} = self.call(" + ", ".join(_call(route, properties, query, body)) + ")"
    yield "    return found"


def _call(route: Route, properties: Schema, query: dict[str, Any], body: Schema) -> Iterator[str]:
    yield repr(route.method)
    path = route.path
    for word in route.words:
        path = path.replace("{" + word + "}", "{_quoted(" + word + ")}")
    yield f'f"{path}"' if route.words else f'"{path}"'
    if query:
        yield "{" + ", ".join(f'"{argument.name}": {name}' for name, argument in query.items()) + "}"
    if body:
        values = ", ".join(f'"{name}": {_python(name)}' for name in properties)
        fixed = f'"{VERSION_KEY}": 1, ' if VERSION_KEY in body.get("properties", {}) else ""
        yield "body=value" if "properties" not in body else f"body=_given({{{fixed}{values}}})"
        yield "has_body=True"
    if route.is_job:
        yield f"headers=_of_job({'expected' if route.takes_expected else repr('')}, key, wait_s)"


def _is_older(name: str, body: Schema) -> bool:
    return bool(body.get("properties", {}).get(name, {}).get("deprecated"))


def _python(name: str) -> str:
    made = name.replace("-", "_")
    return made + "_" if keyword.iskeyword(made) else made


def _optional(kind: str) -> str:
    return f"{kind} = None" if kind.endswith("| None") or kind == "Any" else f"{kind} | None = None"


def python_type(schema: Schema) -> str:
    """The annotation for values of a JSON Schema."""
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "enum" in schema:
        return "Literal[" + ", ".join(map(repr, schema["enum"])) + "]"
    if "anyOf" in schema:
        kinds = list(dict.fromkeys(python_type(one) for one in schema["anyOf"]))
        if "Any" in kinds:
            return "Any"
        return " | ".join([kind for kind in kinds if kind != "None"] + (["None"] if "None" in kinds else []))
    simple = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        return f"list[{python_type(items) if isinstance(items, dict) and items else 'Any'}]"
    if kind == "object":
        return "dict[str, Any]"
    return simple.get(str(kind), "Any")


if __name__ == "__main__":
    sys.stdout.write(text())
