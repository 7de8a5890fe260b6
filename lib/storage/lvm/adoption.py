"""Logical volumes that were there before: taken over by a tag and a new name, and given back.

The tag comes first and goes last, each in one change of LVM's own metadata: whatever is interrupted, a volume that is
not called as it was found carries our tag, and the way back finds it by that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ganeti import errors
from ganeti.calls.adoption import Candidate, LogicalId
from ganeti.host.run import Argv
from ganeti.model.objects import Disk
from ganeti.model.types import Uuid
from ganeti.storage.base import NotOurs
from ganeti.storage.lvm import commands, names, parse
from ganeti.storage.lvm.names import Mark
from ganeti.storage.lvm.told import told

#: lvs(8), the first of the attributes: linear or striped, mirrored, RAID, thin, cached. Not: what others depend on, as
#: an origin does (it could not be removed without its snapshots), and the parts that volumes are made of
_KINDS = "-mMrRVC"


class LvmAdoption:
    def __init__(self, ask: Callable[[Argv], str], change: Callable[[Argv], None], lock: threading.Lock) -> None:
        """`lock`: nobody else changes names and tags meanwhile."""
        self._ask, self._change, self._lock = ask, change, lock

    def look(self, logical_ids: Sequence[LogicalId], known: Sequence[LogicalId]) -> tuple[Candidate, ...]:
        wanted = [names.pair(each) for each in logical_ids]
        # group by group: one that is damaged shall not be in the way of others
        present: dict[tuple[str, str], parse.Lv] = {}
        for vg in dict.fromkeys(vg for vg, _ in wanted):
            with told(f"cannot look at the logical volumes of {vg}"):
                present |= {(vg, name): lv for name, lv in self._list(vg).items()}
        return tuple(_candidate(place, present.get(place)) for place in wanted)

    def adopt(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        vg, name, old = _places(disk, found)
        mark = Mark(owner=owner, disk=disk.uuid)
        with self._lock, told(f"cannot adopt logical volume {vg}/{old}"):
            present = self._list(vg)
            there = present.get(name)
            if there is not None:
                if there.mark != mark:
                    raise NotOurs(f"logical volume {vg}/{name} exists and is not the one that is adopted")
                return
            source = present.get(old)
            if source is None or source.mark != mark:
                seen = _candidate((vg, old), source)
                if seen.problem:
                    raise NotOurs(f"cannot adopt logical volume {vg}/{old}: {seen.problem}", hint=seen.hint)
                if seen != found:
                    raise NotOurs(f"logical volume {vg}/{old} is not as it was when it was looked at")
                wanted = (mark.tag, names.origin_tag(origin))
                self._retag(vg, old, seen.labels, old=seen.labels, new=wanted)
            self._change(commands.lvrename(vg, old, name))

    def give_back(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        vg, name, old = _places(disk, found)
        mark = Mark(owner=owner, disk=disk.uuid)
        with self._lock, told(f"cannot give logical volume {vg}/{name} its name {old} back"):
            present = self._list(vg)
            source = present.get(name)
            if source is not None and source.mark == mark:
                if old in present:
                    raise errors.StorageError(
                        f"logical volume {vg}/{name} was called {old}, and another one has that name now",
                        hint="rename the other one with lvrename",
                    )
                self._change(commands.lvrename(vg, name, old))
            else:
                source = present.get(old)
                if source is None or source.mark != mark:
                    return
            ours = (mark.tag, names.origin_tag(origin))
            self._retag(vg, old, source.tags, old=ours, new=found.labels)

    def _list(self, vg: str) -> dict[str, parse.Lv]:
        return {lv.name: lv for lv in parse.lvs(self._ask(commands.lvs(vg))) if lv.vg == vg}

    def _retag(self, vg: str, name: str, present: Sequence[str], *, old: Sequence[str], new: Sequence[str]) -> None:
        gone = tuple(tag for tag in old if tag in present and tag not in new)
        come = tuple(tag for tag in new if tag not in present)
        if gone or come:
            self._change(commands.retag(vg, name, old=gone, new=come))


def _places(disk: Disk, found: Candidate) -> tuple[str, str, str]:
    """Group, the disk's name, the name that was found. Raises StorageError."""
    (vg, name), (old_vg, old) = names.place(disk), names.pair(found.logical_id)
    if vg != old_vg or name == old:
        raise errors.StorageError(f"logical volume {old_vg}/{old} cannot become {vg}/{name}")
    return vg, name, old


def _candidate(place: tuple[str, str], lv: parse.Lv | None) -> Candidate:
    if lv is None:
        return Candidate(logical_id=place, problem="there is no such logical volume")
    problem, hint = why_not(lv)
    labels = tuple(tag for tag in lv.tags if tag.startswith(names.ORIGIN))
    return Candidate(logical_id=place, size=int(lv.size), labels=labels, problem=problem, hint=hint)


def why_not(lv: parse.Lv) -> tuple[str, str]:
    """Why it cannot be adopted, and what to do; empty: it can. Attributes as lvs(8) tells them."""
    where = f"{lv.vg}/{lv.name}"
    if lv.mark is not None:
        return (
            f"it carries the tag of disk {lv.mark.disk} of instance {lv.mark.owner}",
            "it may be in use by an operation, or be removed by one; if no cluster knows that instance, "
            f"lvchange --deltag {lv.mark.tag} {where} sets it free",
        )
    if lv.is_lost:
        return "it has lost the disk that it lay on", ""
    if lv.attr[0] not in _KINDS:
        return (
            f"it is no volume of its own kind (lvs: {lv.attr}): other volumes depend on it, or it on them",
            "snapshots have to go first",
        )
    if lv.is_open:
        return "it is in use: mounted, or open by some program", "stop what uses it"
    if lv.attr[4] not in "a-":
        return f"it is in no good state (lvs: {lv.attr})", "see lvs(8), Volume State"
    if lv.attr[1] != "w":
        return "it is read-only", f"lvchange --permission rw {where} changes that"
    if "k" in lv.attr[9:10]:
        return "it is skipped when volumes are activated", f"lvchange --setactivationskip n {where} changes that"
    if lv.size != int(lv.size):
        return f"its size of {lv.size:g} MiB is not a whole number of MiB", "make it larger with lvextend"
    return "", ""
