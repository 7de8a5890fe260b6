"""ganeti-masterd: one event loop that holds the state, the queue and the locks."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import signal
from collections.abc import Callable

import msgspec

from ganeti import errors, paths
from ganeti.calls.port import Rpc
from ganeti.host import memory, net, notify
from ganeti.host.clock import Clock, SystemClock
from ganeti.host.watch import FileWatcher
from ganeti.luxi.server import LuxiServer
from ganeti.master.contest import Contest
from ganeti.master.mastership import Mastership
from ganeti.master.state import State
from ganeti.master.users_file import UsersFile
from ganeti.model.objects import Node
from ganeti.model.types import Uuid
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.rpc.client import Client
from ganeti.store import formats
from ganeti.store.db import Database
from ganeti.store.leader import Leader

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


class RealSurroundings:
    """This node and its network."""

    def __init__(self, where: Paths, me: identity.Identity, database: Database) -> None:
        self._paths, self._me, self._database = where, me, database
        self.clock = SystemClock()
        self.rng = random.SystemRandom()
        self.client: Client  # once there is a mastership

    def new_rpc(self, nodes: Callable[[Uuid], Node | None], term: Callable[[], int]) -> Client:
        self.client = Client(self._paths, self._me, nodes=nodes, term=term)
        return self.client

    def new_leader(self, rpc: Rpc, clock: Clock, name_of: Callable[[str], str]) -> Leader:
        return Leader(self._database, self._me.uuid, rpc, clock, name_of=name_of)

    async def resolve(self, name: str) -> tuple[str, str]:
        return await asyncio.to_thread(net.resolve, name, self._paths)


class Master:
    """A mastership as a daemon: its socket, its signals, its end."""

    def __init__(self, where: Paths, me: identity.Identity, options: Options, database: Database) -> None:
        self._paths = where
        self._me = me
        self._options = options
        self._around = RealSurroundings(where, me, database)
        self._mastership = Mastership(self._around)
        self._mastership.measures.attach("rpc", self._around.client.timings)

    @property
    def state(self) -> State:
        return self._mastership.state

    async def load(self) -> None:
        await self._mastership.load()
        # of 20,000 instances that were just read, none is garbage: a collection that looks at all of them stops the
        # loop for 0.1 s
        gc.freeze()
        memory.give_back()  # the rows that they were read from

    async def serve(self, ready: Callable[[], None]) -> int:
        """Until a signal or the end of the mastership. Returns the exit status.

        Raises NotMasterError, before anybody is answered, when another node has a newer state; ContendedError when
        another one claims the mastership too; from a take-over also QuorumError, and `ready` is called when it is
        done.
        """
        stop, hurry = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            # asked twice: running jobs are left to the next master
            loop.add_signal_handler(number, lambda: hurry.set() if stop.is_set() else stop.set())
        mastership = self._mastership
        luxi = LuxiServer(self._paths, mastership.requests.handle)
        background: list[asyncio.Task[None]] = []
        edited = asyncio.Event()

        def tell(_: frozenset[str]) -> None:
            loop.call_soon_threadsafe(edited.set)

        watcher = FileWatcher([self._paths.local(paths.RAPI_USERS)], tell)
        try:
            if self._options.take_over:
                await self._take_over()
                is_won = True
            else:
                is_won = await self._try_to_win()
            await luxi.start()
            background.append(asyncio.create_task(notify.keep_telling(), name="service manager"))
            ready()
            if not is_won and not await self._win(stop):
                return 0
            await mastership.begin()
            watcher.start()
            users = UsersFile(self.state, mastership.committer, mastership.rpc)
            for name, work in (mastership.background() | {"users": users.keep(edited)}).items():
                background.append(asyncio.create_task(work, name=name))
                background[-1].add_done_callback(_told)
            background.append(asyncio.create_task(self._housekeeping(), name="housekeeping"))
            await self._until(stop)
            return EXIT_NOT_MASTER if mastership.leader.lost.is_set() and not stop.is_set() else 0
        except errors.ContendedError:
            if stop.is_set():
                return 0
            raise
        finally:
            watcher.stop()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._end_jobs(hurry)
            await mastership.distributor.stop()
            await luxi.close()
            await mastership.leader.close()
            await self._around.client.close()

    async def _take_over(self) -> None:
        """Win, and make this node the master in the configuration before anything else is done."""
        options = self._options
        try:
            await self._mastership.take_over(
                Uuid(self._me.uuid), seen_term=options.seen_term, no_voting=options.no_voting
            )
        except errors.StaleTermError as err:
            raise NotMasterError("wrong_state", err.message, hint=err.hint) from err
        log.info("took over in term %s", self._mastership.leader.term)

    async def _try_to_win(self) -> bool:
        """One claim. False: there is no majority now. Raises NotMasterError when this is a master of the past."""
        try:
            await self._mastership.claim(no_voting=self._options.no_voting)
        except errors.QuorumError as err:
            if self._mastership.leader.lost.is_set():
                raise  # this one cannot claim any more
            log.warning("not master yet: %s", err)
            return False
        except errors.StaleTermError as err:
            raise NotMasterError("wrong_state", err.message, hint=err.hint) from err
        log.info("master in term %s", self._mastership.leader.term)
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
        ending = asyncio.create_task(self._mastership.engine.stop(), name="end of the jobs")
        waiting = asyncio.create_task(hurry.wait(), name="hurry")
        await asyncio.wait({ending, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, waiting):
            task.cancel()
        await asyncio.gather(ending, waiting, return_exceptions=True)

    async def _until(self, stop: asyncio.Event) -> None:
        lost = self._mastership.leader.lost
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(lost.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if lost.is_set():
            log.error("this node is not the master any more; stopping")

    async def _housekeeping(self) -> None:
        while True:
            await asyncio.sleep(3600)
            memory.give_back()
            try:
                await self._mastership.engine.submissions.forget_old()
            except errors.GanetiError as err:
                log.warning("old submission keys stay: %s", err)


def _told(ended: asyncio.Task[None]) -> None:
    """What goes on in the background does not end by itself."""
    if not ended.cancelled() and ended.exception() is not None:
        log.error("%s has ended by an error in the program", ended.get_name(), exc_info=ended.exception())


def run(where: Paths, options: Options, ready: Callable[[], None]) -> int:
    """The daemon's main part, in the process that stays."""
    me = identity.load(where)
    if me is None:
        raise errors.PrereqError("environment_error", "this node is in no cluster", hint="gnt-cluster init creates one")
    clock = SystemClock()
    contest = Contest(clock, random.SystemRandom())
    return keep_claiming(lambda now: _try(where, me, now, ready), options, contest, clock)


def keep_claiming(attempt: Callable[[Options], int], options: Options, contest: Contest, clock: Clock) -> int:
    """The exit status of the last attempt.

    A mastership that the claim of another node has stopped or ended is claimed again, with this node's copy free in
    between: the other one may have failed too, and then there would be no master. If it has won, the next attempt
    says so.
    """
    while True:
        try:
            status = attempt(options)
        except errors.ContendedError as err:
            pause_s = contest.pause_s()
            if pause_s is None:
                raise
            why = str(err)
        else:
            if status != EXIT_NOT_MASTER:
                return status
            why = "it was won and lost"
            pause_s = contest.after_loss_s()
            # by now the configuration says that the master is here; if another one has changed that, it is over
            options = Options()
        log.warning("another node claims the mastership too; trying again in %.1f s: %s", pause_s, why)
        clock.sleep(pause_s)


def _try(where: Paths, me: identity.Identity, options: Options, ready: Callable[[], None]) -> int:
    """Once, with what this node's copy has now."""
    database = Database.open(where.local(paths.STATE_DB))
    try:
        formats.check(formats.parse(dict(database.rows(*formats.KEY[:1])).get(formats.KEY[1])))
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
