"""The master daemon of this node: whether it answers, and its end when another node takes over."""

from __future__ import annotations

import logging

from ganeti import errors
from ganeti.calls.node import MasterPing, MasterStop
from ganeti.host import running
from ganeti.luxi.client import Client
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths
from ganeti.rpc.term import TermKeeper

log = logging.getLogger(__name__)

MASTERD, RAPI = "ganeti-masterd", "ganeti-rapi"
#: running jobs may go on so long; what they have begun is then taken back by the next master
HURRY_S = 1.0
LIMIT_S = 10.0
#: for the answer of a master daemon on its own node
ANSWER_S = 3.0


def answers(where: Paths) -> bool:
    """Whether this node's master daemon answers a question about the cluster."""
    client = Client(paths=where, environ={}, connect_timeout_s=1.0, read_timeout_s=ANSWER_S, wait_for_master=False)
    with client:
        try:
            client.call("QueryClusterInfo")
        except (errors.LuxiError, errors.PrereqError):
            return False
    return True


@handles(MasterPing)
def ping(call: MasterPing, env: NodeEnv, context: Context) -> bool:
    return answers(env.paths)


@handles(MasterStop)
def stop(call: MasterStop, env: NodeEnv, context: Context) -> bool:
    seen = env.service(TermKeeper).seen
    if call.seen < seen:
        raise errors.StaleTermError(
            f"{context.peer.name or 'the caller'} saw term {call.seen}, this node saw term {seen}",
            hint="a mastership has begun of which it does not know",
        )
    running.stop(env.paths, RAPI, timeout_s=LIMIT_S)
    ran = running.stop(env.paths, MASTERD, timeout_s=LIMIT_S, hurry_after_s=HURRY_S)
    if ran:
        log.warning("the master daemon of this node was ended for %s", context.peer.name or "another node")
    return ran
