"""Mirrors: each half is two volumes of this node, data and metadata, and a minor that is connected to its peer.

What the kernel is told comes from the disk's `link`. What it has already is compared with that, and only completed:
a device that is set up for something else is never touched, and no half is ever told which data to throw away but
right after its creation.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from ganeti import errors
from ganeti.calls.mirror import MirrorStatus
from ganeti.calls.node import StorageInfo
from ganeti.calls.volume import VolumeReply
from ganeti.host.clock import Clock
from ganeti.model.generations import Generation
from ganeti.model.objects import Disk, Link
from ganeti.model.types import MiB, Uuid
from ganeti.storage.base import NotOurs, Storage, VolumeLost, Watch
from ganeti.storage.drbd8 import commands, params
from ganeti.storage.drbd8.kernel import Kernel
from ganeti.storage.drbd8.parse import Configured

log = logging.getLogger(__name__)

#: two halves that were told to connect need a moment
_HANDSHAKE_S = 4.0
#: whoever had it open may need a moment to let go
_BUSY_S = 30.0
_POLL_S = 0.5
_META_MIB = 128
#: states of a half that once had all data
_WRITTEN = ("UpToDate", "Consistent", "Outdated")

Wipe = Callable[[str, MiB, MiB, Watch], None]  # device, offset, size


class DrbdStorage:
    """Implements `Storage` and `Mirror`. `lower` makes the volumes, `wipe` writes zeroes onto a device."""

    def __init__(self, lower: Storage, kernel: Kernel, clock: Clock, wipe: Wipe) -> None:
        self._lower = lower
        self._kernel = kernel
        self._clock = clock
        self._wipe = wipe
        self._lock = threading.Lock()

    adoption = None

    @property
    def mirror(self) -> DrbdStorage:
        return self

    # Storage

    def create(
        self, disk: Disk, owner: Uuid, *, together: MiB = 0, origin: str = "", mate: Disk | None = None
    ) -> VolumeReply:
        link = _link(disk)
        data, meta = _children(disk)
        with self._lock, _told(f"cannot create minor {link.minor}"):
            is_new = not all(self._lower.info(child, owner).exists for child in (data, meta))
            whole = max(together, data.size + meta.size)
            self._lower.create(data, owner, together=whole, origin=origin, mate=meta)
            path = self._lower.create(meta, owner, together=meta.size, origin=origin, mate=data).path
            present = self._kernel.configured(link.minor)
            if present is not None:
                if present.meta != path:
                    raise _foreign(link, present)
                return VolumeReply(path=commands.device(link.minor), size=disk.size)
            if is_new or not self._kernel.has_metadata(link.minor, path):
                self._kernel.create_metadata(link.minor, path)
        return VolumeReply(path=commands.device(link.minor), size=disk.size)

    def remove(self, disk: Disk, owner: Uuid) -> None:
        self.close(disk, owner)
        problems: list[errors.StorageError] = []
        for child in _children(disk):
            try:
                self._lower.remove(child, owner)
            except errors.StorageError as err:
                problems.append(err)
        if problems:
            raise problems[0]

    def info(self, disk: Disk, owner: Uuid) -> VolumeReply:
        found = [self._lower.info(child, owner) for child in _children(disk)]
        exists = all(each.exists for each in found)
        path = "" if disk.link is None else self._device(disk.link)
        return VolumeReply(path=path, size=min(found[0].size, disk.size) if exists else 0, exists=exists)

    def _device(self, link: Link) -> str:
        try:
            return self._kernel.device(link.minor)
        except errors.StorageError:
            return commands.device(link.minor)  # it has no content now

    def open(self, disk: Disk, owner: Uuid) -> VolumeReply:
        self.assemble(disk, owner)
        self.promote(disk, owner, force=False)
        return VolumeReply(path=self._kernel.device(_link(disk).minor), size=disk.size)

    def close(self, disk: Disk, owner: Uuid) -> None:
        """Down; a minor that serves something else is left alone."""
        link = disk.link
        if link is None:
            return
        with _told(f"cannot shut down minor {link.minor}"):
            self._until_free(lambda: self._down(disk, link, owner))

    def _down(self, disk: Disk, link: Link, owner: Uuid) -> None:
        # locked for one try: other disks do not wait for whoever has this one open
        with self._lock:
            present = self._kernel.configured(link.minor)
            if present is None:
                return
            if not self._is_ours(disk, link, present, owner):
                log.warning("minor %s serves something else (%s): it stays", link.minor, present)
                return
            self._kernel.down(link.minor)

    def rename(self, disk: Disk, new: Disk, owner: Uuid) -> VolumeReply:
        if disk.logical_id != new.logical_id or disk.children != new.children:
            raise errors.StorageError(f"disk {disk.uuid}: a mirror has no name of its own that could change")
        return self.info(new, owner)

    def give(self, disk: Disk, owner: Uuid, *, to: Uuid, origin: str) -> None:
        for child in _children(disk):
            self._lower.give(child, owner, to=to, origin=origin)

    def grow(self, disk: Disk, owner: Uuid, *, size: MiB) -> VolumeReply:
        data, _ = _children(disk)
        grown = self._lower.grow(data, owner, size=size)
        return VolumeReply(path=commands.device(_link(disk).minor), size=grown.size)

    def snapshot(self, disk: Disk, snapshot: Disk, owner: Uuid, watch: Watch) -> VolumeReply:
        data, _ = _children(disk)
        return self._lower.snapshot(data, snapshot, owner, watch)

    def wipe(self, disk: Disk, owner: Uuid, *, offset: MiB, watch: Watch) -> None:
        path = self.open(disk, owner).path
        with _told(f"cannot wipe {path}"):
            self._wipe(path, offset, disk.size, watch)

    def space(self, *, vg: str = "") -> StorageInfo:
        return self._lower.space(vg=vg)

    def verify(self, *, vg: str = "") -> str:
        return "; ".join(each for each in (self._lower.verify(vg=vg), self._kernel.problem()) if each)

    def origins(self) -> dict[str, str]:
        return self._lower.origins()

    def volumes(self) -> tuple[str, ...]:
        return self._lower.volumes()

    def strays(self, *, vg: str = "") -> tuple[str, ...]:
        return self._lower.strays(vg=vg)

    # Mirror

    def assemble(self, disk: Disk, owner: Uuid) -> None:
        link = _link(disk)
        volumes = self._open_children(disk, owner)
        with self._lock, _told(f"cannot assemble minor {link.minor}"):
            self._complete(disk, link, volumes)

    def _open_children(self, disk: Disk, owner: Uuid) -> tuple[str, str] | None:
        """Paths of data and metadata. None: they are lost, it can go on by its peer's."""
        try:
            data, meta = (self._lower.open(child, owner).path for child in _children(disk))
        except NotOurs:
            raise
        except errors.StorageError as err:
            if not disk.link or not disk.link.peer_address:
                raise
            log.warning("disk %s goes on without its own volumes: %s", disk.uuid, err)
            return None
        return data, meta

    def _complete(self, disk: Disk, link: Link, volumes: tuple[str, str] | None) -> None:
        """From whatever there is to what it shall be, as far as that is safe."""
        kernel, ends = self._kernel, _ends(link)
        present = kernel.configured(link.minor)
        if present is None:
            kernel.make(link.minor)
            present = Configured()
        if volumes is not None and not present.data and ends != (present.local, present.peer) and present.local:
            # set up for another peer, and nothing shows that it is this disk
            raise _foreign(link, present)
        if present.data and volumes is not None and (present.data, present.meta) != volumes:
            raise _foreign(link, present)
        if present.data and volumes is None and ends != (present.local, present.peer):
            raise _foreign(link, present)
        if not present.data and volumes is not None:
            kernel.attach(link.minor, *volumes, params.disk_options(disk.params))
        if present.local and ends != (present.local, present.peer):
            # the right volumes, connected to the peer that it had before
            kernel.disconnect(link.minor, present.local, present.peer)
            present = Configured(data=present.data, meta=present.meta)
        if ends is not None and not present.local:
            options = params.net_options(disk.params)
            kernel.connect(link.minor, *ends, secret=link.secret, options=options)

    def promote(self, disk: Disk, owner: Uuid, *, force: bool) -> None:
        link = _link(disk)
        if not force:
            self._handshake(link)
        with _told(f"cannot make minor {link.minor} primary"):
            if force:
                self._check_no_better(link)
            self._kernel.primary(link.minor, force=force)

    def _check_no_better(self, link: Link) -> None:
        """What is forced overwrites the peer: that must have nothing, whoever asked for it."""
        found = self._kernel.minors().get(link.minor)
        if found is not None and found.disk != "UpToDate" and found.peer_disk in _WRITTEN:
            raise errors.StorageError(
                f"minor {link.minor} has {found.disk} data and its peer has {found.peer_disk} data: "
                "the peer's would be overwritten",
                hint="let it be synchronised from the peer",
            )

    def _handshake(self, link: Link) -> None:
        """A primary that has not met its peer begins a history of its own: give them time to meet."""
        end = self._clock.monotonic() + _HANDSHAKE_S
        while link.peer_address:
            found = self._kernel.minors().get(link.minor)
            if found is None or found.is_connected or found.connection == "StandAlone":
                return
            if self._clock.monotonic() >= end:
                return
            self._clock.sleep(_POLL_S)

    def demote(self, disk: Disk, owner: Uuid) -> None:
        link = _link(disk)
        with _told(f"cannot make minor {link.minor} secondary"):
            if self._kernel.configured(link.minor) is not None:
                self._until_free(lambda: self._kernel.secondary(link.minor))

    def _until_free(self, action: Callable[[], None]) -> None:
        end = self._clock.monotonic() + _BUSY_S
        while True:
            try:
                return action()
            except errors.CommandFailed as err:
                if "held open" not in err.output or self._clock.monotonic() >= end:
                    raise
                log.debug("trying again: %s", err)
            self._clock.sleep(_POLL_S)

    def two_primaries(self, disk: Disk, owner: Uuid, *, allowed: bool) -> None:
        link, ends = _link(disk), _ends(_link(disk))
        with _told(f"cannot change how many primaries minor {link.minor} may have"):
            present = self._kernel.configured(link.minor)
            is_connected = present is not None and ends is not None and (present.local, present.peer) == ends
            if not is_connected:
                if allowed:
                    raise errors.StorageError(f"minor {link.minor} is not connected to its peer")
                return
            assert present is not None
            assert ends is not None
            if allowed and not self.status(disk, owner).is_connected:
                raise errors.StorageError(f"minor {link.minor} does not reach its peer")
            if present.two_primaries != allowed:
                self._kernel.two_primaries(link.minor, *ends, allowed=allowed)

    def disconnect(self, disk: Disk, owner: Uuid) -> None:
        link = _link(disk)
        with self._lock, _told(f"cannot disconnect minor {link.minor}"):
            present = self._kernel.configured(link.minor)
            if present is not None and present.local:
                self._kernel.disconnect(link.minor, present.local, present.peer)

    def detach(self, disk: Disk, owner: Uuid) -> None:
        link = _link(disk)
        with self._lock, _told(f"cannot take minor {link.minor} off its volumes"):
            present = self._kernel.configured(link.minor)
            if present is None or not present.data:
                return
            if not self._is_ours(disk, link, present, owner):
                raise _foreign(link, present)
            self._kernel.detach(link.minor)

    def attach(self, disk: Disk, owner: Uuid) -> None:
        link = _link(disk)
        data, meta = (self._lower.open(child, owner).path for child in _children(disk))
        with self._lock, _told(f"cannot give minor {link.minor} its new volumes"):
            present = self._kernel.configured(link.minor)
            if present is None:
                raise errors.StorageError(f"minor {link.minor} is not active")
            if (present.data, present.meta) == (data, meta):
                return
            if present.data:
                raise errors.StorageError(f"minor {link.minor} has volumes already: {present.data}, {present.meta}")
            self._kernel.create_metadata(link.minor, meta)
            self._kernel.attach(link.minor, data, meta, params.disk_options(disk.params))

    def check_room(self, disk: Disk, owner: Uuid, *, size: MiB) -> None:
        link = _link(disk)
        with _told(f"cannot look at what minor {link.minor} lies on"):
            present = self._kernel.configured(link.minor)
            if present is None or not present.data:
                raise errors.StorageError(
                    f"minor {link.minor} {'is not active' if present is None else 'has lost its volume'} on this node",
                    hint="gnt-instance activate-disks, or replace-disks, mends it",
                )
            if not self._is_ours(disk, link, present, owner):
                raise _foreign(link, present)
            found = self._kernel.volume_size(present.data)
        if found < size << 20:
            raise errors.StorageError(
                f"volume {present.data} below minor {link.minor} has {found >> 20} MiB, {size} MiB are wanted",
                hint="repeat it; should it stay so, the volume manager of this node says why",
            )

    def resize(self, disk: Disk, owner: Uuid, *, size: MiB) -> None:
        link = _link(disk)
        with _told(f"cannot resize minor {link.minor}"):
            # volumes have whole extents, so it may have more than is recorded, and the guest uses all of it
            if self._kernel.size(link.minor) < size << 20:
                self._kernel.resize(link.minor, size)

    def pause(self, disk: Disk, owner: Uuid, *, paused: bool) -> None:
        link = _link(disk)
        with _told(f"cannot let the synchronisation of minor {link.minor} {'wait' if paused else 'go on'}"):
            self._kernel.pause(link.minor, paused=paused)

    def status(self, disk: Disk, owner: Uuid) -> MirrorStatus:
        link = _link(disk)
        with _told(f"cannot look at minor {link.minor}"):
            found = self._kernel.minors().get(link.minor)
        if found is None:
            return MirrorStatus(is_up=False)
        return msgspec.structs.replace(found, has_peer=_ends(link) is not None)

    def generation(self, disk: Disk, owner: Uuid) -> Generation:
        link = _link(disk)
        # not active after a boot; the mark is looked at
        data, meta = (self._lower.open(child, owner).path for child in _children(disk))
        with self._lock, _told(f"cannot read the metadata of minor {link.minor}"):
            present = self._kernel.configured(link.minor)
            is_attached = present is not None and bool(present.data)
            if present is not None and is_attached and (present.data, present.meta) != (data, meta):
                raise _foreign(link, present)
            return self._kernel.generation(link.minor, meta, is_attached=is_attached)

    def minors(self) -> tuple[int, ...]:
        with _told("cannot list the minors"):
            return tuple(sorted(self._kernel.minors()))

    def end(self, minor: int) -> str:
        with self._lock, _told(f"cannot take minor {minor} down"):
            present = self._kernel.configured(minor)
            if present is None:
                return ""
            # by volume group and name: those of a virtual node lie elsewhere
            marked = (path.removeprefix("/dev") for path in self._lower.volumes())
            if present.data and not any(present.data.endswith(name) for name in marked):
                return f"minor {minor} stays: its volume {present.data} does not carry our mark"
            try:
                self._kernel.down(minor)
            except errors.CommandFailed as err:
                if "held open" not in err.output:
                    raise
                return f"minor {minor} stays: something has it open"
        return ""

    def _is_ours(self, disk: Disk, link: Link, present: Configured, owner: Uuid) -> bool:
        """By its volumes, or, while it has none, by its ends."""
        if present.data:
            try:
                return present.data == self._lower.info(_children(disk)[0], owner).path
            except VolumeLost as err:
                return present.data == err.path
        return not present.local or (present.local, present.peer) == _ends(link)


