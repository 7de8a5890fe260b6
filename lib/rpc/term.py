"""The highest term that a node saw: what makes a master of the past harmless."""

from __future__ import annotations

import threading

from ganeti import errors, paths
from ganeti.host import faults, files
from ganeti.paths import Paths

BEFORE_TERM = faults.register("rpc.before_term")
AFTER_TERM = faults.register("rpc.after_term")


def store(where: Paths, term: int) -> None:
    """Write the term file, durably."""
    files.write(where, paths.TERM_FILE, b"%d\n" % term)


class TermKeeper:
    """Remembers durably. Threads may share it."""

    def __init__(self, where: Paths) -> None:
        """Raises PrereqError(environment_error) when the file is broken: guessing a term would be dangerous."""
        self._where = where
        self._lock = threading.Lock()
        self._seen = self._read()

    def _read(self) -> int:
        local = self._where.local(paths.TERM_FILE)
        text = files.read_text(local)
        if text is None:
            return 0
        if not text.strip().isdecimal():
            raise errors.PrereqError(
                "environment_error", f"{local} holds no number: {text[:40]!r}", hint="join the node again"
            )
        return int(text)

    @property
    def seen(self) -> int:
        """Highest term seen; 0: none yet."""
        return self._seen

    def check(self, term: int) -> None:
        """Accept a call of that term, remembering it if it is new. Raises StaleTermError for a lower one."""
        with self._lock:
            if term < self._seen:
                raise errors.StaleTermError(
                    f"the call carries term {term}, this node saw term {self._seen}",
                    hint="another mastership has begun; the caller is not the master any more",
                )
            if term > self._seen:
                faults.hit(BEFORE_TERM)
                store(self._where, term)
                faults.hit(AFTER_TERM)
                self._seen = term
