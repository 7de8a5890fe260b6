"""Calls about calls: long ones are started, polled and cancelled by request id."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.model.types import RequestId


class TaskReply(msgspec.Struct, frozen=True, kw_only=True):
    state: str  # running | done | failed | unknown
    result: Any = None  # Any: the reply of the call, or the encoded error
    progress: dict[str, float | str] = {}


@call(reply=TaskReply, time=Time.NORMAL, reserve=Reserve.QUORUM)
class TaskPoll(Call[TaskReply], frozen=True, tag="task_poll"):
    """State of a long call; waits up to `wait` seconds for it to end."""

    request: RequestId
    wait: float = 5.0


@call(reply=TaskReply, time=Time.NORMAL, reserve=Reserve.QUORUM, has_effect=True)
class TaskCancel(Call[TaskReply], frozen=True, tag="task_cancel"):
    """Ask a long call to stop; its end is seen by polling."""

    request: RequestId


@call(reply=None, time=Time.NORMAL, reserve=Reserve.QUORUM)
class RequestFence(ChangingCall[None], frozen=True, tag="request_fence"):
    """Nothing but this: the request that `undoes` names has ended when the reply comes, or will never run."""
