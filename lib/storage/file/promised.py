"""What the volumes below directories were promised, and what they have: asked again and again, so remembered."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

from ganeti.storage.file import places

#: a directory changed so little ago may change once more without another time of change
SETTLED_NS = 2_000_000_000


class Promised(NamedTuple):
    """Of volumes, in bytes."""

    size: int = 0  # what they may grow to, being sparse
    used: int = 0  # of the file system's blocks


class _Seen(NamedTuple):
    changed_ns: int
    here: Promised  # without the directories below
    below: tuple[str, ...]


class PromisedSpace:
    """Sums of marked volumes. Directories whose time of change is that of the last look are not read again, so what
    guests wrote meanwhile may be missing in `used`; `forget` what changes its size where it is."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def sum(self, directories: Iterable[str]) -> Promised:
        """Of local directories and all below; those that are gone count nothing. Raises OSError."""
        with self._lock:
            before, self._seen = self._seen, {}
            size = used = 0
            waiting = list(directories)
            while waiting:
                place = waiting.pop()
                if place in self._seen:
                    continue
                try:
                    seen = _look(place, before.get(place))
                except (FileNotFoundError, NotADirectoryError):
                    continue
                self._seen[place] = seen
                size, used = size + seen.here.size, used + seen.here.used
                waiting += seen.below
            return Promised(size, used)

    def forget(self, directory: str) -> None:
        with self._lock:
            self._seen.pop(directory, None)


def _look(place: str, before: _Seen | None) -> _Seen:
    changed_ns = os.stat(place).st_mtime_ns
    if before is not None and before.changed_ns == changed_ns:
        return before
    size = used = 0
    with os.scandir(place) as found:
        entries = {entry.name: entry for entry in found}
    for name in entries:
        volume = entries.get(name.removesuffix(places.MARK))
        if name.endswith(places.MARK) and volume is not None:
            try:
                status = volume.stat(follow_symlinks=False)
            except FileNotFoundError:  # just removed
                continue
            size, used = size + status.st_size, used + status.st_blocks * 512
    is_settled = time.time_ns() - changed_ns > SETTLED_NS
    below = tuple(entry.path for entry in entries.values() if entry.is_dir(follow_symlinks=False))
    return _Seen(changed_ns if is_settled else -1, Promised(size, used), below)
