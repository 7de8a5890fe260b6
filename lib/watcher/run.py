"""One run of the watcher on this node."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec

from ganeti import errors, paths
from ganeti.host import files, starting
from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.paths import File, Paths
from ganeti.rpc import identity
from ganeti.watcher import hooks
from ganeti.watcher.group import GroupRun
from ganeti.watcher.jobs import PATIENCE_S, Client, Master
from ganeti.watcher.pause import paused_until

log = logging.getLogger(__name__)

EXIT_FAILURE, EXIT_NOT_MASTER, EXIT_SETUP = 1, 11, 12
#: of one node group's process, in seconds
GROUP_LIMIT_S = PATIENCE_S + 300
#: node groups that are looked at at the same time
GROUPS_AT_ONCE = 8


class Options(msgspec.Struct, frozen=True, kw_only=True):
    job_age_s: int = 6 * 3600  # jobs that ended longer ago are archived; below 0: all that have ended
    ignore_pause: bool = False
    node_group: str = ""  # uuid: only the part that concerns this group
    verify_disks: bool = True
    strict: bool = True
    debug: bool = False


class Watcher:
    """Everything it touches is handed in; `connect(patient)` makes a connection to the master of this node."""

    def __init__(
        self,
        where: Paths,
        options: Options,
        *,
        runner: Runner,
        clock: Clock,
        connect: Callable[[bool], Client],
        start: Callable[[str], None],
        own_program: str,
        environ: Mapping[str, str],
    ) -> None:
        """`connect`'s argument: whether to wait for a master daemon that does not answer yet.

        `start` starts a daemon by its name unless it runs; raises ExecError.
        """
        self._paths, self._options = where, options
        self._runner, self._clock = runner, clock
        self._connect, self._start = connect, start
        self._own_program, self._environ = own_program, environ

    def run(self) -> int:
        """The exit status. Raises GanetiError."""
        me = identity.load(self._paths)
        if me is None:
            log.debug("this host is in no cluster")
            return 0
        until = paused_until(self._paths, self._clock.time())
        if until is not None and not self._options.ignore_pause:
            log.debug("resting until %s", until)
            return 0
        lock = paths.watcher_lock(self._options.node_group) if self._options.node_group else paths.WATCHER_LOCK
        try:
            with self._locked(lock):
                if self._options.node_group:
                    return self._group(self._options.node_group)
                return self._node(me.node)
        except BlockingIOError:
            log.error("another watcher runs still")
            return EXIT_FAILURE

    @contextmanager
    def _locked(self, lock: File) -> Iterator[None]:
        local = self._paths.local(lock)
        os.makedirs(os.path.dirname(local), exist_ok=True)
        with files.locked(local, wait=False):
            yield

    # This node

    def _node(self, own_name: str) -> int:
        for daemon in starting.DAEMONS:
            if not daemon.on_master_only:
                self._start(daemon.name)
        hooks.run_all(self._paths, self._runner, self._environ)
        named = (files.read_text(self._paths.local(paths.ssconf("master_node"))) or "").strip()
        if named != own_name:
            log.debug("the master is %s", named or "not known")
            return 0
        client = self._master_client()
        for daemon in starting.DAEMONS:
            if daemon.on_master_only:
                self._start_on_master(daemon)
        master = Master(client, self._clock)
        found, is_drained = master.values("master_node", "drain_flag")
        if found != own_name:
            log.error("this node is not the master, but %s", found)
            return EXIT_NOT_MASTER
        archived = master.archive(self._options.job_age_s)
        if archived:
            log.info("archived %s jobs", archived)
        if is_drained:
            log.info("the queue takes no jobs")
            return 0
        groups = [
            (row["uuid"], row["name"]) for row in master.rows("group", ("uuid", "name", "node_cnt")) if row["node_cnt"]
        ]
        with ThreadPoolExecutor(GROUPS_AT_ONCE, "group") as pool:
            went_well = list(pool.map(self._group_process, groups))
        self._write_status([uuid for uuid, _ in groups])
        return 0 if all(went_well) else EXIT_FAILURE

    def _start_on_master(self, daemon: starting.Daemon) -> None:
        try:
            self._start(daemon.name)
        except errors.ExecError as err:
            if daemon.is_needed:
                raise
            log.error("%s", err)

    def _master_client(self) -> Client:
        client = self._connect(False)
        try:
            client.call("QueryConfigValues", ["master_node"])
        except errors.NoMasterError as err:
            log.warning("the master daemon does not answer, starting it: %s", err.message)
            self._start(starting.MASTERD)
            client = self._connect(True)
        return client

    def _group_process(self, group: tuple[str, str]) -> bool:
        """In a process of its own: what goes wrong in one group keeps no other from being looked after."""
        uuid, name = group
        argv = [self._own_program, "--node-group", uuid, "--ignore-pause"]
        argv += ["--no-verify-disks"] if not self._options.verify_disks else []
        argv += ["--no-strict"] if not self._options.strict else []
        argv += ["--debug"] if self._options.debug else []
        try:
            self._runner.run(argv, timeout_s=GROUP_LIMIT_S)
        except errors.CommandFailed as err:
            log.error("node group %s: %s", name, err)
            return False
        return True

    def _write_status(self, groups: list[str]) -> None:
        """All groups' lines as one file, as it was before there were groups."""
        lines = [files.read_text(self._paths.local(paths.watcher_status(uuid))) or "" for uuid in groups]
        files.write(self._paths, paths.INSTANCE_STATUS, "".join(lines).encode())

    # One group

    def _group(self, uuid: str) -> int:
        master = Master(self._connect(False), self._clock)
        names = [row["name"] for row in master.rows("group", ("name",), ["=", "uuid", uuid])]
        if not names:
            log.error("there is no node group %s", uuid)
            return EXIT_FAILURE
        GroupRun(
            self._paths,
            uuid,
            names[0],
            master,
            self._clock,
            verify_disks=self._options.verify_disks,
            strict=self._options.strict,
        ).run()
        return 0
