"""The users file as it is now, and whether a request may go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from ganeti.host import files
from ganeti.rapi import auth
from ganeti.rapi.auth import Failures, User, Verified
from ganeti.rapi.failures import HttpFailure

log = logging.getLogger(__name__)

#: hashes that are computed at once: each takes 32 MiB or more
_HASHES = 2
#: addresses share these at random
_TURNS = 64
_MAX_FILE = 1 << 20


class Users:
    """All methods belong to the loop."""

    def __init__(
        self,
        path: str,
        *,
        require_authentication: bool,
        monotonic: Callable[[], float],
        failures: Failures | None = None,
    ) -> None:
        self._path = path
        self._require = require_authentication
        self._monotonic = monotonic
        self._failures = failures or Failures()
        self._verified = Verified()
        self._hashing = asyncio.Semaphore(_HASHES)
        self._turns = tuple(asyncio.Lock() for _ in range(_TURNS))
        self._users: dict[str, User] = {}
        self.load()

    def load(self) -> None:
        """Read the file anew. A missing one has no users; one that cannot be read leaves things as they are."""
        try:
            text = files.read_text(self._path, max_bytes=_MAX_FILE)
        except OSError as err:
            log.error("cannot read %s: %s; its users stay as they are", self._path, err.strerror)
            return
        self._users = auth.parse_users(text or "")
        self._verified.keep_only(self._users)
        log.info("%s users", len(self._users))
        for user in self._users.values():
            if user.rights - {auth.READ, auth.WRITE}:  # they are not shown: it may be a password with a blank
                log.warning("user %s has rights that are neither read nor write", user.name)

    async def admit(self, header: str | None, rights: tuple[str, ...], address: str) -> User | None:
        """Who asks; None: nobody in particular. Raises HttpFailure 401, 403 or 429."""
        if header is None:
            if rights or self._require:
                raise _unauthorised()
            return None
        user = await self._identified(header, address)
        if user is None:
            raise _unauthorised()
        if rights and not user.rights.intersection(rights):
            raise HttpFailure(403, f"This needs the right to {' or '.join(rights)}")
        return user

    async def _identified(self, header: str, address: str) -> User | None:
        found = auth.parse_header(header)
        user = self._users.get(found[0]) if found else None
        password = found[1] if found else ""
        if user and self._verified.knows(user, password):
            return user
        # one after the other, so that guesses that come together are counted, too; a client's other requests with the
        # same password need no computation when it is their turn
        async with self._turns[hash(address) % len(self._turns)]:
            if user and self._verified.knows(user, password):
                return user
            wait_s = self._failures.wait_s(address, self._monotonic())
            if wait_s > 0:
                raise HttpFailure(
                    429,
                    "Too many wrong passwords came from this address",
                    headers={"Retry-After": str(int(wait_s) + 1)},
                )
            if user and await self._is_right(user, password):
                self._verified.remember(user, password)
                return user
            self._failures.note(address, self._monotonic())
        log.warning("wrong user or password from %s", address)
        return None

    async def _is_right(self, user: User, password: str) -> bool:
        if not auth.is_slow(user):
            return auth.verify(user, password)
        async with self._hashing:
            return await asyncio.to_thread(auth.verify, user, password)


def _unauthorised() -> HttpFailure:
    return HttpFailure(401, headers={"WWW-Authenticate": f'Basic realm="{auth.REALM}"'})
