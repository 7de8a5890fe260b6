"""Calls of the store: this node as a voter."""

from __future__ import annotations

import threading

from ganeti import errors
from ganeti.calls.store import (
    AppendReply,
    CheckReply,
    FetchReply,
    PromiseReply,
    StateReply,
    StoreAppend,
    StoreCheck,
    StoreDrop,
    StoreFetch,
    StorePromise,
    StoreSnapshot,
    StoreState,
)
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.store.replica import Replica

#: name of the replica among the daemon's services
SERVICE = "store"

_making = threading.Lock()


def replica_of(env: NodeEnv) -> Replica:
    """The daemon's one replica, made on first use; the daemon closes it when it ends."""
    with _making:
        replica = env.services.get(SERVICE)
        if replica is None:
            replica = Replica.of_node(env.paths)
            env.services = {**env.services, SERVICE: replica}  # other threads may be reading the old one
    if not isinstance(replica, Replica):
        raise errors.NodeFailure(f"the service {SERVICE!r} of this daemon is a {type(replica).__name__}")
    return replica


@handles(StoreState)
def state(call: StoreState, env: NodeEnv, context: Context) -> StateReply:
    return replica_of(env).state()


@handles(StoreCheck)
def check(call: StoreCheck, env: NodeEnv, context: Context) -> CheckReply:
    return replica_of(env).check()


@handles(StorePromise)
def promise(call: StorePromise, env: NodeEnv, context: Context) -> PromiseReply:
    return replica_of(env).promise(call)


@handles(StoreAppend)
def append(call: StoreAppend, env: NodeEnv, context: Context) -> AppendReply:
    return replica_of(env).append(call)


@handles(StoreSnapshot)
def snapshot(call: StoreSnapshot, env: NodeEnv, context: Context) -> AppendReply:
    return replica_of(env).snapshot(call)


@handles(StoreFetch)
def fetch(call: StoreFetch, env: NodeEnv, context: Context) -> FetchReply:
    return replica_of(env).fetch(call)


@handles(StoreDrop)
def drop(call: StoreDrop, env: NodeEnv, context: Context) -> None:
    replica_of(env).drop(call)
