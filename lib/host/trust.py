"""Whether root may run a file: nobody else could have changed it, or have put another in its place."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import shlex
import stat
import struct
from collections.abc import Callable, Iterable, Iterator

from ganeti.paths import Paths

_MOST_LINKS = 40
#: linux/posix_acl_xattr.h: a version, then tag, rights and id of each entry
_ACL_HEAD, _ACL_ENTRY = 4, struct.Struct("<HHI")
_USER, _GROUP_OBJ, _GROUP = 0x02, 0x04, 0x08
#: user_namespaces(7): owner of what belongs to nobody of the namespace, such as the host's /usr
_OVERFLOW_UID = 65534


class Judge:
    """Knows whose files are as good as root's on that node."""

    def __init__(
        self, where: Paths, *, owners: frozenset[int] | None = None, strangers: Callable[[int], str] | None = None
    ) -> None:
        """`strangers`: names of a group's members who are none of `owners`, or nothing."""
        # a virtual node is an ordinary account's, and may be in /tmp: there others cannot replace what is not theirs
        self._may_be_sticky = where.is_virtual
        self._owners = owners if owners is not None else _owners(is_virtual=where.is_virtual)
        self._strangers = strangers or (lambda gid: _strangers(gid, self._owners, is_virtual=where.is_virtual))

    def problem(self, path: str) -> str:
        """Why root should not run that file or follow its words, and what to type; or nothing.

        The file, and each directory and link on the way to it. Raises OSError when it is not there.
        """
        return next((why for each, found in _way(path) if (why := self._why_not(each, found))), "")

    def _why_not(self, path: str, found: os.stat_result) -> str:
        mode = stat.S_IMODE(found.st_mode)
        is_link, is_directory = stat.S_ISLNK(found.st_mode), stat.S_ISDIR(found.st_mode)
        shown, quoted = path if is_link else f"{path} (mode {mode:04o})", shlex.quote(path)
        if found.st_uid not in self._owners:
            option = "-h " if is_link else ""
            whose, ours = account_name(found.st_uid), account_name(os.geteuid())
            return f"{shown} belongs to {whose}; type: chown {option}{ours} {quoted}"
        is_sticky = is_directory and bool(mode & stat.S_ISVTX)
        if is_link or (is_sticky and self._may_be_sticky):
            return ""
        if mode & stat.S_IWOTH:
            mend = "move it to a directory of root's" if is_sticky else f"type: chmod o-w {quoted}"
            return f"{shown} can be written by everybody; {mend}"
        # with an access control list these bits are its mask, acl(5): without them it lets nobody write
        if mode & stat.S_IWGRP and (who := self._writers(path, found.st_gid)):
            return f"{shown} can be written by {who}; type: chmod g-w {quoted}"
        return ""

    def _writers(self, path: str, own_group: int) -> str:
        users, groups = _granted(path, own_group)
        names = [account_name(uid) for uid in users if uid not in self._owners]
        return " and ".join([*names, *filter(None, map(self._strangers, groups))])


def why_not_trusted(path: str, where: Paths) -> str:
    """`Judge.problem` for one file."""
    return Judge(where).problem(path)


def distrusted(paths: Iterable[str], where: Paths) -> tuple[str, ...]:
    """What is wrong with those of the files that are there, each problem once."""
    judge, found = Judge(where), dict[str, None]()
    for path in paths:
        try:
            problem = judge.problem(path)
        except OSError:  # it is not there, or a link to nothing
            continue
        if problem:
            found[problem] = None
    return tuple(found)


def account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def _way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """What is passed on the way to the file, and the file, as lstat(2) tells. Raises OSError."""
    here, links = "/", 0
    rest = os.path.join(os.getcwd(), path).split("/")[::-1]
    yield here, os.lstat(here)
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, part)
        found = os.lstat(there)
        yield there, found
        if not stat.S_ISLNK(found.st_mode):
            here = there
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        target = os.readlink(there)
        here = "/" if target.startswith("/") else here
        rest += target.split("/")[::-1]


def _granted(path: str, own_group: int) -> tuple[list[int], list[int]]:
    """User and group ids that may write beside the owner, where the group's bit for that is set. Raises OSError."""
    try:
        listed = os.getxattr(path, "system.posix_acl_access")
    except OSError as err:
        if err.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return [], [own_group]
        raise
    may_write = [
        (tag, own_group if tag == _GROUP_OBJ else number)
        for tag, rights, number in _ACL_ENTRY.iter_unpack(listed[_ACL_HEAD:])
        if rights & os.W_OK
    ]
    return (
        [number for tag, number in may_write if tag == _USER],
        [number for tag, number in may_write if tag in (_GROUP, _GROUP_OBJ)],
    )


def _owners(*, is_virtual: bool) -> frozenset[int]:
    """On a virtual node whoever has installed this code could change what is run anyway."""
    known = {0, os.geteuid()}
    return frozenset(known | {_OVERFLOW_UID, os.stat(__file__).st_uid} if is_virtual else known)


def _strangers(gid: int, owners: frozenset[int], *, is_virtual: bool) -> str:
    # Debian has the group staff, in which is nobody, on /usr/local; others give each account a group of its own
    if gid == 0:
        return ""
    try:
        group = grp.getgrgid(gid)
    except KeyError:
        return "" if is_virtual else f"group {gid}, which has no name here"
    members = {each.pw_name for each in pwd.getpwall() if each.pw_gid == gid and each.pw_uid not in owners}
    members |= {name for name in group.gr_mem if _uid(name) not in owners}
    if not members:
        return ""
    few = sorted(members)[:3]
    return f"group {group.gr_name} ({', '.join(few)}{', ...' if len(members) > len(few) else ''})"


def _uid(name: str) -> int:
    """-1: there is no such account."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return -1
