"""Whose calls a node daemon answers: the certificates in its trust file."""

from __future__ import annotations

import re
import threading

import msgspec

from ganeti import errors, paths
from ganeti.host import faults, files
from ganeti.paths import Paths
from ganeti.wire import codec

BEFORE_TRUST = faults.register("rpc.before_trust")
AFTER_TRUST = faults.register("rpc.after_trust")

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the trust file. A generation is (term, serial), the term compared first."""

    term: int
    serial: int
    digests: dict[str, str]  # SHA-256 of a certificate, lower-case hex → node name

    @property
    def generation(self) -> tuple[int, int]:
        return self.term, self.serial


def check(trust: Trust) -> Trust:
    """Raises PrereqError(wrong_input) for a list that would lock everybody out or cannot match anything."""
    if not trust.digests:
        raise errors.PrereqError("wrong_input", "an empty trust list would lock the master out")
    for digest in trust.digests:
        if not _DIGEST.match(digest):
            raise errors.PrereqError(
                "wrong_input", f"{digest[:80]!r} is not a certificate digest", hint="64 lower-case hex digits are"
            )
    return trust


def store(where: Paths, trust: Trust) -> None:
    """Write the trust file, whole or not at all."""
    files.write(where, paths.TRUST_FILE, codec.encode(check(trust)) + b"\n")


def read(where: Paths) -> Trust | None:
    """None: there is no file. Raises PrereqError when it is broken."""
    local = where.local(paths.TRUST_FILE)
    text = files.read_text(local, max_bytes=1 << 24)
    if text is None:
        return None
    try:
        return check(codec.decode(text, Trust))
    except codec.CodecError as err:
        raise errors.PrereqError(
            "environment_error", f"cannot read {local}: {err}", hint="join the node again"
        ) from err


class TrustFile:
    """The trust file in memory. Threads may share it; the handshake asks `accepts`."""

    def __init__(self, where: Paths) -> None:
        """Raises PrereqError when the file is missing or broken."""
        self._where = where
        self._lock = threading.Lock()
        found = read(where)
        if found is None:
            raise errors.PrereqError(
                "environment_error", f"{where.local(paths.TRUST_FILE)} is missing", hint="join the node again"
            )
        self._trust = found

    @property
    def trust(self) -> Trust:
        return self._trust

    def accepts(self, digest: str) -> bool:
        return digest in self._trust.digests

    def replace(self, new: Trust) -> None:
        """Store a newer generation. The same again is fine; raises PrereqError(wrong_state) for an older one."""
        check(new)
        with self._lock:
            old = self._trust
            if new.generation < old.generation:
                raise errors.PrereqError(
                    "wrong_state",
                    f"trust list (term {new.term}, serial {new.serial}) is older than what this node has "
                    f"(term {old.term}, serial {old.serial})",
                )
            if new == old:
                return
            faults.hit(BEFORE_TRUST)
            store(self._where, new)
            faults.hit(AFTER_TRUST)
            self._trust = new

    def reload(self) -> bool:
        """Read the file again after a change on disk; whether something else is trusted now.

        An older generation is not taken; raises PrereqError then and when the file is broken: what was trusted, stays.
        """
        with self._lock:
            found = read(self._where)
            if found is None or found == self._trust:
                return False
            if found.generation < self._trust.generation:
                raise errors.PrereqError(
                    "wrong_state",
                    f"the trust file went back to term {found.term}, serial {found.serial}; "
                    f"still trusting that of term {self._trust.term}, serial {self._trust.serial}",
                )
            self._trust = found
            return True
