"""Turns a program into a daemon: background, pid file, log file, and a parent that knows whether it worked."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import optparse
import os
import signal
import sys
import syslog
from collections.abc import Callable
from typing import IO

from ganeti import errors, paths, settings
from ganeti.host import faults, files, notify
from ganeti.host.own_file import open_own
from ganeti.paths import Paths

log = logging.getLogger(__name__)

EXIT_FAILURE = 1
#: exit statuses of a daemon that has no place here, which is no failure: in no cluster, not the master
EXITS_UNWANTED = (5, 11)

Ready = Callable[[], None]
Main = Callable[[Ready], int]


def option_parser(name: str, description: str, *, usage: str, port: int = 0) -> optparse.OptionParser:
    """What every daemon understands; `port`: where it listens when nothing else is said, for those that do."""
    parser = optparse.OptionParser(
        prog=name, usage=usage, version=f"%prog (ganeti) {settings.VERSION}", description=description
    )
    parser.add_option("-f", "--foreground", action="store_true", default=False, help="stay in the foreground")
    parser.add_option("-d", "--debug", action="store_true", default=False, help="log more")
    if port:
        address = "listen there, not on the node's own address"
        parser.add_option("-b", "--bind", metavar="ADDRESS", default="", help=address)
        parser.add_option("-p", "--port", type="int", default=port, help="default: %default")
    return parser


class LogFile(logging.Handler):
    """A log file that can be opened anew after it was moved away. A full disk loses lines and ends nobody.

    Warnings that cannot be written go to `elsewhere`, the system's log; the first line that can be says how many
    are missing.
    """

    def __init__(
        self,
        path: str,
        *,
        mode: int,
        uid: int,
        gid: int,
        elsewhere: Callable[[str], None] = syslog.syslog,
        write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """Raises OSError when the file cannot be opened, or something else is in its place."""
        super().__init__()
        self._path, self._mode, self._uid, self._gid = path, mode, uid, gid
        self._elsewhere, self._write_some = elsewhere, write
        self._is_moved = False
        self._lost = 0
        self._handle = -1
        self._handle = self._open()

    def _open(self) -> int:
        return open_own(self._path, os.O_WRONLY | os.O_APPEND, self._mode, uid=self._uid, gid=self._gid)

    def reopen(self) -> None:
        """Before the next line. May be called from a signal handler: it only sets a flag."""
        self._is_moved = True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except (TypeError, ValueError, KeyError):  # arguments that do not fit the text: the mistake of whoever logs
            self.handleError(record)
            return
        try:
            if self._is_moved:
                self._is_moved = False
                old, self._handle = self._handle, self._open()
                os.close(old)
            gap = f"({self._lost} lines are missing here: they could not be written)\n" if self._lost else ""
            self._write(f"{gap}{line}\n".encode("utf-8", "backslashreplace"))
            self._lost = 0
        except OSError as err:
            self._lost += 1
            if record.levelno >= logging.WARNING:
                self._elsewhere(f"{line} (not in {self._path}: {err.strerror})")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._write_some(self._handle, data) :]

    def close(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            os.close(self._handle)
        super().close()


def set_up_logging(name: str, log_name: str, where: Paths, *, debug: bool, to_stderr: bool) -> LogFile:
    """All loggers write to the daemon's log file, and to stderr if wanted. Raises OSError."""
    file = paths.log_file(log_name)
    uid, gid = files.owner_ids(file, is_virtual=where.is_virtual)
    handler = LogFile(where.local(file), mode=file.mode, uid=uid, gid=gid)
    wanted: list[logging.Handler] = [handler]
    if to_stderr:
        wanted.append(logging.StreamHandler())
    formatter = logging.Formatter(f"%(asctime)s: {name} pid=%(process)d %(levelname)s %(message)s")
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for each in wanted:
        each.setFormatter(formatter)
        root.addHandler(each)
    # they tell each step of each request at info
    for chatty in ("asyncio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return handler


def take_pid_file(name: str, where: Paths) -> int:
    """Lock and write the pid file; the lock lasts as long as the returned handle. Raises PrereqError if it runs."""
    file = paths.pid_file(name)
    uid, gid = files.owner_ids(file, is_virtual=where.is_virtual)
    handle = open_own(where.local(file), os.O_RDWR, file.mode, uid=uid, gid=gid)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        pid = os.read(handle, 32).decode("ascii", "replace").strip()
        os.close(handle)
        raise errors.PrereqError("wrong_state", f"{name} is running already, as process {pid or '?'}") from err
    os.ftruncate(handle, 0)
    os.pwrite(handle, b"%d\n" % os.getpid(), 0)
    return handle


def run_daemon(name: str, log_name: str, where: Paths, main: Main, *, foreground: bool, debug: bool) -> int:
    """Run `main(ready)` as the daemon `name` and return the exit status for this process.

    In the background the caller's process returns 0 as soon as the daemon has called `ready`, else its exit status
    after printing why to stderr. `main` runs without terminal, in ``/``, with its log open and its pid file locked;
    nothing with threads may have been started before. `main` handles SIGTERM; SIGHUP makes the log file open anew.
    In the foreground a service manager is told, if there is one.
    """
    if foreground:
        os.umask(0o027)
        return _Body(name, log_name, where, main, debug=debug, foreground=True).run(_tell_manager)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as file:
            return _tell(name, file)
    os.close(reader)
    os.setsid()
    if os.fork():
        os._exit(0)
    status = EXIT_FAILURE
    try:
        status = _background(writer, _Body(name, log_name, where, main, debug=debug, foreground=False))
    finally:
        # not sys.exit: what the parent registered to run at its exit is not ours
        logging.shutdown()
        os._exit(status)


def _tell_manager(status: int, text: str) -> None:
    if status == 0 and not text:
        notify.tell(notify.READY, f"MAINPID={os.getpid()}")
        return
    if text:
        notify.tell(f"STATUS={text.splitlines()[0]}")
    if status in EXITS_UNWANTED:
        # to systemd a service that ends before it was ready has failed, whatever SuccessExitStatus= says
        notify.tell(notify.READY)
        notify.tell(notify.STOPPING)


def _tell(name: str, file: IO[bytes]) -> int:
    raw_status, _, raw_text = file.read().partition(b"\n")
    if raw_status == b"0" and not raw_text:
        return 0
    text = raw_text.decode("utf-8", "replace").strip() or "it ended before it was ready; its log may say why"
    print(f"{name}: {text}", file=sys.stderr)  # noqa: T201 - the parent of a daemon speaks to its terminal
    return int(raw_status) if raw_status.isdigit() and raw_status != b"0" else EXIT_FAILURE


def _background(writer: int, body: _Body) -> int:
    os.chdir("/")
    os.umask(0o027)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)

    def tell(status: int, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent was killed: the daemon goes on without it
            os.write(writer, f"{status}\n{text}".encode()[:4096])
        os.close(writer)

    return body.run(tell)


class _Body:
    """The part that is the same in the foreground and in the background."""

    def __init__(self, name: str, log_name: str, where: Paths, main: Main, *, debug: bool, foreground: bool) -> None:
        self._name, self._log_name, self._paths, self._main = name, log_name, where, main
        self._debug, self._foreground = debug, foreground
        self._is_told = False

    def run(self, tell: Callable[[int, str], None]) -> int:
        def tell_once(status: int, text: str) -> None:
            if not self._is_told:
                self._is_told = True
                tell(status, text)

        try:
            status = self._run(lambda: tell_once(0, ""))
        except errors.GanetiError as err:
            log.error("%s", err)
            status = err.exit_status
            tell_once(status, str(err))
        except OSError as err:
            log.exception("ended")
            status = EXIT_FAILURE
            tell_once(status, str(err))
        except Exception as err:  # the border of main()
            log.exception("ended in a way nobody thought of")
            status = EXIT_FAILURE
            tell_once(status, f"internal error: {type(err).__name__}: {err}")
        # not ready and no error: the log tells, the status speaks for itself
        tell_once(status or EXIT_FAILURE, "")
        return status

    def _run(self, ready: Ready) -> int:
        for directory in (paths.RUN_DIR, paths.LOG_DIR):
            files.make_directory(self._paths, directory)
        handle = take_pid_file(self._name, self._paths)
        try:
            log_file = set_up_logging(
                self._name, self._log_name, self._paths, debug=self._debug, to_stderr=self._foreground
            )
            signal.signal(signal.SIGHUP, lambda *_: log_file.reopen())
            _arm_faults(self._paths)
            log.info("started")
            status = self._main(ready)
            if self._foreground:
                notify.tell(notify.STOPPING)
            log.info("ended with status %d", status)
            return status
        finally:
            # removed while the lock is held: who comes next makes a new file; an account of its own may not be
            # allowed to, and a file that nobody has locked does no harm
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.unlink(self._paths.local(paths.pid_file(self._name)))
            os.close(handle)


def _arm_faults(where: Paths) -> None:
    wanted = os.environ.get(faults.VARIABLE, "") if where.is_virtual else ""
    if wanted:
        log.warning("will die at the fault point %s", wanted)
        faults.arm_to_die(wanted)
