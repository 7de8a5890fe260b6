"""On which physical volumes a new volume goes: those of one instance on as few as possible. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import msgspec

from ganeti import errors
from ganeti.model.types import MiB
from ganeti.storage.lvm.parse import Pv


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    stripes: int
    pvs: tuple[str, ...]  # in the order in which they are to be filled


def choose(
    pvs: Iterable[Pv], vg: str, *, size: MiB, stripes: int, near: Collection[str], together: MiB = 0
) -> tuple[Choice, ...]:
    """What to try, best first. `near` have volumes of the instance; `together` MiB are still to come, this included.

    Raises StorageError when there is not enough space however it is cut.
    """
    usable = sorted(
        (pv for pv in pvs if pv.vg == vg and pv.is_allocatable and not pv.is_missing),
        key=lambda pv: (-pv.free, pv.name),
    )
    if not usable:
        raise errors.StorageError(f"volume group {vg} has no physical volume with room for anything")
    free = sum(pv.free for pv in usable)
    if free < size:
        raise errors.StorageError(f"not enough free space in volume group {vg}: required {size}, available {free:g}")
    found = []
    for cut in range(min(stripes, len(usable)), 0, -1):
        chosen = _best(usable, cut, size, near, max(size, together))
        if chosen is not None:
            found.append(Choice(stripes=cut, pvs=chosen))
    every = Choice(stripes=1, pvs=tuple(pv.name for pv in usable))
    return (*found, every) if every not in found else tuple(found)


def _best(usable: list[Pv], cut: int, size: MiB, near: Collection[str], together: MiB) -> tuple[str, ...] | None:
    share = math.ceil(size / cut)
    roomy = math.ceil(together / cut)
    fit = [pv for pv in usable if pv.free >= share]
    if len(fit) < cut:
        return None
    # those that hold the instance already, then those that take all that is still to come
    order = sorted(fit, key=lambda pv: (pv.name not in near, pv.free < roomy, -pv.free, pv.name))
    return tuple(pv.name for pv in order[:cut])
