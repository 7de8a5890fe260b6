"""The scripts that run on this node, each under the request that it runs for.

A script is written down before it begins, and crossed out when it has ended. What is still written down when the
daemon starts, or when its request is repeated or taken back, belongs to a daemon that was killed: it is ended first,
so that no script works beside its own repeat or on disks that are being removed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ganeti import errors, paths
from ganeti.host import files, groups
from ganeti.paths import Paths
from ganeti.wire import codec

log = logging.getLogger(__name__)

_ENDING = ".json"


@contextmanager
def recorded(where: Paths, request: str) -> Iterator[Callable[[int], None]]:
    """Yields what `Runner.run_logged` calls with the script's process before the script begins."""
    end(where, request)
    path = _record(where, request)

    def begun(pid: int) -> None:
        files.make_directory(where, paths.SCRIPTS_DIR)
        # it need not survive a power failure: no script does
        files.write_atomic(path, codec.encode(codec.to_builtins(groups.identify(pid))), mode=0o600, durable=False)

    try:
        yield begun
    finally:
        _cross_out(path)


def end(where: Paths, request: str) -> None:
    """Whatever runs for that request ends now. Raises ExecError when it does not."""
    path = _record(where, request)
    text = files.read_text(path)
    if text is None:
        return
    try:
        leader = codec.decode(text.encode(), groups.Leader)
    except codec.CodecError as err:
        raise errors.ExecError(f"the record of a running script cannot be read: {err}", hint=f"look at {path}") from err
    if groups.end(leader):
        log.warning("ended a script of request %s that an earlier daemon had left running", request)
    _cross_out(path)


def end_all(where: Paths) -> None:
    """At the daemon's start: nobody waits for what an earlier one left running. What does not end is logged."""
    try:
        names = os.listdir(where.local(paths.SCRIPTS_DIR))
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith("."):  # half written
            _cross_out(where.local(f"{paths.SCRIPTS_DIR.path}/{name}"))
            continue
        try:
            end(where, name.removesuffix(_ENDING))
        except errors.ExecError as err:
            log.error("%s", err)


def _record(where: Paths, request: str) -> str:
    if "/" in request or request.startswith("."):
        raise errors.NodeFailure(f"not a request id: {request!r}")
    return where.local(f"{paths.SCRIPTS_DIR.path}/{request}{_ENDING}")


def _cross_out(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
