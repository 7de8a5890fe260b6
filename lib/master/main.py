"""The command line of ganeti-masterd."""

from __future__ import annotations

import optparse
import sys

from ganeti import errors, settings
from ganeti.host import memory
from ganeti.host.accounts import become
from ganeti.host.daemon import Ready, option_parser, run_daemon
from ganeti.master import daemon
from ganeti.paths import Paths

NAME = "ganeti-masterd"
WARNING = (
    "Without a vote, changes that only other candidates know are lost and two masters can act at the same time,\n"
    "unless every other candidate is down and stays down."
)


def make_parser() -> optparse.OptionParser:
    parser = option_parser(
        NAME,
        "The master daemon: holds the state, the job queue and the locks of the cluster.",
        usage="%prog [-f] [-d] [--take-over [--seen-term=TERM]] [--no-voting]",
    )
    parser.add_option(
        "--take-over",
        action="store_true",
        default=False,
        help="become master instead of another node (master-failover)",
    )
    parser.add_option("--seen-term", type="int", metavar="TERM", default=0, help="take over only from this mastership")
    parser.add_option("--no-voting", action="store_true", default=False, help="become master without the candidates")
    parser.add_option("--yes-do-it", action="store_true", default=False, help="answer the question of --no-voting")
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = make_parser()
    options, arguments = parser.parse_args(argv)
    if arguments:
        parser.error("takes no arguments")
    if options.no_voting and not options.yes_do_it and not _is_confirmed():
        return 1
    wanted = daemon.Options(no_voting=options.no_voting, take_over=options.take_over, seen_term=options.seen_term)
    where = Paths.from_environment()

    def body(ready: Ready) -> int:
        memory.keep_little()
        become(settings.MASTERD_USER, where)
        return daemon.run(where, wanted, ready)

    try:
        return run_daemon(NAME, "master-daemon", where, body, foreground=options.foreground, debug=options.debug)
    except errors.GanetiError as err:
        sys.stderr.write(f"{NAME}: {err}\n")
        return err.exit_status


def _is_confirmed() -> bool:
    sys.stderr.write(f"{WARNING}\nType YES to go on: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "YES"
