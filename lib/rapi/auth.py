"""Who may do what: the users file, passwords in several forms, and what a request has to show."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping

import msgspec

REALM = "Ganeti Remote API"
READ, WRITE = "read", "write"
#: cost of new scrypt hashes: 32 MiB and some tenths of a second
_LOG_N, _R, _P = 15, 8, 1
#: what a hash of the users file may cost at most
_MAX_LOG_N, _MAX_RP = 20, 64
_SCHEME = re.compile(r"\{([^}]*)\}(.*)\Z", re.DOTALL)
_SCRYPT = re.compile(r"ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/=]+)\$([A-Za-z0-9+/=]+)\Z")


class User(msgspec.Struct, frozen=True):
    name: str
    secret: str  # as the file has it
    rights: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"User({self.name!r}, <hidden>)"


def parse_users(text: str) -> dict[str, User]:
    """Users by name; of lines with the same name the last counts, lines that make no sense are left out."""
    found = {}
    for line in text.splitlines():
        words = line.strip().split(None, 2)
        if len(words) < 2 or words[0].startswith("#"):
            continue
        rights = frozenset(word.strip() for word in (words[2] if len(words) > 2 else "").split(",") if word.strip())
        found[words[0]] = User(words[0], words[1], rights)
    return found


def parse_header(untrusted: str) -> tuple[str, str] | None:
    """(user, password) of an Authorization header; None: not one that we understand."""
    scheme, _, encoded = untrusted.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (name, password) if colon else None


def is_slow(user: User) -> bool:
    """Whether checking the password takes so long that it is done elsewhere than in the loop."""
    return user.secret.lower().startswith("{scrypt}")


def verify(user: User, password: str) -> bool:
    """Whether it is the user's password. An unknown scheme or a hash that cannot be read never fits."""
    match = _SCHEME.match(user.secret)
    if match is None:
        return _same(user.secret, password)
    scheme, rest = match[1].lower(), match[2]
    if scheme == "cleartext":
        return _same(rest, password)
    if scheme == "ha1":
        digest = hashlib.md5(f"{user.name}:{REALM}:{password}".encode(), usedforsecurity=False).hexdigest()
        return _same(rest.lower(), digest)
    return scheme == "scrypt" and _is_scrypt(rest, password)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _is_scrypt(stored: str, password: str) -> bool:
    match = _SCRYPT.match(stored)
    if match is None:
        return False
    log_n, r, p = int(match[1]), int(match[2]), int(match[3])
    if not (1 <= log_n <= _MAX_LOG_N and r >= 1 and p >= 1 and r * p <= _MAX_RP):
        return False
    try:
        salt, wanted = base64.b64decode(match[4], validate=True), base64.b64decode(match[5], validate=True)
    except binascii.Error:
        return False
    return hmac.compare_digest(wanted, _scrypt(password, salt, log_n=log_n, r=r, p=p, size=len(wanted)))


def _scrypt(password: str, salt: bytes, *, log_n: int, r: int, p: int, size: int) -> bytes:
    memory = 128 * r * ((1 << log_n) + p + 2)
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << log_n, r=r, p=p, maxmem=memory + (1 << 20), dklen=size)


def hashed(password: str, *, salt: bytes | None = None) -> str:
    """The text for the users file."""
    used = secrets.token_bytes(16) if salt is None else salt
    digest = _scrypt(password, used, log_n=_LOG_N, r=_R, p=_P, size=32)
    parts = (base64.b64encode(part).decode("ascii") for part in (used, digest))
    return f"{{scrypt}}ln={_LOG_N},r={_R},p={_P}${'$'.join(parts)}"


class Failures:
    """Counts wrong passwords by address; too many in a while, and the address has to wait. Pure: no clock."""

    def __init__(self, *, most: int = 10, per_s: float = 60.0) -> None:
        self._most, self._per_s = most, per_s
        self._times: dict[str, list[float]] = {}

    def note(self, address: str, now: float) -> None:
        self._times.setdefault(address, []).append(now)
        if len(self._times) > 10_000:
            self._forget(now)

    def wait_s(self, address: str, now: float) -> float:
        """Seconds until the address may try again; 0: now."""
        recent = [time for time in self._times.get(address, ()) if now - time < self._per_s]
        if not recent:
            self._times.pop(address, None)
            return 0.0
        self._times[address] = recent
        return recent[-self._most] + self._per_s - now if len(recent) >= self._most else 0.0

    def _forget(self, now: float) -> None:
        self._times = {key: times for key, times in self._times.items() if now - times[-1] < self._per_s}


class Verified:
    """Passwords that were right lately, so that a slow hash is not computed for each request of a client."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}

    def _digest(self, user: User, password: str) -> bytes:
        text = f"{user.name}\0{user.secret}\0{password}".encode()
        return hmac.digest(self._key, text, "sha256")

    def knows(self, user: User, password: str) -> bool:
        known = self._known.get(user.name)
        return known is not None and hmac.compare_digest(known, self._digest(user, password))

    def remember(self, user: User, password: str) -> None:
        self._known[user.name] = self._digest(user, password)

    def keep_only(self, users: Mapping[str, User]) -> None:
        """After the users file changed."""
        self._known = {name: digest for name, digest in self._known.items() if name in users}
