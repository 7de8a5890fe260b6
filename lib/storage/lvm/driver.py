"""Logical volumes, marked by a tag."""

from __future__ import annotations

import logging
import math
import threading

from ganeti import errors
from ganeti.calls.node import StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.host.clock import Clock
from ganeti.host.run import Argv, Runner
from ganeti.model.objects import Disk
from ganeti.model.types import MiB, Uuid
from ganeti.storage import wipe
from ganeti.storage.base import NotOurs, VolumeLost, Watch
from ganeti.storage.lvm import choice, commands, names, parse
from ganeti.storage.lvm.adoption import LvmAdoption
from ganeti.storage.lvm.names import Mark
from ganeti.storage.lvm.told import told

log = logging.getLogger(__name__)

_READ_S = 120.0
#: LVM's tools wait for each other's lock
_CHANGE_S = 280.0
#: a process that looked at the device may hold it for a moment (udev, a file system probe); tried so long, and after
#: each pause. By the clock, not by counting: one try may take 10 s where udev is slow
_BUSY_S, _BUSY_PAUSE_S = 30.0, 3.0
#: of a volume group that is worth anything
_SMALLEST_VG = 20480
_PARAMETER = "stripes"


class LvmStorage:
    mirror = None

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock
        # between the look at the free space and its taking nobody else may take it
        self._lock = threading.Lock()
        self.adoption = LvmAdoption(self._ask, self._change, self._lock)

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        vg, name = names.place(disk)
        mark = Mark(owner=owner, disk=disk.uuid)
        with self._lock, told(f"cannot create logical volume {vg}/{name}"):
            present = self._list(vg)
            found = _ours(present, vg, name, mark)
            if found is not None:
                if not _is_size(found, disk.size):
                    raise errors.StorageError(
                        f"logical volume {vg}/{name} is there with {found.size:g} MiB instead of {disk.size} MiB"
                    )
                return self._opened(vg, name, disk.size)
            company = _company(present, owner, mate, together)
            ways = choice.choose(
                parse.pvs(self._ask(commands.pvs())),
                vg,
                size=disk.size,
                stripes=int(disk.params.get(_PARAMETER, 1)),
                company=company,
            )
            tags = (mark.tag, names.origin_tag(origin)) if origin else (mark.tag,)
            self._first_of(
                [
                    commands.lvcreate(vg, name, size=disk.size, stripes=way.stripes, tags=tags, pvs=way.pvs)
                    for way in ways
                ]
            )
        return self._opened(vg, name, disk.size)

    def remove(self, disk: Disk, owner: Uuid) -> None:
        vg, name = names.place(disk)
        with told(f"cannot remove logical volume {vg}/{name}"):
            if _ours(self._list(vg), vg, name, Mark(owner=owner, disk=disk.uuid)) is None:
                return
            self._remove(vg, name)

    def _remove(self, vg: str, name: str) -> None:
        end = self._clock.monotonic() + _BUSY_S
        while True:
            try:
                self._change(commands.lvremove(vg, name))
                return
            except errors.CommandFailed as err:
                if "in use" not in err.output or self._clock.monotonic() + _BUSY_PAUSE_S > end:
                    raise
            log.info("logical volume %s/%s is in use; trying again to remove it", vg, name)
            self._clock.sleep(_BUSY_PAUSE_S)

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply:
        vg, name = names.place(disk)
        device = names.device(vg, name)
        with told(f"cannot look at logical volume {vg}/{name}"):
            found = _ours(self._list(vg), vg, name, Mark(owner=owner, disk=disk.uuid))
        if found is None:
            return VolumeReply(path=device, size=0, exists=False)
        if found.is_lost:
            raise VolumeLost(
                f"logical volume {vg}/{name} has lost the disk that it lay on",
                hint="it has to be recreated or restored",
                path=device,
            )
        if found.is_overflown:
            raise VolumeLost(
                f"snapshot {vg}/{name} has lost its content: more was written to its source than it had room for",
                hint="remove it and take another one",
                path=device,
            )
        # of a snapshot LVM tells the room for what it keeps; its device is as large as its source
        return VolumeReply(path=device, size=disk.size if found.is_snapshot else int(found.size))

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        found = self.info(disk, owner)
        if not found.exists:
            raise errors.StorageError(
                f"volume {found.path} of disk {disk.uuid} is not there", hint="it has to be recreated or restored"
            )
        if found.size < disk.size:
            raise errors.StorageError(f"volume {found.path} has {found.size} MiB instead of {disk.size} MiB")
        vg, name = names.place(disk)
        with told(f"cannot activate logical volume {vg}/{name}"):
            self._change(commands.activate(vg, name))
        return self._opened(vg, name, found.size)

    def _opened(self, vg: str, name: str, size: MiB) -> VolumeReply:
        device = names.device(vg, name)
        try:
            self._runner.run(commands.settle(device), timeout_s=30)
        except errors.CommandFailed as err:
            log.warning("waiting for %s: %s", device, err)
        return VolumeReply(path=device, size=size)

    def close(self, disk: Disk, owner: Uuid) -> None:
        """It stays active: that costs nothing, and others may look at it."""

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        vg, old_name = names.place(disk)
        new_vg, name = names.place(new)
        if vg != new_vg:
            raise errors.StorageError(f"logical volume {vg}/{old_name} cannot be renamed into volume group {new_vg}")
        before, after = Mark(owner=owner, disk=disk.uuid), Mark(owner=owner, disk=new.uuid)
        with self._lock, told(f"cannot rename logical volume {vg}/{old_name} to {name}"):
            present = {lv.name: lv for lv in self._list(vg) if lv.vg == vg}
            there = present.get(name)
            if name != old_name and there is not None and there.mark not in (before, after):
                raise NotOurs(f"logical volume {vg}/{name} exists and is not this one")
            if there is None or name == old_name:
                source = _ours(tuple(present.values()), vg, old_name, before)
                if source is None:
                    raise errors.StorageError(f"logical volume {vg}/{old_name} is not there")
                if name != old_name:
                    self._change(commands.lvrename(vg, old_name, name))
                there = source
            if there.mark != after:
                self._change(commands.retag(vg, name, old=(before.tag,), new=(after.tag,)))
        return self.open(new, owner)

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        vg, name = names.place(disk)
        before, after = Mark(owner=owner, disk=disk.uuid), Mark(owner=to, disk=disk.uuid)
        with self._lock, told(f"cannot change the tags of logical volume {vg}/{name}"):
            present = self._list(vg)
            there = next((lv for lv in present if lv.vg == vg and lv.name == name), None)
            found = _ours(present, vg, name, after if there is not None and there.mark == after else before)
            if found is None:
                raise errors.StorageError(f"logical volume {vg}/{name} is not there")
            wanted = (after.tag, *((names.origin_tag(origin),) if origin else ()))
            old = tuple(tag for tag in found.tags if names.is_our_tag(tag) and tag not in wanted)
            new = tuple(tag for tag in wanted if tag not in found.tags)
            if old or new:
                self._change(commands.retag(vg, name, old=old, new=new))

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        vg, name = names.place(disk)
        with self._lock, told(f"cannot grow logical volume {vg}/{name}"):
            found = _ours(self._list(vg), vg, name, Mark(owner=owner, disk=disk.uuid))
            if found is None:
                raise errors.StorageError(f"logical volume {vg}/{name} is not there")
            step = found.extent * found.stripes
            target = math.ceil(size / step) * step
            if found.size < size:
                self._first_of(
                    [commands.lvextend(vg, name, size=int(target), policy=policy) for policy in commands.POLICIES]
                )
        return self.info(disk, owner)

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: Watch) -> VolumeReply:
        vg, name = names.place(snapshot)
        source_vg, source = names.place(disk)
        if vg != source_vg:
            raise errors.StorageError(f"a snapshot of {source_vg}/{source} cannot lie in volume group {vg}")
        self.open(disk, owner)
        mark = Mark(owner=owner, disk=snapshot.uuid)
        with self._lock, told(f"cannot take a snapshot of logical volume {vg}/{source}"):
            present = self._list(vg)
            old = next((lv for lv in present if lv.vg == vg and lv.name == name), None)
            if old is not None:
                # one that was left behind has the mark of another try
                if old.mark is None or old.mark.owner != owner:
                    raise NotOurs(f"logical volume {vg}/{name} exists and is not a snapshot of ours")
                self._remove(vg, name)
            origin = next((lv for lv in present if lv.vg == vg and lv.name == source), None)
            whole = commands.snapshot_room(math.ceil(origin.size) if origin is not None else snapshot.size)
            # where there is less, it lasts until so much was written
            self._first_of(
                [
                    commands.lvcreate_snapshot(vg, name, of=source, size=size, tag=mark.tag)
                    for size in (whole, snapshot.size)
                ]
            )
        return self._opened(vg, name, snapshot.size)

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: Watch) -> None:
        found = self.open(disk, owner)
        with told(f"cannot wipe {found.path}"):
            wipe.wipe(self._runner, found.path, offset=offset, size=disk.size, watch=watch)

    def space(self, *, vg: str = "") -> StorageInfo:
        with told(f"cannot ask for the space of volume group {vg}"):
            found = self._group(vg)
        return StorageInfo(total=int(found.size), free=int(found.free))

    def verify(self, *, vg: str = "") -> str:
        try:
            found = self._group(vg)
        except errors.CommandFailed as err:
            return str(err)
        except errors.StorageError as err:
            return str(err)
        problems = []
        if found.size < _SMALLEST_VG:
            problems.append(f"volume group {vg} is too small ({_SMALLEST_VG} MiB required, {found.size:g} found)")
        if found.missing:
            problems.append(f"volume group {vg} has lost {found.missing} of its {found.pvs} physical volumes")
        return "; ".join(problems)

    def _group(self, vg: str) -> parse.Vg:
        if not vg:
            raise errors.StorageError("no volume group is set", hint="gnt-cluster modify --vg-name sets it")
        found = next((each for each in parse.vgs(self._ask(commands.vgs())) if each.name == vg), None)
        if found is None:
            raise errors.StorageError(f"volume group {vg} missing")
        return found

    def origins(self) -> dict[str, str]:
        with told("cannot list the logical volumes"):
            found = {
                names.device(lv.vg, lv.name): names.origin_of(lv.tags) for lv in self._list() if lv.mark is not None
            }
        return {path: origin for path, origin in found.items() if origin}

    def volumes(self) -> tuple[str, ...]:
        with told("cannot list the logical volumes"):
            return tuple(names.device(lv.vg, lv.name) for lv in self._list() if lv.mark is not None)

    def strays(self, *, vg: str = "") -> tuple[str, ...]:
        if not vg:
            return ()
        with told("cannot list the logical volumes"):
            return tuple(names.device(lv.vg, lv.name) for lv in self._list(vg) if lv.mark is None)

    # LVM's tools

    def _list(self, vg: str = "") -> tuple[parse.Lv, ...]:
        return parse.lvs(self._ask(commands.lvs(vg)))

    def _ask(self, argv: Argv) -> str:
        return self._runner.run(argv, timeout_s=_READ_S).stdout

    def _change(self, argv: Argv) -> None:
        self._runner.run(argv, timeout_s=_CHANGE_S)

    def _first_of(self, ways: list[Argv]) -> None:
        """The first that succeeds; raises what the last says."""
        for way in ways[:-1]:
            try:
                self._change(way)
            except errors.CommandFailed as err:
                log.info("the next way is tried: %s", err)
            else:
                return
        self._change(ways[-1])


