"""Files that stand for volumes of virtual nodes and were there before: marked and renamed, and given back.

The mark beside the new name comes first and goes last, so that the way back knows what it finds.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ganeti import errors
from ganeti.calls.adoption import Candidate, LogicalId
from ganeti.host import faults, files, locked
from ganeti.model.objects import Disk
from ganeti.model.types import Uuid
from ganeti.paths import Paths
from ganeti.storage.base import NotOurs
from ganeti.storage.file import mark, places

log = logging.getLogger(__name__)

_MIB = 1 << 20

MARKED = faults.register("storage.adopt.marked")  # the mark is there, the volume has its old name
RENAMED = faults.register("storage.adopt.renamed")  # the volume has its new name
LINKED = faults.register("storage.adopt.linked")  # on the way back: it has both names
RETURNED = faults.register("storage.adopt.returned")  # it has its old name, the mark is still there


class FileAdoption:
    def __init__(self, node_paths: Paths, place: Callable[[LogicalId], str]) -> None:
        """`place` gives the logical path of what has that id. Raises StorageError."""
        self._paths, self._place = node_paths, place
        self._lock = threading.Lock()

    def look(self, logical_ids: Sequence[LogicalId], known: Sequence[LogicalId]) -> tuple[Candidate, ...]:
        return tuple(self._candidate(each) for each in logical_ids)

    def adopt(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        new, old = self._place(disk.logical_id), self._place(found.logical_id)
        ours = mark.Mark(owner=owner, disk=disk.uuid)
        with self._lock, _told(f"cannot adopt volume {old}"):
            local, local_old = self._paths.local(new), self._paths.local(old)
            is_marked = _mark_of(local) == ours
            if os.path.lexists(local):
                if not is_marked:
                    raise NotOurs(f"volume {new} exists and is not the one that is adopted")
                return
            seen = self._candidate(found.logical_id)
            if seen.problem:
                raise NotOurs(f"cannot adopt volume {old}: {seen.problem}", hint=seen.hint)
            if seen != found:
                raise NotOurs(f"volume {old} is not as it was when it was looked at")
            if not is_marked:
                files.write_atomic(local + places.MARK, mark.encode(ours), mode=0o640)
            faults.hit(MARKED)
            os.rename(local_old, local)
            files.sync_directory(os.path.dirname(local))
            faults.hit(RENAMED)

    def give_back(self, disk: Disk, owner: Uuid, *, found: Candidate, origin: str) -> None:
        new, old = self._place(disk.logical_id), self._place(found.logical_id)
        with self._lock, _told(f"cannot give volume {new} its name {old} back"):
            local, local_old = self._paths.local(new), self._paths.local(old)
            if _mark_of(local) != mark.Mark(owner=owner, disk=disk.uuid):
                log.info("nothing to give back: %s does not carry the mark of disk %s", new, disk.uuid)
                return
            if os.path.lexists(local):
                # a link never takes the place of what has that name by now
                with suppress(FileExistsError):
                    os.link(local, local_old)
                if not os.path.samestat(os.lstat(local), os.lstat(local_old)):
                    raise errors.StorageError(
                        f"volume {new} was called {old}, and another one has that name now",
                        hint="give the other one another name",
                    )
                files.sync_directory(os.path.dirname(local_old))
                faults.hit(LINKED)
                os.unlink(local)
                files.sync_directory(os.path.dirname(local))
            faults.hit(RETURNED)
            os.unlink(local + places.MARK)

    def _candidate(self, logical_id: LogicalId) -> Candidate:
        logical = self._place(logical_id)
        local = self._paths.local(logical)
        with _told(f"cannot look at volume {logical}"):
            try:
                seen = os.lstat(local)
            except FileNotFoundError:
                return Candidate(logical_id=logical_id, problem="there is no such volume")
            problem = self._why_not(local, seen)
        return Candidate(logical_id=logical_id, size=seen.st_size // _MIB, problem=problem)

    @staticmethod
    def _why_not(local: str, seen: os.stat_result) -> str:
        if not stat.S_ISREG(seen.st_mode):
            return "it is not a regular file"
        if os.path.lexists(local + places.MARK):
            found = _mark_of(local)
            return "it carries a mark" + (f" of disk {found.disk} of instance {found.owner}" if found else "")
        if not seen.st_size or seen.st_size % _MIB:
            return f"its size of {seen.st_size} bytes is not a whole number of MiB"
        return "it is in use" if locked.is_locked(local) else ""


def _mark_of(local: str) -> mark.Mark | None:
    text = files.read_text(local + places.MARK)
    return mark.decode(text) if text is not None else None


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise errors.StorageError(f"{what}: {err.strerror or err}") from err
