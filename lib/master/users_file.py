"""The users of the REST interface: a file that is edited on the master, and follows the master's role.

The other nodes get it soon after each edit, and when they are back. Which content counts, and which node was master
when it came to count, is in the state: so a new master whose own copy is another one (it missed an edit, or somebody
edited it there) takes the one that counts from a node that has it. What is edited on the master counts, also while its
daemon is down; what is edited elsewhere does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from ganeti import errors, paths
from ganeti.calls.node import NodeVerify, VerifyReply
from ganeti.calls.port import Rpc
from ganeti.calls.renewal import Secrets, SecretsRead, SecretsWrite
from ganeti.master.commits import Committer
from ganeti.master.state import State
from ganeti.model.jobs import UsersRecord
from ganeti.model.types import RequestId, Uuid
from ganeti.store.api import Note

log = logging.getLogger(__name__)

#: how often the nodes are looked at when nothing is edited, in seconds
INTERVAL_S = 300.0
#: among `paths.SHARED_SECRETS`
NAME = "rapi-users"
_LOOK = NodeVerify(files=(paths.RAPI_USERS.path,))


class UsersFile:
    """Of one mastership."""

    def __init__(
        self,
        state: State,
        committer: Committer,
        rpc: Rpc,
        *,
        new_request: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._state, self._committer, self._rpc = state, committer, rpc
        self._new_request = new_request
        # what this node had when it became the master: what differs from that is an edit on the master
        self._first = ""
        self._told = ""

    async def keep(self, edited: asyncio.Event) -> None:
        """Runs as long as the mastership; `edited` is set when the file here has changed."""
        while True:
            edited.clear()
            try:
                await self.look()
            except errors.GanetiError as err:
                log.warning("users of the REST interface are not distributed now: %s", err)
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):
                    await edited.wait()

    async def look(self) -> None:
        """Once: have all online nodes have what counts. Raises GanetiError."""
        me = self._state.config.cluster.master_node
        found = await self._digests()
        mine = found.pop(me, "")
        if not mine:
            return  # a file that was removed, or cannot be seen now, is no news for the others
        self._first = self._first or mine
        known = self._committer.flags.rest_users
        if known is not None and known.master != me and mine == self._first and mine != known.digest:
            mine = await self._from_another(known, found, me) or (mine if self._is_everywhere(mine, found) else "")
            if not mine:
                self._tell_once(known)
                return
        if known != UsersRecord(digest=mine, master=me):
            await self._record(UsersRecord(digest=mine, master=me))
        behind = [node for node, digest in found.items() if digest != mine]
        if behind:
            content = await self._read(me)
            if _digest(content) == mine:
                await self._write(behind, content)
            else:
                log.warning("%s is edited just now, too large or not UTF-8: it is not sent", paths.RAPI_USERS.path)

    async def _digests(self) -> dict[Uuid, str]:
        """Of the nodes that answer; empty: there is no such file."""
        answers = await self._rpc.many([node.uuid for node in self._state.config.online_nodes], _LOOK)
        return {
            node: answer.files.get(paths.RAPI_USERS.path, "")
            for node, answer in answers.items()
            if isinstance(answer, VerifyReply)
        }

    @staticmethod
    def _is_everywhere(mine: str, others: Mapping[Uuid, str]) -> bool:
        """`gnt-cluster redist-conf` has made it so."""
        return bool(others) and all(digest == mine for digest in others.values())

    async def _from_another(self, known: UsersRecord, others: Mapping[Uuid, str], me: Uuid) -> str:
        """The digest of what this node has now; empty: nobody has what counts."""
        for node in (node for node, digest in others.items() if digest == known.digest):
            try:
                content = await self._read(node)
            except errors.RpcError as err:
                log.warning("%s", err)
                continue
            if _digest(content) != known.digest:
                continue
            await self._rpc.one(me, self._call(content))
            log.warning(
                "the users of the REST interface here were not those of the last master: they are taken from node %s",
                self._state.config.nodes[node].name,
            )
            return known.digest
        return ""

    def _tell_once(self, known: UsersRecord) -> None:
        if self._told != known.digest:
            self._told = known.digest
            master = self._state.config.nodes.get(known.master)
            log.error(
                "the users of the REST interface on this node are not those of the last master%s, and no node that "
                "answers has these; gnt-cluster redist-conf has the ones of this node count",
                "" if master is None else f" {master.name}",
            )

    async def _record(self, record: UsersRecord) -> None:
        note = Note(actor="mastership", reason="which users of the REST interface count")
        await self._committer.commit(note, flags=lambda old: msgspec.structs.replace(old, rest_users=record))

    async def _read(self, node: Uuid) -> str:
        return (await self._rpc.one(node, SecretsRead(names=(NAME,)))).files.get(NAME, "")

    async def _write(self, nodes: list[Uuid], content: str) -> None:
        config = self._state.config
        answers = await self._rpc.many(nodes, self._call(content))
        for node, answer in answers.items():
            if isinstance(answer, errors.RpcError):
                log.warning("it does not take the users of the REST interface yet: %s", answer)
            elif node in config.nodes:
                log.info("node %s got the users of the REST interface", config.nodes[node].name)

    def _call(self, content: str) -> SecretsWrite:
        return SecretsWrite(request=RequestId(self._new_request()), secrets=Secrets({NAME: content}))


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
