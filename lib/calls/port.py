"""The port through which the upper rooms call nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.model.objects import Node
from ganeti.model.types import Uuid

R = TypeVar("R")


#: called with what a long call tells; `text` is for people
Progress = Callable[[Mapping[str, float | str]], None]


class Rpc(Protocol):
    """Calls by node uuid. Offline nodes are answered at once with kind `offline`."""

    async def one(self, node: Uuid, call: Call[R], *, progress: Progress | None = None) -> R:
        """The reply. Raises RpcError; long calls are started and polled until their end.

        `progress` is told what a long call says about itself, every few seconds and once at its end.
        """
        ...

    async def many(self, nodes: Iterable[Uuid], call: Call[R]) -> dict[Uuid, R | errors.RpcError]:
        """One result per node, in parallel; never raises for a node."""
        ...

    async def at(self, node: Node, call: Call[R]) -> R:
        """As `one`, for a node that is not in the configuration: about to be added, or just removed."""
        ...
