"""Daemons as services of systemd, where a machine is run by it and has their units."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence

from ganeti import errors, paths
from ganeti.host import files
from ganeti.host.run import HostRunner, Runner
from ganeti.paths import Paths

#: there while systemd is process 1, sd_booted(3)
RUNS = "/run/systemd/system"
UNIT_DIRECTORIES = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
TARGET = "ganeti.target"
#: variable of the units with the arguments of one start
ARGUMENTS = "ARGUMENTS"
LIMIT_S = 60.0


def unit(daemon: str) -> str:
    return f"{daemon}.service"


class Services:
    """Asks systemd. `exists` looks at the file system."""

    def __init__(self, where: Paths, runner: Runner, *, exists: Callable[[str], bool] = os.path.exists) -> None:
        self._paths, self._runner, self._exists = where, runner, exists

    def has(self, name: str) -> bool:
        """Whether systemd runs here and knows that unit; it runs nothing of a virtual node."""
        if self._paths.is_virtual or os.geteuid() != 0 or not self._exists(RUNS):
            return False
        return any(self._exists(f"{directory}/{name}") for directory in UNIT_DIRECTORIES)

    def start(self, daemon: str, arguments: Sequence[str], *, timeout_s: float) -> None:
        """Returns when it is ready. Raises CommandFailed with the daemon's own exit status, if it has one."""
        once = paths.once_file(daemon)
        local = self._paths.local(once)
        # one that failed often is started all the same when somebody asks for it
        self._systemctl("reset-failed", unit(daemon), ok=(0, 1, 5))
        if arguments:
            files.make_directory(self._paths, paths.RUN_DIR)
            files.write(self._paths, once, f"{ARGUMENTS}={' '.join(arguments)}\n".encode())
        try:
            self._systemctl("start", unit(daemon), timeout_s=timeout_s)
        except errors.CommandFailed as err:
            raise errors.CommandFailed(
                err.argv, self._property("ExecMainStatus", daemon) or err.status, err.output
            ) from err
        finally:
            with contextlib.suppress(FileNotFoundError):  # the unit removes it too
                os.unlink(local)

    def is_active(self, daemon: str) -> bool:
        """Whether it runs and is not about to end."""
        said = self._systemctl("show", "--property=ActiveState", "--value", unit(daemon))
        return said.strip() in ("active", "reloading")

    def runs(self, daemon: str, pid: int) -> bool:
        """Whether that process is the service's, not one that somebody started by hand."""
        return self.has(unit(daemon)) and self._property("MainPID", daemon) == pid

    def begin_stop(self, daemon: str) -> None:
        """It is asked to end, and not started again when it is killed. Raises CommandFailed."""
        self._systemctl("stop", "--no-block", unit(daemon))

    def enable(self) -> None:
        """From now on the daemons start with the machine. Raises CommandFailed."""
        if self.has(TARGET):
            self._systemctl("enable", "--quiet", TARGET)
            # not waited for: those that do not run yet may need what the caller still has to do
            self._systemctl("start", "--no-block", TARGET)

    def disable(self) -> None:
        """Not with the machine any more. Those that run go on. Raises CommandFailed."""
        if self.has(TARGET):
            self._systemctl("disable", "--quiet", TARGET)

    def _property(self, name: str, daemon: str) -> int:
        """A number, 0 if systemd has none."""
        try:
            said = self._systemctl("show", f"--property={name}", "--value", unit(daemon)).strip()
        except errors.CommandFailed:
            return 0
        return int(said) if said.isdecimal() else 0

    def _systemctl(self, *words: str, timeout_s: float = LIMIT_S, ok: Sequence[int] = (0,)) -> str:
        return self._runner.run(("systemctl", *words), timeout_s=timeout_s, ok=ok).stdout


def of(where: Paths) -> Services:
    return Services(where, HostRunner(where))
