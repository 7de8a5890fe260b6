"""Whether the files of this node belong to whom the account table says, and are open to nobody else."""

from __future__ import annotations

import os
import stat

from ganeti import errors, paths
from ganeti.host import files
from ganeti.paths import File, Paths


def too_open(where: Paths) -> dict[str, str]:
    """By logical path: what is wrong. A file that is not there is not looked at; less than the table allows is fine."""
    found: dict[str, str] = {}
    for file in paths.account_table():
        try:
            status = os.stat(where.local(file))
        except FileNotFoundError:
            continue
        problems = [_mode(file, stat.S_IMODE(status.st_mode)), _owner(file, where, (status.st_uid, status.st_gid))]
        text = "; ".join(filter(None, problems))
        if text:
            found[file.path] = text
    return found


def _mode(file: File, mode: int) -> str:
    if file.mode & stat.S_ISVTX and not mode & stat.S_ISVTX and mode & 0o022:
        return (
            f"its mode is {mode:04o}, {file.mode:04o} is meant: others can put something in the place of root's files"
        )
    return f"its mode is {mode:04o}, at most {file.mode:04o} is meant" if mode & ~file.mode else ""


def _owner(file: File, where: Paths, ids: tuple[int, int]) -> str:
    try:
        wanted = files.owner_ids(file, is_virtual=where.is_virtual)
    except errors.PrereqError as err:
        return str(err)
    if wanted in ((-1, -1), ids):
        return ""
    return f"it belongs to {ids[0]}:{ids[1]}, not to {file.user}:{file.group} ({wanted[0]}:{wanted[1]})"