def _link(disk: Disk) -> Link:
    if disk.link is None:
        raise errors.StorageError(f"this node is none of the two ends of disk {disk.uuid}")
    return disk.link


def _ends(link: Link) -> tuple[str, str] | None:
    """None: there is nothing to connect to."""
    if not link.address or not link.peer_address:
        return None
    if link.address == link.peer_address:
        raise errors.StorageError(f"both ends of minor {link.minor} have the address {link.address}")
    return commands.address(link.address, link.port), commands.address(link.peer_address, link.port)


def _children(disk: Disk) -> tuple[Disk, Disk]:
    """Data and metadata, with the stripes that the mirror's parameters say."""
    if len(disk.children) != 2:
        raise errors.StorageError(f"disk {disk.uuid} has {len(disk.children)} volumes instead of data and metadata")
    data, meta = disk.children
    if meta.size != _META_MIB:
        raise errors.StorageError(f"disk {disk.uuid} has metadata of {meta.size} MiB instead of {_META_MIB}")
    values = params.complete(disk.params)
    return (
        msgspec.structs.replace(data, params={"stripes": values["data-stripes"]}),
        msgspec.structs.replace(meta, params={"stripes": values["meta-stripes"]}),
    )


def _foreign(link: Link, present: Configured) -> errors.StorageError:
    what = ", ".join(each for each in (present.data, present.meta, present.local, present.peer) if each)
    return errors.StorageError(
        f"minor {link.minor} is in use for something else ({what or 'nothing yet'})",
        hint=f"look at it with: drbdsetup show {link.minor}",
    )


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except errors.CommandFailed as err:
        raise errors.StorageError(f"{what}: {err}") from err
