"""The call that does nothing, slowly."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.node import TestDelay
from ganeti.node.base import Context, NodeEnv, handles


@handles(TestDelay)
def delay(call: TestDelay, env: NodeEnv, context: Context) -> None:
    if context.stop.wait(min(max(0.0, call.duration), call.time.value)):
        raise errors.NodeFailure(f"the delay of {call.duration:g} s was stopped on request")
