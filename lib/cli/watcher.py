"""gnt-cluster watcher."""

from __future__ import annotations

import time

from ganeti import errors
from ganeti.cli.session import Session as OwnSession
from ganeti.model.types import parse_span
from ganeti.ops.verbs import Argument, Call, Session, verb


@verb(
    "gnt-cluster",
    "watcher",
    arguments=(
        Argument(name="action", choices=("pause", "continue", "info")),
        Argument(name="timespan", least=0),
    ),
)
def watcher(session: Session, call: Call) -> int:
    """Let the watcher rest for a while, on all nodes, let it go on, or tell whether it rests.

    pause needs the time: a whole number with s, m, h, d or w after it, such as 1h. While the watcher rests nothing
    starts what should run but does not.
    """
    assert isinstance(session, OwnSession), session
    action, *more = call.arguments
    if (action == "pause") != bool(more):
        wanted = "how long it shall rest, such as 1h" if action == "pause" else "no time"
        raise errors.PrereqError("wrong_input", f"{action} needs {wanted}")
    now = session.world.clock.time()
    if action == "continue":
        session.call("SetWatcherPause", None)
        session.out("The watcher is no longer paused.")
        return 0
    if action == "pause":
        until = session.call("SetWatcherPause", now + parse_span(more[0]))
    else:
        (until,) = session.call("QueryConfigValues", ["watcher_pause"])
    if until is None or until <= now:
        session.out("The watcher is not paused.")
    else:
        session.out(f"The watcher is paused until {time.ctime(until)}.")
    return 0
