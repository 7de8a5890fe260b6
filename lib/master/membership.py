"""Who votes on the state and whose certificates node daemons answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from ganeti import errors
from ganeti.calls.node import TrustPush
from ganeti.calls.port import Rpc
from ganeti.logic.base import StateHolder
from ganeti.master.commits import Committer
from ganeti.master.state import State
from ganeti.model.config import Config
from ganeti.model.jobs import Flags
from ganeti.model.objects import Change
from ganeti.model.types import Uuid
from ganeti.store.api import Leadership, Note, Write

log = logging.getLogger(__name__)


def trusted(config: Config) -> dict[str, str]:
    """Digest → node name of every certificate that may call node daemons: the candidates', while renewed both."""
    return {
        digest: node.name
        for node in config.candidates
        for digest in (node.certificate_digest, node.renewing_digest)
        if digest
    }


class Members:
    """Implements `logic.base.Membership`."""

    def __init__(self, state: State, committer: Committer, leadership: Leadership, rpc: Rpc) -> None:
        self._state = state
        self._committer = committer
        self._leadership = leadership
        self._rpc = rpc
        self._one_at_a_time = asyncio.Lock()

    async def add_voter(
        self, node: Uuid, changes: Sequence[Change], *, if_still: Callable[[Config], bool] | None = None
    ) -> bool:
        async def send(writes: Sequence[Write], note: Note) -> None:
            await self._leadership.add_voter(node, writes, note)

        async with self._one_at_a_time:
            if if_still is not None and not if_still(self._state.config):
                return False
            # before the changes are made rows: catching up may take long
            await self._leadership.catch_up(node)
            await self._committer.commit(Note(actor="membership", reason=f"{node} votes"), changes=changes, send=send)
        return True

    async def remove_voter(self, node: Uuid, changes: Sequence[Change]) -> None:
        async def send(writes: Sequence[Write], note: Note) -> None:
            await self._leadership.remove_voter(node, writes, note)

        async with self._one_at_a_time:
            note = Note(actor="membership", reason=f"{node} votes no more")
            await self._committer.commit(note, changes=changes, send=send)

    def holders(self) -> Sequence[StateHolder]:
        return [
            StateHolder(
                node=Uuid(voter.node),
                is_reachable=voter.is_reachable,
                serial=voter.position.serial if voter.position else 0,
                hash=voter.position.hash if voter.position else "",
                is_current=voter.is_current,
                why=voter.why,
            )
            for voter in self._leadership.voters()
        ]

    async def publish_trust(self, *, everywhere: bool = False) -> None:
        def next_serial(flags: Flags) -> Flags:
            return msgspec.structs.replace(flags, trust_serial=flags.trust_serial + 1)

        await self._committer.commit(Note(actor="membership", reason="trust file"), flags=next_serial)
        await self.push_trust(everywhere=everywhere)

    async def push_trust(self, *, everywhere: bool = False) -> None:
        """Send the present generation; more than half of the nodes that are not marked offline must take it, or all."""
        config = self._state.config
        call = TrustPush(serial=self._state.flags.trust_serial, digests=trusted(config))
        results = await self._rpc.many([node.uuid for node in config.online_nodes], call)
        failed = [answer for answer in results.values() if isinstance(answer, errors.RpcError)]
        for failure in failed:
            log.warning("trust file not taken: %s", failure)
        if failed and everywhere:
            raise errors.ExecError(
                "not all nodes took the new trust file: " + "; ".join(str(err) for err in failed),
                hint="bring them back, or mark them offline",
            )
        if failed and 2 * (len(results) - len(failed)) <= len(results):
            raise errors.ExecError(
                "fewer than half of the nodes took the new trust file: " + "; ".join(str(err) for err in failed),
                hint="bring them back and run gnt-cluster redist-conf",
            )
