"""OS definitions of this node and their scripts."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Mapping
from typing import IO

from ganeti import errors, paths
from ganeti.calls.base import Time
from ganeti.calls.instance import GuestSpec
from ganeti.calls.os import OsCreate, OsDefinition, OsDiagnose, OsRename
from ganeti.host import files
from ganeti.node import osdef, osenv, scripts, volumes
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths

log = logging.getLogger(__name__)

_TAIL_LINES = 20
_TAIL_BYTES = 32768


@handles(OsDiagnose)
def diagnose(call: OsDiagnose, env: NodeEnv, context: Context) -> tuple[OsDefinition, ...]:
    return tuple(osdef.judge(_look(name, logical, local)) for name, logical, local in _places(env.paths))


@handles(OsCreate)
def create(call: OsCreate, env: NodeEnv, context: Context) -> None:
    spec = call.spec
    definition, directory = _usable(spec, env.paths)
    if "create" not in definition.scripts:
        raise errors.NodeFailure(
            f"OS {definition.name} has only the script create_untrusted, which needs a helper machine",
            hint="use an OS definition with a create script",
        )
    disks = _open_disks(spec, env)
    environment = osenv.create(spec, definition, disks, reinstall=call.reinstall, debug=call.debug)
    title = f"add-{spec.instance.os}-{spec.instance.name}"
    problem = _run("create", title, environment, request=call.request, directory=directory, env=env, context=context)
    if problem:
        raise errors.NodeFailure(f"OS create script of {spec.instance.os} failed: {problem}")


@handles(OsRename)
def rename(call: OsRename, env: NodeEnv, context: Context) -> str:
    spec = call.spec
    definition, directory = _usable(spec, env.paths)
    if "rename" not in definition.scripts:
        return f"OS {definition.name} has no script rename: the instance knows only its old name"
    disks = _open_disks(spec, env)
    environment = osenv.rename(spec, definition, disks, old_name=call.old_name, debug=call.debug)
    title = f"rename-{spec.instance.os}-{call.old_name}-{spec.instance.name}"
    problem = _run("rename", title, environment, request=call.request, directory=directory, env=env, context=context)
    return f"OS rename script of {spec.instance.os} failed: {problem}" if problem else ""


def _places(node_paths: Paths) -> list[tuple[str, str, str]]:
    """(name, logical path, local path) of each OS directory; the first of a name hides the others.

    A virtual node sees those of its own root first, then the host's.
    """
    directories = [(logical, node_paths.local(logical)) for logical in node_paths.os_search_path]
    if node_paths.is_virtual:
        directories += [(logical, logical) for logical in node_paths.os_search_path]
    found: dict[str, tuple[str, str, str]] = {}
    for logical, local in directories:
        try:
            names = os.listdir(local)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as err:
            raise errors.NodeFailure(f"OS directory {logical} cannot be read: {err.strerror}") from err
        for name in names:
            if osdef.NAME.match(name) and os.path.isdir(f"{local}/{name}"):
                found.setdefault(name, (name, f"{logical}/{name}", f"{local}/{name}"))
    return [found[name] for name in sorted(found)]


def _look(name: str, logical: str, local: str) -> osdef.Found:
    scripts = {script: _why_not_run(f"{local}/{script}") for script in osdef.SCRIPTS}
    texts: dict[str, str | None] = {}
    for file in ("ganeti_api_version", "variants.list", "parameters.list", "hypervisors"):
        try:
            texts[file] = files.read_text(f"{local}/{file}")
        except OSError as err:
            log.warning("OS %s: %s cannot be read: %s", name, file, err.strerror)
            texts[file] = None
    return osdef.Found(
        name=name,
        path=logical,
        api_version=texts["ganeti_api_version"],
        variants=texts["variants.list"],
        parameters=texts["parameters.list"],
        hypervisors=texts["hypervisors"],
        scripts={script: problem for script, problem in scripts.items() if problem is not None},
    )


def _why_not_run(path: str) -> str | None:
    """None: not there; else why it cannot be run, or empty. Links are followed."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "is a link to nothing" if os.path.lexists(path) else None
    except OSError as err:
        return f"cannot be looked at: {err.strerror}"
    if not stat.S_ISREG(mode):
        return "is not a regular file"
    return "" if mode & stat.S_IXUSR else "is not executable"


def _usable(spec: GuestSpec, node_paths: Paths) -> tuple[OsDefinition, str]:
    """The instance's definition and its local directory. Raises NodeFailure."""
    name = osdef.split_name(spec.instance.os)[0]
    place = next((place for place in _places(node_paths) if place[0] == name), None)
    if place is None:
        raise errors.NodeFailure(
            f"Directory for OS {name} not found in search path",
            hint="looked in " + ", ".join(node_paths.os_search_path),
        )
    definition = osdef.judge(_look(*place))
    problem = osdef.why_not_usable(definition, spec.instance.os, spec.instance.hypervisor)
    if problem:
        raise errors.NodeFailure(problem)
    return definition, place[2]


def _open_disks(spec: GuestSpec, env: NodeEnv) -> list[str]:
    """Opens all disks; they stay open. Local paths, as scripts need them."""
    found = []
    for disk, path in zip(spec.instance.disks, volumes.open_all(spec.instance, env), strict=True):
        found.append(volumes.local_path(disk, path, env))
    return found


def _run(
    script: str,
    title: str,
    environment: Mapping[str, str],
    *,
    request: str,
    directory: str,
    env: NodeEnv,
    context: Context,
) -> str:
    """Runs it with its log; what went wrong with the log's end, or nothing."""
    stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.gmtime(env.clock.time()))
    logical = f"{paths.OS_LOG_DIR.path}/{re.sub(r'[^-+.0-9A-Za-z_]', '_', title)}-{stamp}.log"
    files.make_directory(env.paths, paths.OS_LOG_DIR)
    local = env.paths.local(logical)
    why = ""
    try:
        with (
            open(os.open(local, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640), "wb") as output,
            scripts.recorded(env.paths, request) as begun,
        ):
            status = env.runner.run_logged(
                (f"{directory}/{script}",),
                output=output,
                timeout_s=Time.LONG.value,
                # a virtual node's processes are known by its two variables
                environment=dict(environment) | env.paths.environment(),
                cwd=directory,
                stop=context.stop,
                begun=begun,
            )
    except errors.CommandFailed as err:
        why = str(err)
    except OSError as err:
        raise errors.NodeFailure(f"the log {logical} cannot be written: {err.strerror}") from err
    else:
        why = f"exit status {status}" if status > 0 else f"signal {-status}" if status else ""
    if not why:
        return ""
    with open(local, "rb") as written:
        end = _tail(written)
    return f"{why}; last lines of {logical}:\n{end}" if end else f"{why}; {logical} is empty"


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
