"""Whom this node answers from now on."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.node import TrustPush
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.rpc.trust import Trust, TrustFile


@handles(TrustPush)
def push(call: TrustPush, env: NodeEnv, context: Context) -> None:
    if context.peer.digest and context.peer.digest not in call.digests:
        raise errors.NodeFailure(
            f"the trust list lacks the certificate of {context.peer.name}, which sends it",
            hint="taking it would lock the master out",
        )
    env.service(TrustFile).replace(Trust(term=context.term, serial=call.serial, digests=call.digests))
