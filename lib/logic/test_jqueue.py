"""OP_TEST_JQUEUE."""

from __future__ import annotations

from ganeti import errors
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.ops.test import OpTestJqueue


@implements(OpTestJqueue)
class TestJqueue(LogicalUnit[OpTestJqueue, None]):
    async def check(self, env: Env) -> None:
        if self.op.notify_waitlock:
            env.report("jqueue-test: waitlock")

    async def execute(self, facts: None, env: Env) -> bool:
        if self.op.notify_exec:
            env.report("jqueue-test: exec")
        for text in self.op.log_messages:
            env.report(f"TESTMSG={text}")
        if self.op.fail:
            raise errors.ExecError("the operation fails because it was asked to")
        return True
