"""The one table of resources: what path and method leads where, what it takes, what it answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from ganeti.rapi.ask import Answer, Ask
from ganeti.rapi.auth import READ, WRITE
from ganeti.rapi.failures import HttpFailure

Run = Callable[[Ask], Awaitable[Answer]]
Schema = dict[str, Any]  # Any: JSON Schema

#: what a {word} of a path may be; anything else is a path that does not exist
_WORD = r"[\w._-]{1,255}"
_NUMBER = r"\d{1,12}"
NUMBERS = frozenset({"job_id", "disk"})
#: changes of the cluster itself
CLUSTER_PATHS = frozenset({"/2/modify", "/2/tags", "/2/redistribute-config"})
METHODS = ("GET", "PUT", "POST", "DELETE")
EITHER = (WRITE, READ)


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    """One argument of the query."""

    name: str
    schema: Schema
    help: str = ""
    is_required: bool = False


class Route(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str  # with {word}s
    name: str  # of the operation in the OpenAPI document and of the client's method
    summary: str
    run: Run
    rights: tuple[str, ...] = ()  # one of which is needed
    query: tuple[Argument, ...] = ()
    body: Schema | None = None
    needs_body: bool = False
    result: Schema = {}
    is_job: bool = False  # it submits one: keys, expected serial numbers and waiting are understood
    has_tag: bool = False  # its answer has an ETag
    may_miss: bool = False  # an object in its path may not be there
    content_type: str = "application/json"

    @property
    def takes_expected(self) -> bool:
        """Whether the change may depend on the state of an object, or of the cluster."""
        return self.is_job and (self.may_miss or self.path in CLUSTER_PATHS)

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{(\w+)\}", self.path))


#: resources that are written by hand; filled by importing their modules
BY_HAND: list[Route] = []


def resource(
    method: str,
    path: str,
    *,
    rights: tuple[str, ...] | None = None,
    query: tuple[Argument, ...] = (),
    body: Schema | None = None,
    needs_body: bool = False,
    result: Schema | None = None,
    is_job: bool = False,
    has_tag: bool = False,
) -> Callable[[Run], Run]:
    """Decorator of a resource's function; its docstring is the summary, its name the operation's."""

    def register(run: Run) -> Run:
        BY_HAND.append(
            Route(
                method=method,
                path=path,
                name=run.__name__,
                summary=" ".join((run.__doc__ or "").split()),
                run=run,
                rights=default_rights(method) if rights is None else rights,
                query=query,
                body=body,
                needs_body=needs_body,
                result=result or {},
                is_job=is_job,
                has_tag=has_tag,
                may_miss="{" in path,
            )
        )
        return run

    return register


def default_rights(method: str) -> tuple[str, ...]:
    return () if method == "GET" else (WRITE,)


class Table:
    """Finds routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: (route.path, METHODS.index(route.method))))
        self._fixed: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Route]]] = {}
        for route in self.routes:
            if not route.words:
                methods = self._fixed.setdefault(route.path, {})
            else:
                form = re.sub(r"\{(\w+)\}", lambda word: "{0}" if word[1] in NUMBERS else "{}", route.path)
                methods = self._patterns.setdefault(form, (_pattern(route.path), {}))[1]
            if route.method in methods:
                raise TypeError(f"{route.method} {route.path} is declared twice")
            methods[route.method] = route

    def find(self, method: str, untrusted_path: str) -> tuple[Route, dict[str, str]]:
        """The route and the words of its path. Raises HttpFailure 404 or 501."""
        methods = self._fixed.get(untrusted_path)
        words: tuple[str, ...] = ()
        if methods is None:
            for pattern, candidates in self._patterns.values():
                match = pattern.fullmatch(untrusted_path)
                if match is not None:
                    methods, words = candidates, match.groups()
                    break
        if methods is None:
            raise HttpFailure(404)
        route = methods.get(method)
        if route is None:
            raise HttpFailure(501, f"Method {method[:20]} is unsupported for path {untrusted_path}")
        return route, dict(zip(route.words, words, strict=True))


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    text = "".join(
        re.escape(part) if number % 2 == 0 else f"({_NUMBER if part in NUMBERS else _WORD})"
        for number, part in enumerate(parts)
    )
    return re.compile(text, re.ASCII)
