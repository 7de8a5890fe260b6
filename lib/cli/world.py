"""What the commands touch: streams, environment, terminal, clock and the master."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Protocol, TextIO

from ganeti import errors
from ganeti.host.clock import Clock, SystemClock
from ganeti.paths import Paths

if TYPE_CHECKING:
    from ganeti.host.run import Finished

#: a list or info command gives up after this when no master answers; what changes something waits longer
QUESTION_PATIENCE_S = 10.0


class Client(Protocol):
    """The part of `luxi.client.Client` that the commands use."""

    def call(self, method: str, *args: Any, key: str | None = None) -> Any:
        """Any: JSON. Raises errors.*."""
        ...


class Runner(Protocol):
    """The part of `host.run.HostRunner` that the commands use."""

    def run(self, argv: Sequence[str], *, timeout_s: float = 60, ok: Sequence[int] = (0,)) -> Finished: ...

    def run_fed(self, argv: Sequence[str], *, source: IO[bytes], timeout_s: float) -> None: ...


class Terminal(Protocol):
    """The controlling terminal."""

    def write(self, text: str) -> None: ...

    def read_line(self) -> str:
        """Without its end; raises EOFError when the terminal is gone."""
        ...


class DeviceTerminal:
    """/dev/tty."""

    def __init__(self) -> None:
        """Raises OSError when the process has no controlling terminal."""
        handle = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        # closefd=False: both streams share the handle, which lives as long as the process
        self._in = open(handle, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115
        self._out = open(handle, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115

    def write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()

    def read_line(self) -> str:
        line = self._in.readline()
        if not line:
            raise EOFError
        return line.rstrip("\r\n")


def _system_terminal() -> Terminal | None:
    try:
        return DeviceTerminal()
    except OSError:
        return None


def connect(paths: Paths, environ: Mapping[str, str], tell: Callable[[str], None]) -> Client:
    """The master's socket, or the one that the environment names; nothing is sent yet."""
    from ganeti.luxi.client import Client as LuxiClient

    client: Client = LuxiClient(paths=paths, environ=environ, first_question_timeout_s=QUESTION_PATIENCE_S, tell=tell)
    return client


def _new_key() -> str:
    return uuid.uuid4().hex


def _become(argv: Sequence[str]) -> int:
    """This process goes on as another program; returns only when the program cannot be run."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvp(argv[0], list(argv))
    except OSError as err:
        raise errors.ExecError(f"cannot run {argv[0]}: {err.strerror}") from err


class World:
    """Everything outside, as one value; tests give their own parts."""

    def __init__(
        self,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
        paths: Paths | None = None,
        clock: Clock | None = None,
        connect: Callable[[Paths, Mapping[str, str]], Client] | None = None,
        terminal: Callable[[], Terminal | None] = _system_terminal,
        new_key: Callable[[], str] = _new_key,
        become: Callable[[Sequence[str]], int] = _become,
        stdin: TextIO | None = None,
        runner: Runner | None = None,
    ) -> None:
        """`become`: replace this process by a program; if that comes back, its result is the exit code."""
        self.out = out or sys.stdout
        self.stdin = stdin or sys.stdin
        self.err = err or sys.stderr
        self.environ = os.environ if environ is None else environ
        self.paths = paths or Paths.from_environment(self.environ)
        self.clock: Clock = clock or SystemClock()
        self.terminal = terminal
        self.new_key = new_key
        self.become = become
        self._connect = connect
        self._runner = runner

    @property
    def runner(self) -> Runner:
        """For the few commands that run programs on this host."""
        if self._runner is None:
            from ganeti.host.run import HostRunner

            self._runner = HostRunner(self.paths)
        return self._runner

    def connect(self) -> Client:
        if self._connect is not None:
            return self._connect(self.paths, self.environ)
        return connect(self.paths, self.environ, self._tell)

    @property
    def has_colours(self) -> bool:
        """Whether standard output is a terminal that shows them, and nobody objects (no-color.org)."""
        is_plain = bool(self.environ.get("NO_COLOR")) or self.environ.get("TERM", "dumb") == "dumb"
        return self.out.isatty() and not is_plain

    def _tell(self, line: str) -> None:
        self.out.flush()
        self.err.write(line + "\n")
        self.err.flush()
