"""Ids of disks that are existing devices. Pure."""

from __future__ import annotations

import posixpath

from ganeti import errors

#: first part of the id: a person chose the device
DRIVER = "manual"
BASE = "/dev"


def path_of(logical_id: tuple[str | int, ...]) -> str:
    """Raises StorageError for an id that is not (manual, path below /dev)."""
    match logical_id:
        case (str(driver), str(path)) if driver == DRIVER:
            problem = why_not(path)
            if problem:
                raise errors.StorageError(f"device {path!r} {problem}")
            return path
    raise errors.StorageError(f"{logical_id!r} is not ({DRIVER}, path) of a block device")


def why_not(path: str) -> str:
    """Why a device may not have this path, or nothing."""
    if not path.startswith("/") or "\0" in path or posixpath.normpath(path) != path:
        return "is not an absolute, normalised path"
    return "" if path.startswith(f"{BASE}/") else f"is not below {BASE}"
