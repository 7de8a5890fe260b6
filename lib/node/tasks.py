"""Calls about long calls."""

from __future__ import annotations

from ganeti.calls.task import RequestFence, TaskCancel, TaskPoll, TaskReply
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.rpc.requests import Requests


@handles(TaskPoll)
def poll(call: TaskPoll, env: NodeEnv, context: Context) -> TaskReply:
    return env.service(Requests).poll(call.request, call.wait)


@handles(TaskCancel)
def cancel(call: TaskCancel, env: NodeEnv, context: Context) -> TaskReply:
    return env.service(Requests).cancel(call.request)


@handles(RequestFence)
def fence(call: RequestFence, env: NodeEnv, context: Context) -> None:
    """All of it was done when the call was let in."""
