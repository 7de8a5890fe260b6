"""Scripts of others: each in a group of its own, with limits, and with data that flows in or out where wished."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from ganeti import errors
from ganeti.host import groups

log = logging.getLogger(__name__)

_POLL_S = 0.1
#: processes that a script has started may take so long to end after it
LINGER_S = 3.0
#: a pipe that somebody who has left the group holds open is given up after so long without data
_SILENCE_S = 5.0
#: becomes the command that follows when it is told to; the end of input means that we are gone
_GATE = ("/bin/sh", "-c", 'read -r word && unset PWD OLDPWD SHLVL && exec "$0" "$@" </dev/null')
#: the same, and what comes after that word is the command's input: a shell reads no further than the line
_GATE_TO_DATA = ("/bin/sh", "-c", 'read -r word && unset PWD OLDPWD SHLVL && exec "$0" "$@"')


class Output:
    """What a script writes to its standard output."""

    def __init__(self, handle: int, ended: threading.Event) -> None:
        self._handle = handle
        self._ended = ended
        self.moved = time.monotonic()  # when there was data last

    def waits(self, seconds: float) -> bool:
        """Whether there is something to read within that time, be it the end."""
        poller = select.poll()
        poller.register(self._handle, select.POLLIN | select.POLLHUP)
        return bool(poller.poll(seconds * 1000))

    def read(self, size: int) -> bytes:
        """Some bytes; none: nobody can write any more. Raises ExecError when it is held open by a stray process."""
        quiet = 0.0
        poller = select.poll()
        poller.register(self._handle, select.POLLIN | select.POLLHUP)
        while not poller.poll(250):
            quiet = quiet + 0.25 if self._ended.is_set() else 0.0
            if quiet >= _SILENCE_S:
                raise errors.ExecError("the script has ended, but a process that it left behind holds its output open")
        found = os.read(self._handle, size)
        self.moved = time.monotonic()
        return found

    def close(self) -> None:
        os.close(self._handle)


class Input:
    """What a script reads from its standard input."""

    def __init__(self, handle: int, ended: threading.Event) -> None:
        self._handle = handle
        self._ended = ended
        self.moved = time.monotonic()  # when it took data last
        os.set_blocking(handle, False)

    def write(self, data: bytes) -> bool:
        """False: the script reads no more."""
        view, quiet = memoryview(data), 0.0
        poller = select.poll()
        poller.register(self._handle, select.POLLOUT | select.POLLERR)
        while view:
            if not poller.poll(250):
                quiet = quiet + 0.25 if self._ended.is_set() else 0.0
                if quiet >= _SILENCE_S:
                    return False
                continue
            try:
                view = view[os.write(self._handle, view) :]
                self.moved = time.monotonic()
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return False
        return True

    def close(self) -> None:
        os.close(self._handle)


class _Mover:
    """Moves a script's data in a thread of its own, and closes the pipe at the end."""

    def __init__(self, work: Callable[[], None], close: Callable[[], None]) -> None:
        self._work, self._close = work, close
        self.done = threading.Event()
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="script data", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except (errors.GanetiError, OSError) as err:
            self.failure = err
        finally:
            self._close()
            self.done.set()


