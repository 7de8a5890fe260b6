"""ganeti-daemons: starts and stops the daemons of this node, for boot scripts and for people."""

from __future__ import annotations

import optparse
import os
import sys
from collections.abc import Callable, Sequence

import msgspec

from ganeti import errors, paths, settings
from ganeti.host import files, running, starting
from ganeti.host.starting import Daemon
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.store import reading
from ganeti.wire import codec

NAME = "ganeti-daemons"
ACTIONS = ("start", "stop", "restart", "status", "reopen", "wanted")
#: of the master daemon where it is not wanted: that is how it should be
_NOT_MASTER = 11
#: of `wanted`: it has no place on this node
EXIT_UNWANTED = 1
#: of `status`: one that should run does not
EXIT_DOWN = 3


class _Recorded(msgspec.Struct, frozen=True):
    """Of the cluster's row, whatever else a version has in it."""

    master_node: str


class Control:
    """`start` and `stop` act on one daemon of this node by its name; `tell` gets what people should know."""

    def __init__(
        self,
        where: Paths,
        *,
        start: Callable[[str], None],
        stop: Callable[[str], bool],
        is_running: Callable[[str], bool],
        reopen: Callable[[str], bool],
        tell: Callable[[str], None],
    ) -> None:
        self._paths = where
        self._start, self._stop, self._is_running, self._tell = start, stop, is_running, tell
        self._reopen = reopen

    def run(self, action: str, names: Sequence[str]) -> int:
        """The exit status. Raises ExecError. A host in no cluster has nothing to start: that is no error."""
        chosen = [daemon for daemon in starting.DAEMONS if not names or daemon.name in names]
        if action == "wanted":
            return 0 if all(self._is_wanted(daemon) for daemon in chosen) else EXIT_UNWANTED
        if action == "reopen":
            for daemon in chosen:
                if self._reopen(daemon.name):
                    self._tell(f"{daemon.name} opens its log anew")
        if action in ("stop", "restart"):
            for daemon in reversed(chosen):
                if self._stop(daemon.name):
                    self._tell(f"{daemon.name} stopped")
        if action in ("start", "restart"):
            if identity.load(self._paths) is None:
                self._tell("this host is in no cluster: nothing to start")
                return 0
            for daemon in chosen:
                self._begin(daemon)
        return self._status(chosen) if action == "status" else 0

    def _is_wanted(self, daemon: Daemon) -> bool:
        me = identity.load(self._paths)
        if me is None:
            return False
        # somebody asks for it with arguments: to take over, for example
        if not daemon.on_master_only or os.path.exists(self._paths.local(paths.once_file(daemon.name))):
            return True
        named = (files.read_text(self._paths.local(paths.ssconf("master_node"))) or "").strip()
        return not named or named == me.node or self._is_recorded(me.uuid)

    def _is_recorded(self, uuid: str) -> bool:
        """As master in this node's copy of the state, if it has one: the file comes a little later."""
        try:
            rows = reading.look_rows(self._paths.local(paths.STATE_DB), "object", prefix="cluster/")
            return any(codec.unpack(value.encode(), _Recorded).master_node == uuid for _, value in rows)
        except (errors.StoreError, codec.CodecError):
            return False  # the daemon's own start tells what is wrong with it

    def _begin(self, daemon: Daemon) -> None:
        # where another node is the master, the whole program need not be loaded to hear that
        if self._is_running(daemon.name) or not self._is_wanted(daemon):
            return
        try:
            self._start(daemon.name)
        except errors.ExecError as err:
            cause = err.__cause__
            if daemon.on_master_only and isinstance(cause, errors.CommandFailed) and cause.status == _NOT_MASTER:
                return
            raise
        self._tell(f"{daemon.name} started")

    def _status(self, chosen: Sequence[Daemon]) -> int:
        is_complete = True
        for daemon in chosen:
            runs = self._is_running(daemon.name)
            is_complete = is_complete and (runs or daemon.on_master_only)
            self._tell(f"{daemon.name} {'runs' if runs else 'does not run'}")
        return 0 if is_complete else EXIT_DOWN


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def make_parser() -> optparse.OptionParser:
    known = [daemon.name for daemon in starting.DAEMONS]
    return optparse.OptionParser(
        prog=NAME,
        usage="%prog {" + "|".join(ACTIONS) + "} [daemon...]",
        version=f"{NAME} (ganeti {settings.VERSION}) {settings.VERSION}",
        description="Starts or stops the daemons of this node, or tells which run (exit status"
        f" {EXIT_DOWN}: one is missing). Without names: all of {', '.join(known)}. The master daemon ends at once on a"
        " node that is not the master; that is no error. `reopen` makes them write into new log files, after the old"
        " ones were moved away. `wanted` tells by the exit status whether a daemon has its place on this node.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    known = [daemon.name for daemon in starting.DAEMONS]
    parser = make_parser()
    _, words = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    if not words or words[0] not in ACTIONS:
        parser.error("the first word is one of " + ", ".join(ACTIONS))
    unknown = [word for word in words[1:] if word not in known]
    if unknown:
        parser.error(f"there is no daemon {unknown[0]}, only " + ", ".join(known))
    where = Paths.from_environment()
    control = Control(
        where,
        start=lambda name: starting.start(where, name),
        stop=lambda name: running.stop(where, name),
        is_running=lambda name: running.is_running(where, name),
        reopen=lambda name: running.reopen_log(where, name),
        tell=_say,
    )
    try:
        return control.run(words[0], words[1:])
    except errors.GanetiError as err:
        sys.stderr.write(f"{NAME}: {err}\n")
        return 1
