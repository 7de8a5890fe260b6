"""ganeti-masterd: one event loop that holds the state, the queue and the locks."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
from collections.abc import Callable, Sequence

import msgspec

from ganeti import errors, paths
from ganeti.host import net
from ganeti.host.clock import SystemClock
from ganeti.hypervisor import parameters
from ganeti.luxi.server import LuxiServer
from ganeti.master.commits import Committer
from ganeti.master.debts import DebtPayer
from ganeti.master.engine import Engine
from ganeti.master.env import Parts
from ganeti.master.jobs import Jobs
from ganeti.master.links import LinkedRpc
from ganeti.master.lockmanager import LockManager
from ganeti.master.membership import Members
from ganeti.master.processor import Processor
from ganeti.master.queries import Queries
from ganeti.master.requests import Requests
from ganeti.master.reservations import Reservations
from ganeti.master.ssconf import Distributor
from ganeti.master.state import State, job_key
from ganeti.model.config import Config
from ganeti.model.jobs import ArchivedJob
from ganeti.model.objects import Node, Params, Put
from ganeti.model.types import JobId, Uuid
from ganeti.ops.base import OpCode
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.rpc.client import Client
from ganeti.store.api import Note
from ganeti.store.db import Database
from ganeti.store.leader import Leader
from ganeti.wire import codec

log = logging.getLogger(__name__)

EXIT_NO_CLUSTER = 5
EXIT_NOT_MASTER = 11
#: between two tries to win the mastership, in seconds
RETRY_S = 1.0


class NotMasterError(errors.PrereqError):
    """This node must not act as the master."""

    exit_status = EXIT_NOT_MASTER


class Options(msgspec.Struct, frozen=True, kw_only=True):
    no_voting: bool = False
    take_over: bool = False  # become master though the configuration names another node
    seen_term: int = 0  # highest term when the take-over was decided; 0: not known


def cluster_hvparams(config: Config, hypervisor: str) -> Params:
    """Complete: built-in defaults with the cluster's on top."""
    return parameters.defaults(hypervisor) | config.cluster.hvparams.get(hypervisor, {})


