"""Command line of ganeti-watcher."""

from __future__ import annotations

import logging
import optparse
import os
import sys
from collections.abc import Sequence

from ganeti import errors, settings
from ganeti.host import starting
from ganeti.host.clock import SystemClock
from ganeti.host.daemon import set_up_logging
from ganeti.host.run import HostRunner
from ganeti.luxi.client import Client
from ganeti.model.types import parse_span
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.watcher.run import EXIT_FAILURE, EXIT_SETUP, Options, Watcher

log = logging.getLogger(__name__)

NAME = "ganeti-watcher"
AGE = "6h"


def make_parser() -> optparse.OptionParser:
    parser = optparse.OptionParser(
        prog=NAME,
        version=f"{NAME} (ganeti {settings.VERSION}) {settings.VERSION}",
        description="Runs from cron, on every node: starts daemons and instances that should run but do not, activates"
        " disks after a node's reboot, archives old jobs. gnt-cluster watcher pause makes it rest.",
    )
    parser.add_option("-d", "--debug", action="store_true", default=False, help="log more, to standard error too")
    parser.add_option(
        "-A", "--job-age", default=AGE, metavar="AGE", help=f"archive jobs that ended longer ago; or all ({AGE})"
    )
    parser.add_option("--ignore-pause", action="store_true", default=False, help="run although it should rest")
    parser.add_option("--node-group", default="", metavar="UUID", help="only the part that concerns this node group")
    parser.add_option(
        "--no-verify-disks", dest="verify_disks", action="store_false", default=True, help="do not look for bad disks"
    )
    parser.add_option(
        "--no-strict", dest="strict", action="store_false", default=True, help="look only at disks nobody works on"
    )
    parser.add_option("--wait-children", action="store_true", help="it always waits: for cron files that have it")
    parser.add_option("--no-wait-children", action="store_true", help=optparse.SUPPRESS_HELP)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser()
    given, words = parser.parse_args(list(sys.argv[1:] if argv is None else argv))
    if words:
        parser.error("there are no arguments")
    try:
        options = Options(
            job_age_s=-1 if given.job_age == "all" else parse_span(given.job_age),
            ignore_pause=given.ignore_pause,
            node_group=given.node_group,
            verify_disks=given.verify_disks,
            strict=given.strict,
            debug=given.debug,
        )
    except errors.UnitParseError as err:
        parser.error(str(err))
    where = Paths.from_environment()
    if identity.load(where) is None:
        return 0  # cron runs it on every host that has the package: no log, no complaint
    try:
        set_up_logging(NAME, "watcher", where, debug=options.debug, to_stderr=options.debug)
    except OSError as err:
        sys.stderr.write(f"{NAME}: cannot write the log: {err}\n")
        return EXIT_FAILURE
    runner = HostRunner(where)
    watcher = Watcher(
        where,
        options,
        runner=runner,
        clock=SystemClock(),
        connect=lambda patient: Client(paths=where, wait_for_master=patient),
        start=lambda daemon: starting.start(where, daemon),
        own_program=starting.program(NAME),
        environ=dict(os.environ),
    )
    return guarded(watcher)


def guarded(watcher: Watcher) -> int:
    """The exit status; what went wrong is in the log."""
    try:
        return watcher.run()
    except (errors.JobQueueDrainError, errors.JobQueueFull) as err:
        log.warning("%s", err)
        return 0
    except errors.ResolverError as err:
        log.error("%s", err)
        return EXIT_SETUP
    except (errors.GanetiError, OSError) as err:
        log.error("%s", err)
        return EXIT_FAILURE
    except Exception:  # the border of main()
        log.exception("ended in a way nobody thought of")
        return EXIT_FAILURE