def run(
    argv: Sequence[str],
    *,
    output: IO[bytes],
    timeout_s: float,
    environment: Mapping[str, str],
    cwd: str,
    stop: threading.Event,
    max_output: int,
    begun: Callable[[int], None] | None = None,
    complaints: IO[bytes] | None = None,
    feed: Callable[[Input], None] | None = None,
    take: Callable[[Output], None] | None = None,
    keep: Sequence[int] = (),
    may_linger: bool = True,
) -> int:
    """Run a script with exactly `environment` and return its status. `output` gets what it says (see `take`).

    What it writes to standard error goes there too, unless `complaints` is a file of its own for it.

    `feed` writes its standard input, `take` reads its standard output; both run in a thread of their own, and what
    they raise ends the script and is raised here. The descriptors `keep` stay open in it. `begun` gets the process
    before the script begins, which it never does when we are killed meanwhile.

    Its whole process group ends with it. Raises CommandFailed after `timeout_s` in which no data flow, on more than
    `max_output` bytes in `output`, when `stop` is set, and, unless it `may_linger`, when it leaves processes behind.
    """
    command = tuple(argv)
    log.debug("run %s", command)
    is_gated = begun is not None or feed is not None
    gate = () if not is_gated else _GATE if feed is None else _GATE_TO_DATA
    try:
        process = subprocess.Popen(
            (*gate, *command),
            stdin=subprocess.PIPE if is_gated else subprocess.DEVNULL,
            stdout=output if take is None else subprocess.PIPE,
            stderr=complaints or (subprocess.STDOUT if take is None else output),
            env=dict(environment),
            cwd=cwd,
            start_new_session=True,
            pass_fds=tuple(keep),
            bufsize=0,
        )
    except OSError as err:
        raise errors.CommandFailed(command, None, "", why=err.strerror or str(err)) from err
    ended = threading.Event()
    mover: _Mover | None = None
    begun_at = time.monotonic()
    pipe: Input | Output | None = None

    written = (output,) if complaints is None else (output, complaints)

    def check() -> None:
        if mover is not None and mover.failure is not None:
            raise mover.failure
        if stop.is_set():
            raise errors.CommandFailed(command, None, "", why="stopped on request")
        if time.monotonic() >= (begun_at if pipe is None else pipe.moved) + timeout_s:
            what = "no end" if pipe is None else "no data and no end"
            raise errors.CommandFailed(command, None, "", why=f"{what} within {timeout_s:g} s")
        if any(os.fstat(file.fileno()).st_size > max_output for file in written):
            raise errors.CommandFailed(command, None, "", why=f"more than {max_output} bytes of output")

    try:
        if begun is not None:
            begun(process.pid)
        if is_gated and process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody has killed it
                process.stdin.write(b"go\n")
        if feed is not None and process.stdin is not None:
            pipe = given = Input(os.dup(process.stdin.fileno()), ended)
            process.stdin.close()
            mover = _Mover(lambda: feed(given), given.close)
        if take is not None and process.stdout is not None:
            pipe = taken = Output(os.dup(process.stdout.fileno()), ended)
            process.stdout.close()
            mover = _Mover(lambda: take(taken), taken.close)
        while True:
            try:
                status = process.wait(timeout=_POLL_S)
                break
            except subprocess.TimeoutExpired:
                check()
        if not may_linger:
            _await_group(process.pid, command)
        groups.kill_group(process.pid)
        ended.set()
        if mover is not None and mover.failure is not None:
            raise mover.failure  # why the script has failed: nobody took its data
        if status == 0 and mover is not None:
            while not mover.done.wait(_POLL_S):
                check()
            if mover.failure is not None:
                raise mover.failure
        return status
    finally:
        groups.kill_group(process.pid)
        process.wait()
        ended.set()
        for file in written:
            # it writes faster than we look
            if os.fstat(file.fileno()).st_size > max_output:
                os.ftruncate(file.fileno(), max_output)
        for end in (process.stdin, process.stdout):
            if end is not None and not end.closed:
                with contextlib.suppress(BrokenPipeError):
                    end.close()


def _await_group(leader: int, command: tuple[str, ...]) -> None:
    """Raises CommandFailed when processes of it go on."""
    deadline = time.monotonic() + LINGER_S
    while left := groups.members(leader):
        if time.monotonic() >= deadline:
            names = ", ".join(f"{groups.name_of(pid)} ({pid})" for pid in left[:5])
            raise errors.CommandFailed(command, None, "", why=f"it ended but left processes behind: {names}")
        time.sleep(_POLL_S / 2)


class Filter:
    """A command between two pipes, such as one that compresses."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str], *, source: int | None = None) -> None:
        """It reads from the descriptor `source`, else from `stdin`. Raises CommandFailed when it cannot be started."""
        self._argv = tuple(argv)
        try:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE if source is None else source,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        except OSError as err:
            raise errors.CommandFailed(self._argv, None, "", why=err.strerror or str(err)) from err
        assert self._process.stdout is not None, argv
        self.stdout: IO[bytes] = self._process.stdout

    @property
    def stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None, self._argv
        return self._process.stdin

    def finish(self) -> None:
        """When all of its output was read. Raises CommandFailed unless it ended well."""
        status = self._process.wait(60)
        if status:
            raise errors.CommandFailed(self._argv, status, "")

    def kill(self) -> None:
        """Ended already: fine. Whoever reads or writes it sees the end."""
        groups.kill_group(self._process.pid)
        self._process.wait()
