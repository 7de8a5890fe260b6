"""Calls about instance allocators that are programs."""

from __future__ import annotations

import re

import msgspec

from ganeti.calls.base import Call, Reserve, Time, call

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")


class IallocatorReply(msgspec.Struct, frozen=True, kw_only=True):
    status: int  # exit code
    output: str  # its answer
    complaints: str  # the beginning of what it wrote to standard error


@call(reply=IallocatorReply, time=Time.SLOW, reserve=Reserve.SCRIPTS, has_effect=True)
class IallocatorRun(Call[IallocatorReply], frozen=True, tag="iallocator_run"):
    """Ask an allocator of the search path. It is no change: nothing has to be taken back, nobody needs its repeat."""

    name: str
    request: str  # JSON
    options: tuple[str, ...] = ()  # --key=value or --key
