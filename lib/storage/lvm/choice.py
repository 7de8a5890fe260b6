"""On which physical volumes a new volume goes: those of one instance on as few as possible. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from ganeti import errors
from ganeti.model.types import MiB
from ganeti.storage.lvm.parse import Pv


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    stripes: int
    pvs: tuple[str, ...]  # in the order in which they are to be filled


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """What a new volume is best beside, the most important first."""

    mate: frozenset[str] = frozenset()  # physical volumes of the other one of its mirror
    mate_size: MiB = 0  # that is still to come
    near: frozenset[str] = frozenset()  # of the instance's volumes
    together: MiB = 0  # the instance gets so much now, this included


def choose(pvs: Iterable[Pv], vg: str, *, size: MiB, stripes: int, company: Company) -> tuple[Choice, ...]:
    """What to try, best first.

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
        chosen = _best(usable, cut, size, company)
        if chosen is not None:
            found.append(Choice(stripes=cut, pvs=chosen))
    every = Choice(stripes=1, pvs=tuple(pv.name for pv in usable))
    return (*found, every) if every not in found else tuple(found)


def _best(usable: list[Pv], cut: int, size: MiB, company: Company) -> tuple[str, ...] | None:
    share = math.ceil(size / cut)
    roomy = math.ceil(max(size, company.together) / cut)
    fit = [pv for pv in usable if pv.free >= share]
    if len(fit) < cut:
        return None

    def rank(pv: Pv) -> tuple[object, ...]:
        # a mirror is of no use without either of its two volumes: on two disks it would be lost with each of them
        is_apart = bool(company.mate) and pv.name not in company.mate
        is_too_full = pv.free < share + company.mate_size
        # then those that hold the instance already, then those that take all that is still to come
        return is_apart, is_too_full, pv.name not in company.near, pv.free < roomy, -pv.free, pv.name

    return tuple(pv.name for pv in sorted(fit, key=rank)[:cut])
