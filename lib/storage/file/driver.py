"""File volumes: sparse files of exactly the wanted size."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ganeti import errors, paths
from ganeti.calls.node import StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.host import faults, files
from ganeti.model.objects import Disk
from ganeti.model.types import MiB, Uuid
from ganeti.paths import File, Paths
from ganeti.storage.base import NotOurs, Watch
from ganeti.storage.file import content, mark, places
from ganeti.storage.file.promised import PromisedSpace

log = logging.getLogger(__name__)

_MIB = 1 << 20
DRIVERS = ("loop", "blktap", "blktap2")

MARKED = faults.register("storage.file.marked")  # the mark is there, the volume is not
CREATED = faults.register("storage.file.created")  # the volume is there, perhaps without its size
REMOVED = faults.register("storage.file.removed")  # the volume is gone, the mark is not
RENAMED = faults.register("storage.file.renamed")  # the volume has its new name, the old mark is still there


class FileStorage:
    """Volumes below `home` and below the directories that the node's administrator allowed."""

    mirror = None
    adoption = None

    def __init__(self, node_paths: Paths, home: File) -> None:
        self._paths = node_paths
        self._home = home
        self._promised = PromisedSpace()

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        logical, local = self._locate(disk)
        wanted = mark.Mark(owner=owner, disk=disk.uuid)
        with _told(f"cannot create volume {logical}"):
            self._guard(logical)
            self._make_directory(logical)
            if not self._is_ours(logical, wanted):
                if os.path.lexists(local):
                    raise NotOurs(f"{logical} exists and is not a volume of ours", hint="remove it or choose another")
                files.write_atomic(local + places.MARK, mark.encode(wanted), mode=0o640)
            faults.hit(MARKED)
            _make_file(local, disk.size * _MIB, logical)
        return VolumeReply(path=logical, size=disk.size)

    def remove(self, disk: Disk, owner: Uuid) -> None:
        logical, local = self._locate(disk)
        with _told(f"cannot remove volume {logical}"):
            if not os.path.isdir(os.path.dirname(local)):
                return
            self._guard(logical)
            if not self._is_ours(logical, mark.Mark(owner=owner, disk=disk.uuid)):
                if os.path.lexists(local):
                    raise NotOurs(f"{logical} has no mark of ours, so it stays", hint="remove it by hand if it may go")
                return
            with suppress(FileNotFoundError):
                os.unlink(local)
            files.sync_directory(os.path.dirname(local))
            faults.hit(REMOVED)
            os.unlink(local + places.MARK)
            self._drop_directory(logical)

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply:
        logical, local = self._locate(disk)
        with _told(f"cannot look at volume {logical}"):
            if not os.path.lexists(local):
                return VolumeReply(path=logical, size=0, exists=False)
            self._guard(logical)
            if not self._is_ours(logical, mark.Mark(owner=owner, disk=disk.uuid)):
                raise NotOurs(f"{logical} has no mark of ours")
            return VolumeReply(path=logical, size=_size(local, logical))

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        found = self.info(disk, owner)
        if not found.exists:
            raise errors.StorageError(
                f"volume {found.path} of disk {disk.uuid} is not there", hint="it has to be recreated or restored"
            )
        if found.size < disk.size:
            raise errors.StorageError(f"volume {found.path} has {found.size} MiB instead of {disk.size} MiB")
        return found

    def close(self, disk: Disk, owner: Uuid) -> None:
        """A file needs no closing."""

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        old_logical, old = self._locate(disk)
        logical, local = self._locate(new)
        if old == local:
            return self.open(new, owner)
        with _told(f"cannot rename volume {old_logical} to {logical}"):
            self._guard(logical)
            self._make_directory(logical)
            theirs = mark.Mark(owner=owner, disk=disk.uuid)
            ours = mark.Mark(owner=owner, disk=new.uuid)
            is_marked = self._is_ours(logical, ours)
            if os.path.lexists(local) and not is_marked:
                raise NotOurs(f"{logical} exists and is not a volume of ours")
            if os.path.isdir(os.path.dirname(old)):
                self._guard(old_logical)
                self._move(old, local, is_marked=is_marked, old_mark=theirs, new_mark=ours, old_logical=old_logical)
        return self.open(new, owner)

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        logical, local = self._locate(disk)
        theirs = mark.Mark(owner=to, disk=disk.uuid)
        with _told(f"cannot give volume {logical} to another instance"):
            self._guard(logical)
            with suppress(NotOurs):  # it has the mark of another, perhaps the one that gives it
                if self._is_ours(logical, theirs):
                    return
            if not self._is_ours(logical, mark.Mark(owner=owner, disk=disk.uuid)):
                if os.path.lexists(local):
                    raise NotOurs(f"{logical} has no mark of ours")
                raise errors.StorageError(f"volume {logical} is not there", hint="it has to be recreated or restored")
            files.write_atomic(local + places.MARK, mark.encode(theirs), mode=0o640)

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        found = self.open(disk, owner)
        if found.size < size:
            with _told(f"cannot grow volume {found.path}"):
                content.grow(self._paths.local(found.path), size * _MIB)
                self._promised.forget(os.path.dirname(self._paths.local(found.path)))
        return self.info(disk, owner)

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: Watch) -> VolumeReply:
        source = self.open(disk, owner)
        self.remove(snapshot, owner)
        made = self.create(snapshot, owner)
        with _told(f"cannot copy volume {source.path}"):
            content.copy(self._paths.local(source.path), self._paths.local(made.path), watch)
        return self.info(snapshot, owner)

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: Watch) -> None:
        found = self.open(disk, owner)
        with _told(f"cannot wipe volume {found.path}"):
            content.wipe(self._paths.local(found.path), offset * _MIB, disk.size * _MIB, watch)

    def space(self, *, vg: str = "") -> StorageInfo:
        local = self._paths.local(self._home)
        while not os.path.exists(local):
            local = os.path.dirname(local)
        with _told(f"cannot ask for the space of {self._home.path}"):
            found = os.statvfs(local)
        total, free = (blocks * found.f_frsize // _MIB for blocks in (found.f_blocks, found.f_bavail))
        if not self._paths.is_virtual:
            return StorageInfo(total=total, free=free)
        # Virtual nodes share one file system: what the others have on it is not this one's, and what its own
        # sparse volumes were promised is not free.
        with _told(f"cannot add up the volumes below {self._home.path}"):
            own = self._promised.sum(self._paths.local(directory) for directory in self._directories())
        total = free + own.used // _MIB
        return StorageInfo(total=total, free=max(0, total - own.size // _MIB))

    def verify(self, *, vg: str = "") -> str:
        problems = []
        for directory in self._directories():
            local = self._paths.local(directory)
            if os.path.isdir(local):
                if not os.access(local, os.W_OK | os.X_OK):
                    problems.append(f"directory {directory} cannot be written")
            elif os.path.lexists(local):
                problems.append(f"{directory} is not a directory")
            elif directory != self._home.path:
                problems.append(f"directory {directory} does not exist")
        return "; ".join(problems)

    def origins(self) -> dict[str, str]:
        return {}

    def volumes(self) -> tuple[str, ...]:
        found: set[str] = set()
        for logical, local, names in self._walk():
            for name in names:
                if not name.endswith(places.MARK) or name == places.MARK:
                    continue
                text = files.read_text(os.path.join(local, name))
                if text is not None and mark.decode(text) is not None:
                    found.add(f"{logical}/{name.removesuffix(places.MARK)}")
        return tuple(sorted(found))

    def strays(self, *, vg: str = "") -> tuple[str, ...]:
        """What is hidden is none: marks that are just being written, snapshots of the file system."""
        found: set[str] = set()
        for logical, local, names in self._walk():
            if "/." in logical:
                continue
            for name in names:
                if name.endswith(places.MARK) or name.startswith("."):
                    continue
                # looked at now: volumes come and go while the directory is listed
                place = os.path.join(local, name)
                if not os.path.lexists(place + places.MARK) and os.path.lexists(place):
                    found.add(f"{logical}/{name}")
        return tuple(sorted(found))

    def _walk(self) -> Iterator[tuple[str, str, list[str]]]:
        """Each directory, logical and local, with the names of files in it."""
        for directory in self._directories():
            top = self._paths.local(directory)
            for local, _, names in os.walk(top):
                yield directory + local[len(top) :], local, names

    # Where it lies, and whether it may

    def _allowed(self) -> places.Allowed:
        text = files.read_text(self._paths.local(paths.FILE_STORAGE_PATHS))
        return places.parse_list(text or "")

    def _directories(self) -> tuple[str, ...]:
        return (self._home.path, *(d for d in self._allowed().directories if d != self._home.path))

    def _locate(self, disk: Disk) -> tuple[str, str]:
        """Logical and local path. Raises StorageError for an id that is not one of file volumes."""
        match disk.logical_id:
            case (str(driver), str(logical)) if driver in DRIVERS:
                problem = places.why_not_volume(logical, self._directories())
                if problem:
                    raise errors.StorageError(f"volume {logical!r} of disk {disk.uuid} {problem}")
                return logical, self._paths.local(logical)
        raise errors.StorageError(
            f"disk {disk.uuid} has the id {disk.logical_id!r}, which is not (driver, path) of a file volume",
            hint="drivers are " + ", ".join(DRIVERS),
        )

    def _base(self, logical: str) -> str:
        return next(d for d in self._directories() if d in places.parents(logical))

    def _guard(self, logical: str) -> None:
        """The volume's directory really lies below the allowed one, whatever symbolic links say."""
        base = os.path.realpath(self._paths.local(self._base(logical)))
        real = os.path.realpath(os.path.dirname(self._paths.local(logical)))
        if os.path.commonpath((base, real)) != base:
            raise errors.StorageError(f"volume {logical} leads out of {self._base(logical)} by a symbolic link")

    def _make_directory(self, logical: str) -> None:
        base = self._base(logical)
        local_base = self._paths.local(base)
        if base == self._home.path and not os.path.isdir(local_base):
            files.make_directory(self._paths, self._home)
        if not os.path.isdir(local_base):
            # Made by us it would hide that the administrator's file system is not mounted.
            raise errors.StorageError(f"directory {base} does not exist", hint="create or mount it")
        for place in reversed(places.parents(logical)):
            if base in places.parents(place):
                local = self._paths.local(place)
                if not os.path.isdir(local):
                    with contextlib.suppress(FileExistsError):  # another disk of the instance is made at the same time
                        os.mkdir(local, 0o750)
                    files.sync_directory(os.path.dirname(local))

    def _drop_directory(self, logical: str) -> None:
        """Remove the directories above that are empty now, up to the allowed one."""
        base = self._base(logical)
        for place in places.parents(logical):
            if base not in places.parents(place):
                return
            try:
                os.rmdir(self._paths.local(place))
            except OSError:
                return  # not empty: another volume lives there

    def _is_ours(self, logical: str, wanted: mark.Mark) -> bool:
        """Whether it carries this mark; no mark: False; another's mark: raises NotOurs."""
        text = files.read_text(self._paths.local(logical) + places.MARK)
        if text is None:
            return False
        found = mark.decode(text)
        if found is None:
            raise NotOurs(f"{logical}{places.MARK} is not a mark of ours")
        if found != wanted:
            raise NotOurs(
                f"{logical} belongs to disk {found.disk} of instance {found.owner}, "
                f"not to disk {wanted.disk} of instance {wanted.owner}"
            )
        return True

    def _move(
        self, old: str, new: str, *, is_marked: bool, old_mark: mark.Mark, new_mark: mark.Mark, old_logical: str
    ) -> None:
        """From one marked place to another; may have been interrupted anywhere before."""
        if not self._is_ours(old_logical, old_mark):
            if os.path.lexists(old):
                raise NotOurs(f"{old_logical} has no mark of ours, so it is not renamed")
            return
        if os.path.lexists(old):
            if os.path.lexists(new):
                raise errors.StorageError(f"both {old} and {new} exist", hint="decide by hand which one is right")
            if not is_marked:
                files.write_atomic(new + places.MARK, mark.encode(new_mark), mode=0o640)
            os.rename(old, new)
            files.sync_directory(os.path.dirname(new))
        faults.hit(RENAMED)
        os.unlink(old + places.MARK)
        self._drop_directory(old_logical)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Errors of the file system become StorageError: what was wanted, and the system's reason."""
    try:
        yield
    except OSError as err:
        raise errors.StorageError(f"{what}: {err.strerror or err}") from err
    except OverflowError as err:
        raise errors.StorageError(f"{what}: no file can be that large") from err


def _make_file(local: str, size: int, logical: str) -> None:
    """A sparse file of `size` bytes; there already: an unfinished (empty) one gets its size, another is refused."""
    try:
        handle = os.open(local, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        found = 0
    except FileExistsError:
        handle = os.open(local, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        found = os.fstat(handle).st_size
    try:
        faults.hit(CREATED)
        if not found and size:
            os.ftruncate(handle, size)
            os.fsync(handle)
        elif found != size:
            raise errors.StorageError(f"volume {logical} is there with {found} bytes instead of {size}")
    finally:
        os.close(handle)
    files.sync_directory(os.path.dirname(local))


def _size(local: str, logical: str) -> MiB:
    found = os.lstat(local)
    if not stat.S_ISREG(found.st_mode):
        raise errors.StorageError(f"volume {logical} is not a regular file")
    return found.st_size // _MIB
