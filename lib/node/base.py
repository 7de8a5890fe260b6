"""What handlers of node calls get, and how they are registered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from ganeti.calls.base import Call
from ganeti.host.clock import Clock
from ganeti.host.run import HostRunner
from ganeti.hypervisor.base import Hypervisor
from ganeti.model.objects import DiskTemplate
from ganeti.paths import Paths
from ganeti.storage.base import Storage


class Context:
    """One running call: whether it shall stop, and where it tells its progress."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.progress: dict[str, float | str] = {}


class NodeEnv(msgspec.Struct, kw_only=True):
    """The node daemon's world. Handlers keep no state between calls but what lies on disk."""

    paths: Paths
    runner: HostRunner
    clock: Clock
    hypervisors: Mapping[str, Hypervisor]
    storage: Mapping[DiskTemplate, Storage]
    # parts with their own locks, set by the daemon
    services: dict[str, Any] = {}  # Any: see node.daemon


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
