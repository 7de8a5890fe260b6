"""Calls that take long are named in the job's log while they are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

R = TypeVar("R")

#: from one line to the next, in seconds; the last again and again
PAUSES_S: Sequence[float] = (15.0, 30.0, 60.0)
#: named in one line
_MOST = 5


async def named(
    work: Awaitable[R],
    still: Mapping[str, float],
    report: Callable[[str], None],
    *,
    pauses_s: Sequence[float] = PAUSES_S,
) -> R:
    """The work's result. `still` is looked at when a line is due: what is waited for, and its time limit in seconds."""
    running = asyncio.ensure_future(work)
    passed, number = 0.0, 0
    try:
        while not running.done():
            pause = pauses_s[min(number, len(pauses_s) - 1)]
            await asyncio.wait({running}, timeout=pause)
            passed, number = passed + pause, number + 1
            if not running.done() and still:
                report(line(still, passed))
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        raise
    return await running


def line(still: Mapping[str, float], passed: float) -> str:
    titles = "; ".join(list(still)[:_MOST])
    more = f" and {len(still) - _MOST} more" if len(still) > _MOST else ""
    return f"  since {passed:.0f} s, for at most {max(still.values()):.0f} s: {titles}{more}"
