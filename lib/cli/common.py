"""Options that many commands have."""

from __future__ import annotations

from ganeti.ops.base import Cli, Priority
from ganeti.ops.verbs import CommandOption, flag, option

PRIORITIES = {priority.name.lower(): int(priority) for priority in sorted(Priority, reverse=True)}

ALWAYS = (
    CommandOption(dest="debug", flags=("-d", "--debug"), help="log more; twice: even more", kind="flag", counts=True),
    option("reason", "--reason", help="why this is done; kept with the job", metavar="REASON"),
)

_SUBMISSION = {
    "submit": flag("submit", "--submit", help="print the job's id and do not wait for its end"),
    "print_jobid": flag("print_jobid", "--print-jobid", help="print the job's id as the first line of output"),
    "dry_run": flag("dry_run", "--dry-run", help="do all checks, change nothing"),
    "priority": option(
        "priority",
        "--priority",
        help="how urgent the job is: low, normal or high",
        choices=tuple(PRIORITIES),
        default="normal",
        metavar="PRIORITY",
    ),
    "force": flag("force", "-f", "--force", help="for scripts that give it: nothing is asked"),
}
_FORCE = flag("force", "-f", "--force", help="do not ask for confirmation")
_YES = flag("yes_do_it", "--yes-do-it", help="submit the job even if the queue is drained")

SELECTORS = (
    flag("force_multiple", "--force-multiple", help="do not ask for confirmation for more than one instance"),
    flag("select_node", "--node", help="the arguments are nodes: take their primary and secondary instances"),
    flag("select_primary", "--primary", help="the arguments are nodes: take their primary instances"),
    flag("select_secondary", "--secondary", help="the arguments are nodes: take their secondary instances"),
    flag("select_node_tags", "--node-tags", help="the arguments are node tags: primary and secondary instances"),
    flag("select_pri_node_tags", "--pri-node-tags", help="the arguments are node tags: primary instances"),
    flag("select_sec_node_tags", "--sec-node-tags", help="the arguments are node tags: secondary instances"),
    flag("select_tags", "--tags", help="the arguments are instance tags"),
    flag("select_all", "--all", help="all instances; no arguments"),
    flag("select_instance", "--instance", help="the arguments are names of instances (the default)"),
)

NO_HEADERS = flag("no_headers", "--no-headers", help="no title line")
SEPARATOR = option("separator", "--separator", help="put this text between columns, no padding", metavar="TEXT")
UNITS = option(
    "units",
    "--units",
    help="unit of sizes: h (a fitting one), m, g or t",
    choices=("h", "m", "g", "t"),
    metavar="UNIT",
    default="h; m with --separator",
)
OUTPUT = option(
    "output", "-o", "--output", help="fields to show; with a + before the first: in addition", metavar="[+]FIELD,..."
)
VERBOSE = flag("verbose", "-v", "--verbose", help="words instead of signs for values that are missing")
FILTER = flag("filter", "-F", "--filter", help="the one argument is a query filter")
YES_DO_IT = flag("yes_do_it", "--yes-do-it", "--ya-rly", help="confirms that this is meant")


def of(cli: Cli) -> tuple[CommandOption, ...]:
    """The options of a derived command that are not fields of its operation."""
    extra = tuple(_SUBMISSION[name] for name in cli.common)
    if cli.confirm:
        extra += (_FORCE,)
    if cli.when_drained:
        extra += (_YES,)
    if cli.selectors:
        extra += SELECTORS
    return extra


PRIORITY = _SUBMISSION["priority"]
SUBMIT = _SUBMISSION["submit"]
PRINT_JOBID = _SUBMISSION["print_jobid"]
DRY_RUN = _SUBMISSION["dry_run"]
FORCE = _FORCE
