"""What a check of the cluster wants to know of the host below a node: bridges, programs, the mirrors' kernel module."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable

from ganeti import paths
from ganeti.host import files, net, trust
from ganeti.node import iallocator
from ganeti.node.base import NodeEnv
from ganeti.paths import Paths
from ganeti.storage.file import places

_HELPER = "/sys/module/drbd/parameters/usermode_helper"
_VERSION = re.compile(r"version: (\S+)")


def missing_bridges(wanted: Iterable[str], where: Paths) -> tuple[str, ...]:
    """A virtual node has no network of its own: it needs none."""
    if where.is_virtual:
        return ()
    return tuple(
        name for name in wanted if not net.DEVICE.match(name) or not os.path.isdir(f"/sys/class/net/{name}/bridge")
    )


def missing_devices(wanted: Iterable[str]) -> tuple[str, ...]:
    """A virtual node has the host's."""
    return tuple(name for name in wanted if not net.DEVICE.match(name) or not os.path.exists(f"/sys/class/net/{name}"))


def bad_programs(wanted: Iterable[str], where: Paths) -> dict[str, str]:
    """By path: why it cannot be run."""
    found: dict[str, str] = {}
    for path in wanted:
        try:
            local = where.local(path)
        except ValueError as err:
            found[path] = str(err)
            continue
        if not os.path.isfile(local):
            found[path] = "it is not there, or no file"
        elif not os.access(local, os.X_OK):
            found[path] = "it is not executable"
        elif problem := trust.why_not_trusted(local, where):
            found[path] = problem
    return found


def distrusted(allocators: Iterable[str], where: Paths) -> tuple[str, ...]:
    """Why root does not run hooks of this node, or one of these allocators: others could have changed them."""
    hooks = (path for path in sorted(glob.glob(f"{where.local(paths.HOOKS_DIR)}/*/*")) if os.access(path, os.X_OK))
    programs = (found for name in allocators if (found := iallocator.find(name, where)))
    return trust.distrusted((*hooks, *programs), where)


def bad_storage_paths(where: Paths) -> tuple[str, ...]:
    """Lines of the list of allowed directories that are not used, and why."""
    return places.parse_list(files.read_text(where.local(paths.FILE_STORAGE_PATHS)) or "").problems


def drbd_version() -> str:
    """Empty: the module is not loaded."""
    found = _VERSION.match(files.read_text("/proc/drbd") or "")
    return found[1] if found else ""


def drbd_helper() -> str:
    return (files.read_text(_HELPER) or "").strip()


def minors(env: NodeEnv) -> tuple[int, ...]:
    """All that are in use. Raises StorageError."""
    found: set[int] = set()
    for storage in env.storage.values():
        if storage.mirror is not None:
            found.update(storage.mirror.minors())
    return tuple(sorted(found))
