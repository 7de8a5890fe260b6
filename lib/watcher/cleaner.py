"""ganeti-cleaner: removes what has become old. Run by cron every night, on every node."""

from __future__ import annotations

import glob
import logging
import optparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence

from ganeti import errors, paths, settings
from ganeti.host import files, tls
from ganeti.host.clock import Clock, SystemClock
from ganeti.luxi.client import Client as LuxiClient
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.watcher.jobs import Client

log = logging.getLogger(__name__)

NAME = "ganeti-cleaner"
#: what is older is removed
AGE_S = 21 * 86400.0
#: logs of earlier runs that are kept
KEPT_LOGS = 50
MODES = ("node", "master")


class Cleaner:
    """`connect` makes a connection to the master daemon of this node."""

    def __init__(self, where: Paths, clock: Clock, connect: Callable[[], Client]) -> None:
        self._paths, self._clock, self._connect = where, clock, connect

    def run(self, modes: Sequence[str]) -> None:
        """Raises GanetiError, OSError. A host that is in no cluster, or not the master, is left alone."""
        me = identity.load(self._paths)
        if me is None:
            return
        if "node" in modes:
            self.clean_node()
        master = (files.read_text(self._paths.local(paths.ssconf("master_node"))) or "").strip()
        if "master" in modes and master == me.node:
            self.clean_master()

    def clean_node(self) -> None:
        """State of node groups that the watcher does not look after any more, and keys that have expired."""
        limit = self._clock.time() - AGE_S
        data = glob.escape(self._paths.local(paths.DATA_DIR))
        for path in (*glob.glob(f"{data}/watcher.*.data"), *glob.glob(f"{data}/watcher.*.instance-status")):
            if os.stat(path).st_mtime < limit:
                log.info("removing %s", path)
                os.unlink(path)
        for directory in glob.glob(glob.escape(self._paths.local(paths.CRYPTO_DIR)) + "/*"):
            certificate = files.read_text(f"{directory}/cert")
            if certificate is not None and tls.ends(certificate) < self._clock.time():
                log.info("removing %s: its certificate has ended", directory)
                shutil.rmtree(directory)

    def clean_master(self) -> None:
        dropped = self._connect().call("PurgeArchive", AGE_S)
        log.info("dropped %s archived jobs", dropped)


def open_log(where: Paths, clock: Clock) -> logging.Handler:
    """A log of this run; only the newest ones are kept. Raises OSError."""
    files.make_directory(where, paths.CLEANER_LOG_DIR)
    directory = where.local(paths.CLEANER_LOG_DIR)
    logs = sorted(glob.glob(f"{glob.escape(directory)}/cleaner-*.log"))
    for path in logs[: max(0, len(logs) - KEPT_LOGS + 1)]:
        os.unlink(path)
    stamp = time.strftime("%Y-%m-%dT%H_%M_%S", time.localtime(clock.time()))
    return logging.FileHandler(f"{directory}/cleaner-{stamp}.{os.getpid()}.log", encoding="utf-8")


def make_parser() -> optparse.OptionParser:
    return optparse.OptionParser(
        prog=NAME,
        usage="%prog [node|master]",
        version=f"{NAME} (ganeti {settings.VERSION}) {settings.VERSION}",
        description="Removes what is older than 21 days: on a node state of the watcher and expired keys, on the master"
        " archived jobs. Without an argument it does both.",
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser()
    _, words = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    if len(words) > 1 or not set(words) <= set(MODES):
        parser.error("the argument is node or master")
    where, clock = Paths.from_environment(), SystemClock()
    try:
        if identity.load(where) is None:
            return 0
        handler = open_log(where, clock)
        handler.setFormatter(logging.Formatter("%(asctime)s: %(levelname)s %(message)s"))
        logging.getLogger().addHandler(handler)
        logging.getLogger().setLevel(logging.INFO)
        Cleaner(where, clock, lambda: LuxiClient(paths=where)).run(words or MODES)
    except (errors.GanetiError, OSError) as err:
        log.error("%s", err)
        sys.stderr.write(f"{NAME}: {err}\n")
        return 1
    return 0
