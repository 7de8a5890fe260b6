"""How a node call is declared: arguments, reply, time class. Client stub and server dispatch derive from it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from ganeti.model.types import RequestId
from ganeti.wire import codec

R = TypeVar("R")


#: most that a new connection takes, in seconds: the other kernel's answer and the other daemon's signature
CONNECTING_S = 25.0


class Time(enum.Enum):
    """How long the master waits for the reply, in seconds, once it has a connection."""

    URGENT = 5.0  # votes, state, version: served by reserved threads
    NORMAL = 60.0
    SLOW = 300.0
    SCRIPTS = 900.0  # hooks: administrators were promised a quarter of an hour
    # longer: started, then polled and cancelled by its request id; the limit is of the whole
    LONG = 4 * 3600.0
    # as long; what moves whole disks ends itself when nothing moves
    STREAM = 7 * 86400.0

    @property
    def is_long(self) -> bool:
        return self.value >= Time.LONG.value


class Reserve(enum.Enum):
    """The capped pool of the node daemon that serves the call."""

    QUORUM = "quorum"  # always has threads left
    INFO = "info"
    STORAGE = "storage"
    HYPERVISOR = "hypervisor"
    SCRIPTS = "scripts"


class Call(msgspec.Struct, Generic[R], frozen=True, kw_only=True, tag_field="call", forbid_unknown_fields=True):
    """A question to a node. A subclass declares `tag="name"`, its arguments, and its reply by `Call[Reply]`."""

    reply: ClassVar[Any]  # Any: a type that msgspec can convert to
    time: ClassVar[Time]
    reserve: ClassVar[Reserve]
    needs_term: ClassVar[bool]  # only a master may make it; others may be made with term 0

    @property
    def call_name(self) -> str:
        """Its tag; `name` is a field of many calls."""
        return str(self.__struct_config__.tag)


class ChangingCall(Call[R], Generic[R], frozen=True, kw_only=True):
    """A call with an effect. A repeat of `request` is answered from the node's table.

    `undoes` names the request that this call takes back: the node waits for it or stops it first, or
    leaves a tombstone so that its late arrival is refused.
    """

    request: RequestId
    undoes: RequestId | None = None


#: every call by name; filled by importing `ganeti.calls.catalogue`
REGISTRY: dict[str, type[Call[Any]]] = {}

C = TypeVar("C", bound=type[Call[Any]])


def call(
    *, reply: Any, time: Time = Time.NORMAL, reserve: Reserve = Reserve.INFO, has_effect: bool = False
) -> Callable[[C], C]:
    """Class decorator: registers a call under its tag.

    `has_effect`: only a master may make it, though it is no `ChangingCall` (which always has one).
    """

    def register(cls: C) -> C:
        tag = str(cls.__struct_config__.tag)
        if tag in REGISTRY:
            raise TypeError(f"call {tag} is declared twice")
        cls.reply, cls.time, cls.reserve = reply, time, reserve
        cls.needs_term = has_effect or issubclass(cls, ChangingCall)
        REGISTRY[tag] = cls
        return cls

    return register


def decode(untrusted: Any) -> Call[Any]:
    """The call behind a wire form. Raises CodecError."""
    name = untrusted.get("call") if isinstance(untrusted, dict) else None
    cls = REGISTRY.get(name) if isinstance(name, str) else None
    if cls is None:
        raise codec.CodecError(f"unknown call {str(name)[:80]!r}")
    return codec.convert(untrusted, cls)


def encode(made: Call[Any]) -> dict[str, Any]:
    """Wire form, with the key `call`."""
    form: dict[str, Any] = codec.to_builtins(made)
    return form
