"""Runs the administrators' hook scripts of this node."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Mapping

from ganeti import errors, paths
from ganeti.calls.node import HookResult, HooksRun
from ganeti.host.trust import why_not_trusted
from ganeti.node import scripts as scripts_running
from ganeti.node.base import Context, NodeEnv, handles

#: of all scripts of a directory together, seconds; less than the caller waits
LIMIT_S = 880.0
#: kept of a script's output
MAX_OUTPUT = 4096
_MAX_WRITTEN = 64 * 1024 * 1024

SKIPPED, FAILED, SUCCEEDED = 0, 1, 2

_SCRIPT = re.compile(r"[a-zA-Z0-9_-]+\Z")
_HOOKS_PATH = re.compile(r"[a-z0-9-]{1,64}\Z")
_PHASES = ("pre", "post")
#: the master's word is enough for values; it does not get to choose what a loader or a shell listens to
_VARIABLE = re.compile(r"GANETI_[A-Za-z0-9_.+-]{1,200}\Z")
MAX_VARIABLES = 20_000
#: hook scripts are promised this one
_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
_DATA_DIR = "GANETI_DATA_DIR"


@handles(HooksRun)
def run(call: HooksRun, env: NodeEnv, context: Context) -> tuple[HookResult, ...]:
    if not _HOOKS_PATH.match(call.path) or call.phase not in _PHASES:
        raise errors.NodeFailure(f"no such hooks: {call.path[:80]!r}, phase {call.phase[:80]!r}")
    _check_variables(call.environment)
    name = f"{call.path}-{call.phase}.d"
    directory = f"{env.paths.local(paths.HOOKS_DIR)}/{name}"
    try:
        scripts = sorted((entry for entry in os.listdir(directory) if entry[0] != "."), key=os.fsencode)
    except FileNotFoundError:
        return ()
    environment = _environment(call.environment, env)
    limit = env.clock.monotonic() + LIMIT_S
    results = []
    for script in scripts:
        if not _is_script(directory, script):
            results.append(HookResult(script=f"{name}/{script}", status=SKIPPED, output=""))
            continue
        if problem := why_not_trusted(f"{directory}/{script}", env.paths):
            results.append(HookResult(script=f"{name}/{script}", status=FAILED, output=f"not run: {problem}"))
            continue
        left = limit - env.clock.monotonic()
        # should this daemon be killed, the script ends with its next start, or before the call is repeated
        with scripts_running.recorded(env.paths, call.request) as begun:
            status, output = _run_one(f"{directory}/{script}", environment, env, context, left_s=left, begun=begun)
        results.append(HookResult(script=f"{name}/{script}", status=status, output=output))
    return tuple(results)


def _check_variables(untrusted: Mapping[str, str]) -> None:
    if len(untrusted) > MAX_VARIABLES:
        raise errors.NodeFailure(f"{len(untrusted)} variables are too many for hooks")
    for name, value in untrusted.items():
        if not _VARIABLE.match(name) or "\0" in value:
            raise errors.NodeFailure(f"{name[:80]!r} is not a variable of hooks, or its value is none")


def _is_script(directory: str, name: str) -> bool:
    if not _SCRIPT.match(name):
        return False
    path = f"{directory}/{name}"
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:  # a link to nowhere
        return False
    return stat.S_ISREG(mode) and os.access(path, os.X_OK)


def _environment(given: Mapping[str, str], env: NodeEnv) -> dict[str, str]:
    """What was given, with PATH; on a virtual node its two variables and its own data directory."""
    complete = dict(given) | {"PATH": _PATH} | env.paths.environment()
    if _DATA_DIR in complete:
        complete[_DATA_DIR] = env.paths.local(complete[_DATA_DIR])
    return complete


def _run_one(
    path: str,
    environment: Mapping[str, str],
    env: NodeEnv,
    context: Context,
    *,
    left_s: float,
    begun: Callable[[int], None],
) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output:
        why = ""
        try:
            if left_s <= 0:
                raise errors.CommandFailed((path,), None, "", why=f"no time left of {LIMIT_S:g} s")
            if context.stop.is_set():
                raise errors.CommandFailed((path,), None, "", why="not run: the ones before it were stopped")
            code = env.runner.run_logged(
                (path,),
                output=output,
                timeout_s=left_s,
                environment=environment,
                cwd="/",
                stop=context.stop,
                max_output=_MAX_WRITTEN,
                begun=begun,
            )
            status = SUCCEEDED if code == 0 else FAILED
        except errors.CommandFailed as err:
            status, why = FAILED, f"\n{err}"
        output.seek(0)
        text = output.read(MAX_OUTPUT).decode("utf-8", "replace")
    return status, (text + why).strip()
