"""What handlers of node calls get, and how they are registered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call, Time
from ganeti.host.clock import Clock
from ganeti.host.run import HostRunner
from ganeti.hypervisor.base import Hypervisor
from ganeti.model.objects import DiskTemplate
from ganeti.paths import Paths
from ganeti.rpc.dispatch import Peer
from ganeti.storage.base import Storage

S = TypeVar("S")

UNKNOWN_PEER = Peer("", "")


class Context:
    """One running call: whether it shall stop, and where it tells its progress."""

    def __init__(self, term: int = 0, peer: Peer = UNKNOWN_PEER) -> None:
        self.term = term  # of the caller's mastership
        self.peer = peer
        self.stop = threading.Event()
        self.progress: dict[str, float | str] = {}


class NodeEnv(msgspec.Struct, kw_only=True):
    """The node daemon's world. Handlers keep no state between calls but what lies on disk."""

    paths: Paths
    runner: HostRunner
    clock: Clock
    hypervisors: Mapping[str, Hypervisor]
    storage: Mapping[DiskTemplate, Storage]
    script_limit_s: float = Time.LONG.value - 300  # of one OS script: the caller shall still hear its last words
    # parts with their own locks, set by the daemon: `terms`, `trust`, `requests`, `identity`, `ending`;
    # a handler's module may add its own under a name of its own, the daemon closes those with a method `close`
    services: dict[str, Any] = {}  # Any: of different kinds, see `service`

    def service(self, kind: type[S]) -> S:
        """The daemon's part of that kind. Raises NodeFailure where there is none."""
        for part in self.services.values():
            if isinstance(part, kind):
                return part
        raise errors.NodeFailure(f"this node daemon has no {kind.__name__}")


Handler = Callable[[Any, NodeEnv, Context], Any]  # Any: each handler has its own call and reply

HANDLERS: dict[type[Call[Any]], Handler] = {}

H = TypeVar("H", bound=Handler)


def handles(call: type[Call[Any]]) -> Callable[[H], H]:
    """Decorator: this function serves that call. Signature (call, env, context) → reply; raises GanetiError."""

    def register(function: H) -> H:
        if call in HANDLERS:
            raise TypeError(f"{call.__name__} has two handlers")
        HANDLERS[call] = function
        return function

    return register
