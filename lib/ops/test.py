"""Operations for tests of the cluster itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ganeti.ops.base import Cli, OpCode, Parse, operation, opt


@operation(cli=Cli(tool="gnt-debug", verb="delay", positional=("duration",)), summary="duration")
class OpTestDelay(OpCode, frozen=True, tag="OP_TEST_DELAY"):
    """Do nothing for a while, on the master, on nodes, with or without locks."""

    duration: Annotated[float, Meta(ge=0, description="seconds to wait")]
    on_master: Annotated[bool, opt("--no-master", help="do not wait on the master", parse=Parse.UNSET_FLAG)] = True
    on_nodes: Annotated[tuple[str, ...], opt("-n", "--node", help="wait on these nodes", parse=Parse.LIST)] = ()
    repeat: Annotated[int, opt("-r", "--repeat", help="how many times more", ge=0, le=10_000)] = 0
    interruptible: Annotated[bool, opt("-i", "--interruptible", help="a cancel ends the wait")] = False
    no_locks: Annotated[bool, opt("-l", "--no-locks", help="do not hold the nodes' locks", absent=False)] = True


@operation()
class OpTestJqueue(OpCode, frozen=True, tag="OP_TEST_JQUEUE"):
    """Log messages and fail if asked to: what a test of the job queue needs. Result: true."""

    notify_waitlock: bool = False  # a message before the locks are there
    notify_exec: bool = False  # and one when they are
    log_messages: tuple[str, ...] = ()
    fail: bool = False
