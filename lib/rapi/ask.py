"""One request as a resource sees it: checked query arguments, a parsed body, and the master to ask."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ganeti.luxi.aio import AsyncClient
from ganeti.rapi.auth import User
from ganeti.rapi.failures import bad_request
from ganeti.wire import codec

MAX_KEY = 200
#: what the master says of a job that is as it was
NO_CHANGE = "nochange"


class Query:
    """The arguments after the question mark. Raises HttpFailure(400) for what has the wrong form."""

    def __init__(self, untrusted: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in untrusted:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> tuple[str, ...]:
        return tuple(self._values)

    def many(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def text(self, name: str, default: str = "") -> str:
        return self._values.get(name, [default])[-1]

    def integer(self, name: str, default: int = 0) -> int:
        """Raises HttpFailure."""
        text = self.text(name, str(default)).strip()
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise bad_request(f"Invalid value for query argument {name!r}: {text[:40]!r} is not a whole number")
        return int(text)

    def flag(self, name: str, *, default: bool = False) -> bool:
        return bool(self.integer(name, int(default)))

    def words(self, name: str) -> list[str]:
        """A list, separated by commas or given in several arguments."""
        return [word for text in self._values.get(name, ()) for word in text.split(",") if word]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    path: dict[str, str]  # the {words} of the route's path
    query: Query
    body: Any  # Any: JSON; UNSET: there is none
    luxi: AsyncClient
    now_ns: int
    user: User | None = None
    expected: str = ""  # If-Match
    known: str = ""  # If-None-Match
    key: str = ""  # Idempotency-Key
    wait_s: float = 0.0  # Prefer: wait
    resource: str = ""  # short name, for the reason trail
    is_about_cluster: bool = False  # the change is one of the cluster itself
    clock: Callable[[], float] = time.monotonic
    ending: asyncio.Event | None = None  # set when the daemon is about to end: nobody waits any longer

    async def news_of_job(self, job: int, fields: Sequence[str], known: Any, serial: Any, wait_s: float) -> Any:
        """What the master says to WaitForJobChange, or `nochange` when the daemon ends first. Any: JSON."""
        waiting = asyncio.ensure_future(
            self.luxi.call("WaitForJobChange", job, list(fields), known, serial, max(wait_s, 0.0))
        )
        end = asyncio.ensure_future((self.ending or asyncio.Event()).wait())
        try:
            await asyncio.wait((waiting, end), return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else NO_CHANGE
        finally:
            for task in (waiting, end):
                task.cancel()
            await asyncio.gather(waiting, end, return_exceptions=True)

    @property
    def submission_key(self) -> str | None:
        """What makes a repeat of the submission the same one: each user has his own."""
        if not self.key:
            return None
        if len(self.key) > MAX_KEY - 60 or not self.key.isprintable():
            raise bad_request(f"Idempotency-Key is a text of at most {MAX_KEY - 60} printable characters")
        owner = self.user.name[:40] if self.user is not None else ""
        return f"rest/{owner}/{self.key}"

    def object_body(self) -> dict[str, Any]:
        """The body as an object; none: an empty one. Raises HttpFailure."""
        if self.body is msgspec.UNSET or self.body is None:
            return {}
        if not isinstance(self.body, dict):
            raise bad_request(f"Expected a JSON object as body, found {json_kind(self.body)}")
        return self.body

    def reasons(self) -> list[list[Any]]:
        """The reason trail that this request adds."""
        text = self.query.text("reason")
        trail: list[list[Any]] = [["gnt:user", text, self.now_ns]] if text else []
        return [*trail, [f"gnt:library:rlib2:{self.resource}", "", self.now_ns]]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a resource answers."""

    text: bytes  # JSON, unless `content_type` says otherwise
    headers: dict[str, str] = {}
    status: int = 200
    content_type: str = "application/json"


def answer(value: Any, **headers: str) -> Answer:  # Any: JSON, parts of which may be text already (msgspec.Raw)
    return Answer(text=codec.pack(value), headers={name.replace("_", "-"): text for name, text in headers.items()})


def json_kind(value: Any) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return names.get(type(value), "a number")
