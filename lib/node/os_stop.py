"""The end of a script that is not wanted any more."""

from __future__ import annotations

from ganeti.calls.os import OsStop
from ganeti.node.base import Context, NodeEnv, handles


@handles(OsStop)
def stop(call: OsStop, env: NodeEnv, context: Context) -> None:
    """The dispatch has stopped the request that `call.undoes` names, or has refused it for ever: that is all."""
