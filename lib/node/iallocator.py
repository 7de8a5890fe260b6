"""Runs instance allocators that are programs."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator

from ganeti import errors, paths
from ganeti.calls.iallocator import NAME, IallocatorReply, IallocatorRun
from ganeti.host import files
from ganeti.host.trust import why_not_trusted
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths

#: seconds; less than the caller waits
LIMIT_S = 240.0
#: kept of what it complains
MAX_COMPLAINTS = 4096
_MAX_WRITTEN = 64 * 1024 * 1024
_OPTION = re.compile(r"--[a-zA-Z0-9][a-zA-Z0-9_-]*(?:=[^\x00\n]*)?\Z")


@handles(IallocatorRun)
def run(call: IallocatorRun, env: NodeEnv, context: Context) -> IallocatorReply:
    if not NAME.match(call.name):
        raise errors.NodeFailure(f"not the name of an allocator: {call.name[:80]!r}")
    bad = [option for option in call.options if not _OPTION.match(option)]
    if bad:
        raise errors.NodeFailure(f"not an option of an allocator: {bad[0][:80]!r}")
    program = _program(call.name, env.paths)
    if problem := why_not_trusted(program, env.paths):
        raise errors.NodeFailure(f"allocator {call.name} is not run: {problem}", hint="it would be run as root")
    files.make_directory(env.paths, paths.RUN_DIR)
    with (
        tempfile.NamedTemporaryFile(prefix="ganeti-iallocator.", dir=env.paths.local(paths.RUN_DIR)) as request,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as complaints,
    ):
        request.write(call.request.encode())
        request.flush()
        try:
            status = env.runner.run_logged(
                (program, request.name, *call.options),
                output=output,
                complaints=complaints,
                timeout_s=LIMIT_S,
                environment=env.runner.environment(),
                cwd="/",
                stop=context.stop,
                max_output=_MAX_WRITTEN,
            )
        except errors.CommandFailed as err:
            raise errors.NodeFailure(f"allocator {call.name}: {err}") from err
        output.seek(0)
        complaints.seek(0)
        return IallocatorReply(
            status=status,
            output=output.read().decode("utf-8", "replace"),
            complaints=complaints.read(MAX_COMPLAINTS).decode("utf-8", "replace").strip(),
        )


def is_there(name: str, where: Paths) -> bool:
    return bool(find(name, where))


def find(name: str, where: Paths) -> str:
    """Its local path; empty: there is none."""
    if not NAME.match(name):
        return ""
    found = (f"{directory}/{name}" for directory in _directories(where))
    return next((path for path in found if _can_run(path)), "")


def _directories(where: Paths) -> Iterator[str]:
    """A virtual node has those of its own root first, then the host's."""
    for logical in where.iallocator_search_path:
        yield where.local(logical)
    if where.is_virtual:
        yield from where.iallocator_search_path


def _program(name: str, where: Paths) -> str:
    if found := find(name, where):
        return found
    searched = ", ".join(where.iallocator_search_path)
    raise errors.NodeFailure(
        f"there is no allocator {name!r} on this node", hint=f"install it in one of {searched}, or use builtin"
    )


def _can_run(path: str) -> bool:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(mode) and os.access(path, os.X_OK)
