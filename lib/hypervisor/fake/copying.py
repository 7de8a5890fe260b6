"""Copies of a fake guest's disks: it writes nothing, so its files are copied as they are."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.host import sparse
from ganeti.hypervisor.base import DiskCopy, Watch
from ganeti.hypervisor.fake.guests import Guests

_PIECE = 1 << 20


class FakeCopying:
    """Implements `hypervisor.base.Copying`."""

    def __init__(self, guests: Guests) -> None:
        self._guests = guests

    def copy(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool, watch: Watch) -> None:
        if self._guests.get(name, uuid) is None:
            raise errors.HypervisorError(f"instance {name} does not run here, so its disks cannot be copied by it")
        for copy in copies:
            _copy(copy)
        if resume:
            self._resume(name, uuid)

    def drop(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool) -> None:
        if resume:
            self._resume(name, uuid)

    def _resume(self, name: str, uuid: str) -> None:
        found = self._guests.get(name, uuid)
        if found is not None and found.paused:
            self._guests.put(msgspec.structs.replace(found, paused=False))


def _copy(copy: DiskCopy) -> None:
    with open(copy.source, "rb") as source, open(copy.target, "r+b") as target:
        for begin, end in sparse.extents(source.fileno(), sparse.size_of(source.fileno())):
            for offset in range(begin, end, _PIECE):
                piece = sparse.read_at(source.fileno(), min(_PIECE, end - offset), offset)
                sparse.write_at(target.fileno(), piece, offset)
        os.fsync(target.fileno())