class Master:
    """All parts of one mastership, put together."""

    def __init__(self, where: Paths, me: identity.Identity, options: Options, database: Database) -> None:
        self._paths = where
        self._me = me
        self._options = options
        self._clock = SystemClock()
        self.state = State()
        self.rpc = Client(where, me, nodes=self._node, term=lambda: self.leader.term)
        self.debts = DebtPayer(self.state, LinkedRpc(self.rpc, lambda: self.state.config))
        self.leader = Leader(database, me.uuid, self.rpc, self._clock, name_of=self._name_of)
        self.committer = Committer(self.state, self.leader, self._clock)
        self.jobs = Jobs(self.state, self._clock)
        self.locks = LockManager(self._clock)
        self.members = Members(self.state, self.committer, self.leader, self.rpc)
        rng = random.SystemRandom()
        self.distributor = Distributor(
            lambda: self.state.config,
            lambda: self.state.serial,
            self.rpc,
            cluster_hvparams,
            pause=lambda: self.state.flags.watcher_pause,
        )
        parts = Parts(
            state=self.state,
            committer=self.committer,
            jobs=self.jobs,
            locks=self.locks,
            rpc=self.debts,
            membership=self.members,
            reservations=Reservations(lambda: self.committer.tip, rng, self.debts.mirrors),
            clock=self._clock,
            rng=rng,
            resolve=self._resolve,
            submit=self._submit_children,
            settle=self.debts.settle,
            questions=lambda: self.queries,
        )
        self.engine = Engine(parts, Processor(parts, self.distributor), self.leader)
        self.queries = Queries(
            self.state,
            self.rpc,
            self.locks.rows,
            self._clock,
            archive=self._archived,
            obstacles=self.engine.obstacles,
            waiting_s=self.locks.waiting_s,
        )
        self.requests = Requests(
            state=self.state,
            jobs=self.jobs,
            engine=self.engine,
            committer=self.committer,
            leadership=self.leader,
            queries=self.queries,
            distribute=self.distributor.distribute,
        )

    def _node(self, uuid: Uuid) -> Node | None:
        return self.state.config.nodes.get(uuid)

    async def _archived(self, wanted: Sequence[JobId] | None) -> Sequence[ArchivedJob]:
        prefixes = [""] if wanted is None else [job_key(job_id) for job_id in wanted]
        rows = [row for prefix in prefixes for row in await self.leader.rows("archive", prefix=prefix)]
        return [codec.unpack(value.encode(), ArchivedJob) for _, value in rows]

    def _name_of(self, uuid: str) -> str:
        node = self.state.config.nodes.get(Uuid(uuid))
        return node.name if node is not None else uuid

    async def _resolve(self, name: str) -> tuple[str, str]:
        return await asyncio.to_thread(net.resolve, name, self._paths)

    async def _submit_children(self, parent: JobId, jobs: Sequence[Sequence[OpCode]]) -> list[tuple[bool, JobId | str]]:
        return await self.engine.submit_children(parent, jobs)

    async def load(self) -> None:
        await self.leader.open()
        self.state.load(await self.leader.all_rows())
        # of 20,000 instances that were just read, none is garbage: a collection that looks at all of them stops the
        # loop for 0.1 s
        gc.freeze()
        self.leader.on_publish(self.state.publish)

    async def serve(self, ready: Callable[[], None]) -> int:
        """Until a signal or the end of the mastership. Returns the exit status.

        Raises NotMasterError, before anybody is answered, when another node has a newer state; after a take-over
        also QuorumError, and `ready` is called when it is done.
        """
        stop, hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # asked twice: running jobs are left to the next master
            loop.add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())
        luxi = LuxiServer(self._paths, self.requests.handle)
        background: list[asyncio.Task[None]] = []
        try:
            if self._options.take_over:
                await self._take_over()
                is_won = True
            else:
                is_won = await self._try_to_win()
            await luxi.start()
            ready()
            if not is_won and not await self._win(stop):
                return 0
            self.debts.attach(self.committer)
            await self.engine.recover()
            background.append(asyncio.create_task(self._announce(), name="announce"))
            background.append(asyncio.create_task(self.debts.keep_trying(), name="debts"))
            background.append(asyncio.create_task(self.distributor.keep_trying(), name="ssconf"))
            background.append(asyncio.create_task(self._housekeeping(), name="housekeeping"))
            await self._until(stop)
            return EXIT_NOT_MASTER if self.leader.lost.is_set() else 0
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._end_jobs(hurry)
            await self.distributor.stop()
            await luxi.close()
            await self.leader.close()
            await self.rpc.close()

    async def _take_over(self) -> None:
        """Win, and make this node the master in the configuration before anything else is done."""
        if 0 < self._options.seen_term < self.leader.position.term:
            raise NotMasterError(
                "wrong_state",
                f"another node has become the master meanwhile, in term {self.leader.position.term}",
                hint="gnt-cluster getmaster names it",
            )
        nodes = [node.uuid for node in self.state.config.online_nodes]
        try:
            await self.leader.claim(nodes, no_voting=self._options.no_voting, takes_over=True)
        except errors.StaleTermError as err:
            raise NotMasterError("wrong_state", err.message, hint=err.hint) from err
        cluster = self.state.config.cluster
        if cluster.master_node != self._me.uuid:
            note = Note(actor="mastership", reason=f"{self._me.node} takes over")
            changed = msgspec.structs.replace(cluster, master_node=Uuid(self._me.uuid))
            await self.committer.commit(note, changes=[Put(changed)])
        log.info("took over in term %s", self.leader.term)

    async def _try_to_win(self) -> bool:
        """One claim. False: there is no majority now. Raises NotMasterError when this is a master of the past."""
        nodes = [node.uuid for node in self.state.config.online_nodes]
        try:
            await self.leader.claim(nodes, no_voting=self._options.no_voting)
        except errors.QuorumError as err:
            log.warning("not master yet: %s", err)
            return False
        except errors.StaleTermError as err:
            raise NotMasterError("wrong_state", err.message, hint=err.hint) from err
        log.info("master in term %s", self.leader.term)
        return True

    async def _win(self, stop: asyncio.Event) -> bool:
        """Claim until it is won; queries are answered meanwhile. False: asked to stop."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(RETRY_S):
                    await stop.wait()
            except TimeoutError:
                if await self._try_to_win():
                    return True
        return False

    async def _end_jobs(self, hurry: asyncio.Event) -> None:
        """Let running jobs end for a moment, unless there is a hurry."""
        ending = asyncio.create_task(self.engine.stop(), name="end of the jobs")
        waiting = asyncio.create_task(hurry.wait(), name="hurry")
        await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, waiting):
            task.cancel()
        await asyncio.gather(ending, waiting, return_exceptions=True)

    async def _until(self, stop: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self.leader.lost.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self.leader.lost.is_set():
            log.error("this node is not the master any more; stopping")

    async def _announce(self) -> None:
        """What other nodes must learn of the new term: whose certificates to trust, and the ssconf files."""
        # each on its own: a node that is away holds up the one, not the other
        await asyncio.gather(self._push_trust(), self.distributor.distribute())

    async def _push_trust(self) -> None:
        try:
            await self.members.push_trust()
        except errors.GanetiError as err:
            log.warning("%s", err)

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(3600)
            try:
                await self.engine.forget_submissions()
            except errors.GanetiError as err:
                log.warning("old submission keys stay: %s", err)


def run(where: Paths, options: Options, ready: Callable[[], None]) -> int:
    """The daemon's main part, in the process that stays."""
    me = identity.load(where)
    if me is None:
        raise errors.PrereqError("environment_error", "this node is in no cluster", hint="gnt-cluster init creates one")
    database = Database.open(where.local(paths.STATE_DB))
    try:
        return asyncio.run(_run(where, me, options, database, ready))
    finally:
        database.close()


async def _run(
    where: Paths, me: identity.Identity, options: Options, database: Database, ready: Callable[[], None]
) -> int:
    master = Master(where, me, options, database)
    await master.load()
    config = master.state.config
    if config.cluster.master_node != me.uuid and not options.take_over:
        raise NotMasterError(
            "wrong_state",
            f"the master is {config.master.name}, not this node",
            hint="gnt-cluster master-failover, run here, makes this node the master",
        )
    log.info("process %s for cluster %s", os.getpid(), config.cluster.name)
    return await master.serve(ready)
