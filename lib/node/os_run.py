"""OS definitions as they lie on this node, and how their scripts are run."""

from __future__ import annotations

import logging
import os
import re
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Self

from ganeti import errors, paths
from ganeti.calls.instance import GuestSpec
from ganeti.calls.os import OsDefinition
from ganeti.host import files, trust
from ganeti.host.script import Input, Output
from ganeti.node import osdef, scripts, volumes
from ganeti.node.base import NodeEnv
from ganeti.paths import Paths

log = logging.getLogger(__name__)

_VARIABLE = re.compile(r"[A-Z_][A-Za-z0-9_.+-]{0,200}\Z")
_TEXTS = ("ganeti_api_version", "variants.list", "parameters.list", "hypervisors")
_TAIL_LINES = 20
_TAIL_BYTES = 32768
#: how long a verify script may think, in seconds
_VERIFY_S = 60.0


def every(node_paths: Paths) -> tuple[OsDefinition, ...]:
    """The broken ones too."""
    return tuple(osdef.judge(_look(name, logical, local, node_paths)) for name, logical, local in places(node_paths))


def places(node_paths: Paths) -> list[tuple[str, str, str]]:
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


def _look(name: str, logical: str, local: str, where: Paths) -> osdef.Found:
    scripts = {script: _why_not_run(f"{local}/{script}") for script in osdef.SCRIPTS}
    texts: dict[str, str | None] = {}
    for file in _TEXTS:
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
        distrust=trust.distrusted((f"{local}/{file}" for file in (*osdef.SCRIPTS, *_TEXTS)), where),
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


def usable(spec: GuestSpec, node_paths: Paths) -> tuple[OsDefinition, str]:
    """The instance's definition and its local directory. Raises NodeFailure."""
    definition, directory = _there(spec.instance.os, node_paths)
    problem = osdef.why_not_usable(definition, spec.instance.os, spec.instance.hypervisor)
    if problem:
        raise errors.NodeFailure(problem)
    return definition, directory


def named(full: str, node_paths: Paths) -> tuple[OsDefinition, str]:
    """As `usable`, without any instance."""
    definition, directory = _there(full, node_paths)
    if not definition.valid:
        raise errors.NodeFailure(f"OS {definition.name} is not valid here: {definition.reason}")
    return definition, directory


def _there(full: str, node_paths: Paths) -> tuple[OsDefinition, str]:
    name = osdef.split_name(full)[0]
    place = next((place for place in places(node_paths) if place[0] == name), None)
    if place is None:
        raise errors.NodeFailure(
            f"Directory for OS {name} not found in search path",
            hint="looked in " + ", ".join(node_paths.os_search_path),
        )
    return osdef.judge(_look(*place, node_paths)), place[2]


def open_disks(spec: GuestSpec, env: NodeEnv) -> list[str]:
    """Opens all disks; they stay open. Local paths, as scripts need them."""
    found = []
    for disk, path in zip(spec.instance.disks, volumes.open_all(spec.instance, env), strict=True):
        found.append(volumes.local_path(disk, path, env))
    return found


def run(
    script: str,
    title: str,
    environment: Mapping[str, str],
    *,
    request: str,
    directory: str,
    env: NodeEnv,
    stop: threading.Event,
    feed: Callable[[Input], None] | None = None,
    take: Callable[[Output], None] | None = None,
    keep: Sequence[int] = (),
) -> str:
    """Runs it with its log; what went wrong with the log's end, or nothing.

    What `feed` or `take` raise about something else than the script is raised here.
    """
    check_variables(environment)
    why = ""
    with Log(title, env) as log_file, scripts.recorded(env.paths, request) as begun:
        try:
            status = env.runner.run_logged(
                (f"{directory}/{script}",),
                output=log_file.file,
                timeout_s=env.script_limit_s,
                # a virtual node's processes are known by its two variables
                environment=dict(environment) | env.paths.environment(),
                cwd=directory,
                stop=stop,
                begun=begun,
                feed=feed,
                take=take,
                keep=keep,
                may_linger=False,
            )
        except errors.CommandFailed as err:
            why = str(err)
        else:
            why = how(status)
    return log_file.with_end(why) if why else ""


def how(status: int) -> str:
    """How a script ended that did not end well, or nothing."""
    return f"exit status {status}" if status > 0 else f"signal {-status}" if status else ""


class Log:
    """The file that keeps what a script says."""

    def __init__(self, title: str, env: NodeEnv) -> None:
        """Raises NodeFailure when it cannot be written."""
        stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.gmtime(env.clock.time()))
        self._logical = f"{paths.OS_LOG_DIR.path}/{re.sub(r'[^-+.0-9A-Za-z_]', '_', title)}-{stamp}.log"
        self._local = env.paths.local(self._logical)
        files.make_directory(env.paths, paths.OS_LOG_DIR)
        try:
            handle = os.open(self._local, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        except OSError as err:
            raise errors.NodeFailure(f"the log {self._logical} cannot be written: {err.strerror}") from err
        self.file: IO[bytes] = open(handle, "wb", buffering=0)  # noqa: SIM115 closed by __exit__
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.file.close()

    def write(self, text: str) -> None:
        """From any thread; what comes too late is dropped. Raises NodeFailure."""
        try:
            with self._lock:
                if not self.file.closed:
                    self.file.write(text.encode())
        except OSError as err:
            raise errors.NodeFailure(f"the log {self._logical} cannot be written: {err.strerror}") from err

    def with_end(self, why: str) -> str:
        """What went wrong, with the last lines."""
        with open(self._local, "rb") as written:
            end = _tail(written)
        return f"{why}; last lines of {self._logical}:\n{end}" if end else f"{why}; {self._logical} is empty"


def check_variables(environment: Mapping[str, str]) -> None:
    """Names come from parameters as the caller calls them. Raises NodeFailure."""
    for name, value in environment.items():
        if not _VARIABLE.match(name) or "\0" in value:
            raise errors.NodeFailure(f"{name[:80]!r} is not a variable of OS scripts, or its value is none")


def verify(environment: Mapping[str, str], *, directory: str, env: NodeEnv, stop: threading.Event) -> str:
    """Runs the script that looks at OS parameters; what it says is wrong with them, or nothing."""
    check_variables(environment)
    with tempfile.TemporaryFile() as output:
        try:
            status = env.runner.run_logged(
                (f"{directory}/verify", "parameters"),
                output=output,
                timeout_s=min(_VERIFY_S, env.script_limit_s),
                environment=dict(environment) | env.paths.environment(),
                cwd=directory,
                stop=stop,
                max_output=_TAIL_BYTES,
                may_linger=False,
            )
        except errors.CommandFailed as err:
            why = str(err)
        else:
            why = how(status)
        if not why:
            return ""
        said = _tail(output)
    return f"its verify script ended with {why}: {said}" if said else f"its verify script ended with {why}"


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
