"""The end of a script that is not wanted any more."""

from __future__ import annotations

from ganeti.calls.os import OsStop
from ganeti.node import scripts
from ganeti.node.base import Context, NodeEnv, handles


@handles(OsStop)
def stop(call: OsStop, env: NodeEnv, context: Context) -> None:
    """The dispatch has stopped the request that `call.undoes` names, or has refused it for ever.

    What is left is a script that an earlier daemon began, which was killed.
    """
    if call.undoes is not None:
        scripts.end(env.paths, call.undoes)
