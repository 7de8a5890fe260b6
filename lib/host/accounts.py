"""The account under which a daemon works."""

from __future__ import annotations

import logging
import os
import pwd

from ganeti import errors
from ganeti.paths import Paths

log = logging.getLogger(__name__)


def become(user: str, where: Paths) -> None:
    """Give up root for that account and its groups, for good. Not root, root itself, a virtual node: as it is.

    Raises PrereqError(environment_error) when there is no such account.
    """
    if where.is_virtual or os.geteuid() != 0 or user == "root":
        return
    try:
        account = pwd.getpwnam(user)
    except KeyError as err:
        raise errors.PrereqError(
            "environment_error", f"account {user!r} does not exist", hint="create the accounts named at configure time"
        ) from err
    os.initgroups(user, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    log.info("works as %s", user)
