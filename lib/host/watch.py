"""Tells when files change: inotify where it can be had, else by looking at them now and then."""

from __future__ import annotations

import logging
import os
import select
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

with warnings.catch_warnings():
    # pyinotify imports asyncore, which Python 3.11 calls deprecated; from 3.12 pyasyncore has its place
    warnings.simplefilter("ignore", DeprecationWarning)
    import pyinotify

log = logging.getLogger(__name__)

_inotify: Any = pyinotify  # Any: it has no types
_EVENTS = ("IN_CLOSE_WRITE", "IN_MOVED_TO", "IN_MOVED_FROM", "IN_CREATE", "IN_DELETE", "IN_ATTRIB")

Fingerprint = tuple[int, int, int] | None  # inode, mtime in ns, size; None: not there


def _fingerprint(path: str) -> Fingerprint:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class FileWatcher:
    """Calls `changed` with the paths that changed, appeared or went, also by renaming a file over them.

    `changed` runs in the watcher's own thread, `settle_s` seconds after the last of several changes; what it raises
    is logged. What changes after this object was made is not missed, even before `start`. Without inotify (its limits
    are reached, a directory is not there) the files are looked at each `poll_s` seconds; that is logged.
    """

    def __init__(
        self,
        paths: Iterable[str],
        changed: Callable[[frozenset[str]], None],
        *,
        settle_s: float = 0.05,
        poll_s: float = 5.0,
        use_inotify: bool = True,
    ) -> None:
        self._paths = frozenset(paths)
        self._changed = changed
        self._settle_s, self._poll_s = settle_s, poll_s
        self._use_inotify = use_inotify
        self._seen = {path: _fingerprint(path) for path in self._paths}
        self._thread: threading.Thread | None = None
        self._manager: Any | None = None  # Any: a WatchManager
        self._wake_reader, self._wake_writer = -1, -1

    def start(self) -> None:
        self._manager = self._watch() if self._use_inotify else None
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="file watcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when no call of `changed` runs any more. Not to be called from `changed`."""
        if self._thread is None:
            return
        os.write(self._wake_writer, b"x")
        self._thread.join()
        self._thread = None
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        if self._manager is not None:
            self._manager.close()

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._wake_reader, select.POLLIN)
        events = -1 if self._manager is None else self._manager.get_fd()
        if events != -1:
            poller.register(events, select.POLLIN)
        while True:
            self._compare()
            ready = [handle for handle, _ in poller.poll(None if events != -1 else self._poll_s * 1000)]
            while events in ready and self._wake_reader not in ready:
                # events only say "look again": what changed is seen by comparing
                os.read(events, 65536)
                ready = [handle for handle, _ in poller.poll(self._settle_s * 1000)]
            if self._wake_reader in ready:
                return

    def _watch(self) -> Any | None:  # Any: a WatchManager
        """Watches on all directories, or None when they cannot be had."""
        manager = None
        try:
            manager = _inotify.WatchManager()
            events = sum(getattr(_inotify, name) for name in _EVENTS)
            for directory in {os.path.dirname(path) for path in self._paths}:
                manager.add_watch(directory, events, quiet=False)
        except (OSError, _inotify.PyinotifyError, _inotify.WatchManagerError) as err:
            if manager is not None:
                manager.close()
            log.warning(
                "cannot watch files by inotify (%s); looking at them each %g s instead; "
                "see the sysctls fs.inotify.max_user_watches and max_user_instances",
                err,
                self._poll_s,
            )
            return None
        return manager

    def _compare(self) -> None:
        now = {path: _fingerprint(path) for path in self._paths}
        different = frozenset(path for path in self._paths if now[path] != self._seen[path])
        self._seen = now
        if not different:
            return
        try:
            self._changed(different)
        except Exception:  # border of this thread: one bad file must not end the watching
            log.exception("after a change of %s", ", ".join(sorted(different)))
