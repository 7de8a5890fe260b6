"""Volume groups that have lost physical volumes: what is gone, and going on without it."""

from __future__ import annotations

import logging
from collections.abc import Collection

from ganeti import errors
from ganeti.calls.power import LostVolume, StorageLoss
from ganeti.host.run import Runner
from ganeti.storage.lvm import commands, names, parse

log = logging.getLogger(__name__)

_READ_S = 120.0
_CHANGE_S = 280.0  # LVM's tools wait for each other's lock


def lost(runner: Runner, vg: str) -> StorageLoss:
    """What the group misses. Raises StorageError, also when there is no such group."""
    try:
        groups = parse.vgs(runner.run(commands.vgs(), timeout_s=_READ_S).stdout)
        group = next((each for each in groups if each.name == vg), None)
        if group is None:
            raise errors.StorageError(f"volume group {vg} missing")
        if not group.missing:
            return StorageLoss()
        volumes = parse.lvs(runner.run(commands.lvs(vg), timeout_s=_READ_S).stdout)
    except errors.CommandFailed as err:
        raise errors.StorageError(f"cannot find out what volume group {vg} has lost: {err}") from err
    gone = tuple(
        LostVolume(
            name=each.name,
            owner=each.mark.owner if each.mark is not None else None,
            disk=each.mark.disk if each.mark is not None else None,
            origin=names.origin_of(each.tags),
        )
        for each in volumes
        if each.is_lost
    )
    return StorageLoss(missing=group.missing, volumes=gone)


def drop(runner: Runner, vg: str, agreed: Collection[str]) -> str:
    """Take the missing physical volumes out of the group; what was done, empty: there was nothing to do.

    Raises StorageError when volumes that are not `agreed` would go with them.
    """
    found = lost(runner, vg)
    if not found.missing:
        return ""
    gone = [volume.name for volume in found.volumes]
    others = [name for name in gone if name not in agreed]
    if others:
        raise errors.StorageError(
            f"volume group {vg} would lose {', '.join(others)}, too, and nobody has agreed to that",
            hint="more has gone since it was looked at: look again",
        )
    log.warning(
        "taking %s missing physical volumes out of volume group %s; volumes that go: %s",
        found.missing, vg, ", ".join(gone) or "none",
    )  # fmt: skip
    try:
        runner.run(commands.reduce_missing(vg, force=bool(gone)), timeout_s=_CHANGE_S)
    except errors.CommandFailed as err:
        raise errors.StorageError(f"cannot repair volume group {vg}: {err}") from err
    return f"{found.missing} missing physical volumes were taken out of volume group {vg}"