def _company(present: tuple[parse.Lv, ...], owner: Uuid, mate: Disk | None, together: MiB) -> choice.Company:
    near = frozenset(pv for lv in present if lv.mark is not None and lv.mark.owner == owner for pv in lv.pvs)
    if mate is None:
        return choice.Company(near=near, together=together)
    theirs = Mark(owner=owner, disk=mate.uuid)
    there = next((lv for lv in present if lv.mark == theirs), None)
    return choice.Company(
        mate=frozenset(there.pvs) if there is not None else frozenset(),
        mate_size=mate.size if there is None else 0,
        near=near,
        together=together,
    )


def _is_size(lv: parse.Lv, size: MiB) -> bool:
    """LVM rounds up to whole extents on each stripe."""
    return size <= lv.size < size + lv.extent * lv.stripes


def _ours(present: tuple[parse.Lv, ...], vg: str, name: str, mark: Mark) -> parse.Lv | None:
    """None: there is no such volume. Raises NotOurs."""
    found = next((lv for lv in present if lv.vg == vg and lv.name == name), None)
    if found is None:
        return None
    if found.mark is None:
        raise NotOurs(f"logical volume {vg}/{name} has no tag of ours", hint="remove it by hand if it may go")
    if found.mark != mark:
        raise NotOurs(
            f"logical volume {vg}/{name} belongs to disk {found.mark.disk} of instance {found.mark.owner}, "
            f"not to disk {mark.disk} of instance {mark.owner}"
        )
    return found
