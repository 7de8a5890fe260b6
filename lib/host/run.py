"""With `host.script` the only caller of `subprocess`: argv tuples, clean environment, always a time limit."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Protocol

import msgspec

from ganeti import errors
from ganeti.host import script
from ganeti.host.groups import kill_group
from ganeti.paths import Paths

log = logging.getLogger(__name__)

Argv = tuple[str, ...]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


#: options whose value is told to nobody; tools that take it in no other way
_SECRET_OPTIONS = ("--shared-secret=",)


def shown(argv: Argv) -> Argv:
    """For logs. Pure."""
    return tuple(
        next((f"{option}<hidden>" for option in _SECRET_OPTIONS if word.startswith(option)), word) for word in argv
    )


class Finished(msgspec.Struct, frozen=True):
    """A command that has ended; its own business whether the status is good."""

    argv: Argv
    status: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """What drivers use to run commands; tests hand in a script of expected commands."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 60,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        cwd: str = "/",
        ok: Sequence[int] = (0,),
    ) -> Finished:
        """Run to the end. Raises CommandFailed on another status than `ok`, a missing program or the time limit."""
        ...


class HostRunner:
    """Runs on this host with LC_ALL=C, a fixed PATH and, on a virtual node, its two variables."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {"PATH": PATH, "LC_ALL": "C"} | self._paths.environment() | dict(more or {})

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 60,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        cwd: str = "/",
        ok: Sequence[int] = (0,),
    ) -> Finished:
        command = tuple(argv)
        log.debug("run %s", shown(command))
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self.environment(environment),
                cwd=cwd,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as err:
            is_missing = isinstance(err, FileNotFoundError)
            why = err.strerror or str(err)
            raise errors.CommandFailed(command, None, "", why=why, is_missing=is_missing) from err
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as err:
            kill_group(process.pid)
            stdout, stderr = process.communicate()
            why = f"no end within {timeout_s:g} s"
            raise errors.CommandFailed(command, None, stdout + stderr, why=why) from err
        log.debug("%s ended with %s", command[0], process.returncode)
        if process.returncode not in ok:
            raise errors.CommandFailed(command, process.returncode, stdout + stderr)
        return Finished(command, process.returncode, stdout, stderr)

    def run_fed(self, argv: Sequence[str], *, source: IO[bytes], timeout_s: float) -> None:
        """Run to the end with an open file as its input. Raises CommandFailed as `run`."""
        command = tuple(argv)
        log.debug("run %s", shown(command))
        try:
            done = subprocess.run(
                command,
                stdin=source,
                capture_output=True,
                timeout=timeout_s,
                env=self.environment(),
                start_new_session=True,
                check=False,
            )
        except OSError as err:
            raise errors.CommandFailed(command, None, "", why=err.strerror or str(err)) from err
        except subprocess.TimeoutExpired as err:
            raise errors.CommandFailed(command, None, "", why=f"no end within {timeout_s:g} s") from err
        if done.returncode != 0:
            raise errors.CommandFailed(command, done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))

    def run_on_terminal(self, argv: Sequence[str], *, stdin: str, timeout_s: float) -> Finished:
        """Run a command that may ask the person at our terminal (ssh: host key, password); its errors show there.

        The caller's environment is kept, because keys and agents are found by it. Raises CommandFailed when it is
        missing or does not end in time; its status is the caller's business.
        """
        command = tuple(argv)
        log.debug("run %s", shown(command))
        try:
            done = subprocess.run(
                command,
                input=stdin,
                stdout=subprocess.PIPE,
                timeout=timeout_s,
                env=dict(os.environ) | self._paths.environment(),
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as err:
            raise errors.CommandFailed(command, None, "", why=err.strerror or str(err)) from err
        except subprocess.TimeoutExpired as err:
            raise errors.CommandFailed(command, None, "", why=f"no end within {timeout_s:g} s") from err
        log.debug("%s ended with %s", command[0], done.returncode)
        return Finished(command, done.returncode, done.stdout, "")

    def run_logged(
        self,
        argv: Sequence[str],
        *,
        output: IO[bytes],
        timeout_s: float,
        environment: Mapping[str, str],
        cwd: str,
        stop: threading.Event,
        max_output: int = 64 * 1024 * 1024,
        begun: Callable[[int], None] | None = None,
        complaints: IO[bytes] | None = None,
        feed: Callable[[script.Input], None] | None = None,
        take: Callable[[script.Output], None] | None = None,
        keep: Sequence[int] = (),
        may_linger: bool = True,
    ) -> int:
        """Run a script with exactly `environment`, its output to an open file; see `host.script.run`."""
        return script.run(
            argv,
            output=output,
            timeout_s=timeout_s,
            environment=environment,
            cwd=cwd,
            stop=stop,
            max_output=max_output,
            begun=begun,
            complaints=complaints,
            feed=feed,
            take=take,
            keep=keep,
            may_linger=may_linger,
        )

    def filter(self, argv: Sequence[str], *, source: int | None = None) -> script.Filter:
        """A command between two pipes, or one that reads `source`. Raises CommandFailed when it cannot be started."""
        return script.Filter(argv, self.environment(), source=source)
