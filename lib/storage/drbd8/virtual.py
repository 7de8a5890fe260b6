"""The mirrors of virtual nodes: as `kernel.DrbdKernel`, without a kernel and over files.

The nodes of a virtual cluster lie on one file system, so two halves that are in sync are two names of one file: what
one writes, the other has. When a half goes on without its peer, the peer's name gets a copy of its own. Each half
keeps its metadata in its metadata volume, as the real thing does, and what it is doing now in the run directory; they
find each other by files in the directory for shared storage, which all nodes of a virtual cluster have in common.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from ganeti import errors, paths, settings
from ganeti.calls.mirror import MirrorStatus
from ganeti.host import files, partition
from ganeti.host.clock import Clock
from ganeti.model.generations import Generation
from ganeti.model.types import MiB
from ganeti.paths import Paths
from ganeti.storage.drbd8.parse import Configured
from ganeti.wire import codec

#: where the halves find each other
MEETING = f"{settings.SHARED_FILE_STORAGE_DIR}/.mirrors"
#: below a node's root: the node has no power
POWERED_OFF = "/powered-off"
#: a synchronisation takes a second for so much; small ones take no time
_MIB_S = 1024.0
_INSTANT_S = 0.3
_LONGEST_S = 3.0
_META_BYTES = 4096

UP_TO_DATE, OUTDATED, INCONSISTENT = "UpToDate", "Outdated", "Inconsistent"
PRIMARY, SECONDARY = "Primary", "Secondary"


class Meta(msgspec.Struct, kw_only=True):
    """What is on the metadata volume."""

    history: str = ""  # halves with the same one have had the same content; empty: never written
    state: str = INCONSISTENT
    is_alone: bool = False  # was written while the other half was away
    twin: str = ""  # the other name of the file, while it is the same


class End(msgspec.Struct, kw_only=True):
    """What a minor is doing; the file below the node's run directory."""

    minor: int
    root: str
    data: str = ""  # logical paths
    meta: str = ""
    local: str = ""
    peer: str = ""
    role: str = SECONDARY
    two_primaries: bool = False
    is_paused: bool = False
    sync_begun: float = -1.0


class VirtualKernel:
    """Implements `kernel.Kernel`."""

    def __init__(self, node_paths: Paths, clock: Clock) -> None:
        self._paths = node_paths
        self._clock = clock
        self._directory = node_paths.local(paths.FAKE_DRBD_DIR)
        self._meeting = node_paths.local(MEETING)

    def problem(self) -> str:
        return ""

    def device(self, minor: int) -> str:
        end = self._end(minor)
        if end is None or not end.data:
            raise errors.StorageError(f"minor {minor} has no volumes: on a virtual node it cannot be read then")
        return end.data

    def minors(self) -> Mapping[int, MirrorStatus]:
        with self._locked():
            return {end.minor: self._status(end) for end in self._ends()}

    def configured(self, minor: int) -> Configured | None:
        end = self._end(minor)
        if end is None:
            return None
        return Configured(
            data=end.data,
            meta=end.meta,
            meta_index="0" if end.meta else "",
            local=end.local,
            peer=end.peer,
            two_primaries=end.two_primaries,
        )

    def has_metadata(self, minor: int, meta: str) -> bool:
        return _read_meta(self._paths.local(meta)) is not None

    def generation(self, minor: int, meta: str, *, is_attached: bool) -> Generation:
        with self._locked():
            end = self._end(minor)
            if end is not None and is_attached:
                self._settle(end)
            found = _read_meta(self._paths.local(meta))
        if found is None:
            raise _refused(f"{meta} has no metadata")
        history = found.history
        return Generation(
            current=f"{history}+{self._paths.root}" if found.is_alone else history,
            base=history if found.is_alone else "",
            is_consistent=found.state != INCONSISTENT,
            is_outdated=found.state == OUTDATED,
        )

    def create_metadata(self, minor: int, meta: str) -> None:
        _write_meta(self._paths.local(meta), Meta())

    def make(self, minor: int) -> None:
        with self._locked():
            if self._end(minor) is None:
                self._put(End(minor=minor, root=self._paths.root))

    def attach(self, minor: int, data: str, meta: str, options: Sequence[str]) -> None:
        with self._changing(minor) as end:
            if end.data:
                raise _refused(f"minor {minor} is attached already")
            if _read_meta(self._paths.local(meta)) is None:
                raise _refused(f"{meta} has no metadata")
            end.data, end.meta = data, meta

    def detach(self, minor: int) -> None:
        with self._changing(minor) as end:
            peer = self._peer(end)
            if end.role == PRIMARY and (peer is None or _meta(peer).state != UP_TO_DATE):
                raise _refused("(-2) Need access to UpToDate data")
            end.data = end.meta = ""
            end.sync_begun = -1.0

    def connect(self, minor: int, local: str, peer: str, *, secret: str, options: Sequence[str]) -> None:
        with self._changing(minor) as end:
            if end.local:
                raise _refused("(102) Local address(port) already in use")
            end.local, end.peer, end.two_primaries = local, peer, False
            self._put(end)
            os.makedirs(self._meeting, exist_ok=True)
            files.write_atomic(self._card(local), self._place(minor).encode(), mode=0o644)

    def two_primaries(self, minor: int, local: str, peer: str, *, allowed: bool) -> None:
        with self._changing(minor) as end:
            other = self._peer(end)
            if not allowed and end.role == PRIMARY and other is not None and other.role == PRIMARY:
                raise _refused("both halves are primary")
            end.two_primaries = allowed

    def disconnect(self, minor: int, local: str, peer: str) -> None:
        with self._changing(minor) as end:
            self._part(end)

    def _part(self, end: End) -> None:
        if end.local:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._card(end.local))
        end.local = end.peer = ""
        end.two_primaries = False
        end.sync_begun = -1.0

    def primary(self, minor: int, *, force: bool) -> None:
        with self._changing(minor) as end:
            meta, peer = _meta(end), self._peer(end)
            if peer is not None and peer.role == PRIMARY and not (end.two_primaries and peer.two_primaries):
                raise _refused("(-1) Multiple primaries not allowed by config")
            if force:
                meta.state = UP_TO_DATE
                meta.history = meta.history or f"{end.root}{end.data}@{self._clock.time()}"
            elif meta.state != UP_TO_DATE:
                if peer is None or _meta(peer).state != UP_TO_DATE or not end.data:
                    raise _refused("(-2) Need access to UpToDate data")
                # it would read by its peer; here all is its own at once
                _become_one(peer, end)
                end.sync_begun = -1.0
                meta = _meta(end)
            _put_meta(end, meta)
            end.role = PRIMARY

    def secondary(self, minor: int) -> None:
        with self._changing(minor) as end:
            end.role = SECONDARY

    def down(self, minor: int) -> None:
        with self._locked():
            end = self._end(minor)
            if end is None:
                return
            self._settle(end)
            self._part(end)
            os.unlink(self._place(minor))

    def size(self, minor: int) -> int:
        end = self._end(minor)
        if end is None or not end.data:
            raise _refused(f"(127) Device minor {minor} not allocated")
        return os.stat(f"{end.root}{end.data}").st_size

    def volume_size(self, data: str) -> int:
        return os.stat(self._paths.local(data)).st_size

    def resize(self, minor: int, size: MiB) -> None:
        """The files below have their new size already."""
        with self._changing(minor):
            pass

    def pause(self, minor: int, *, paused: bool) -> None:
        with self._changing(minor) as end:
            end.is_paused = paused
            end.sync_begun = -1.0

    # Two halves

    def _status(self, end: End) -> MirrorStatus:
        self._settle(end)
        peer, meta = self._peer(end), _meta(end)
        disk = meta.state if end.data else "Diskless"
        if peer is None:
            connection = "WFConnection" if end.local else "StandAlone"
            return MirrorStatus(connection=connection, role=end.role, disk=disk)
        peer_disk = _meta(peer).state if peer.data else "Diskless"
        target = end if end.sync_begun >= 0 else peer if peer.sync_begun >= 0 else None
        connection, percent, seconds = "Connected", None, None
        if target is not None:
            is_paused = end.is_paused or peer.is_paused
            side = "Target" if target is end else "Source"
            connection = f"PausedSync{side[0]}" if is_paused else f"Sync{side}"
            passed, needed = self._clock.monotonic() - target.sync_begun, _needed(target)
            percent = min(99.9, max(0.0, 100 * passed / (needed or 1.0))) if not is_paused else 0.0
            seconds = None if is_paused else max(0, round(needed - passed))
        return MirrorStatus(
            connection=connection,
            role=end.role,
            peer_role=peer.role,
            disk=disk,
            peer_disk=peer_disk,
            percent=percent,
            seconds=seconds,
        )

    def _settle(self, end: End) -> None:
        """What would have happened by itself since somebody looked last."""
        peer = self._peer(end)
        if peer is None:
            if end.role == PRIMARY and end.data:
                _go_alone(end)
            return
        if not end.data or not peer.data:
            return
        mine, other = _meta(end), _meta(peer)
        if _is_one(end, peer) or UP_TO_DATE not in (mine.state, other.state):
            return
        source, target = self._direction(end, mine, peer, other)
        if source is None or target is None:
            # both have what the other lacks: neither is thrown away
            for each in (end, peer):
                self._part(each)
                self._put(each)
            return
        if target.sync_begun < 0:
            target.sync_begun = self._clock.monotonic()
            _put_meta(target, msgspec.structs.replace(_meta(target), state=INCONSISTENT))
        is_paused = end.is_paused or peer.is_paused
        if not is_paused and self._clock.monotonic() - target.sync_begun >= _needed(target):
            _become_one(source, target)
            target.sync_begun = -1.0
        self._put(target)

    @staticmethod
    def _direction(end: End, mine: Meta, peer: End, other: Meta) -> tuple[End | None, End | None]:
        """(source, target); nothing: split brain."""
        if mine.state != other.state:
            source, target = (end, peer) if mine.state == UP_TO_DATE else (peer, end)
        elif mine.history != other.history or (mine.is_alone and other.is_alone):
            return None, None
        else:
            is_source = mine.is_alone or (not other.is_alone and end.role == PRIMARY)
            source, target = (end, peer) if is_source else (peer, end)
        if target.role == PRIMARY and _meta(target).state == UP_TO_DATE:
            return None, None
        return source, target

    def _peer(self, end: End) -> End | None:
        """None: it does not reach one that is set up for it."""
        if not end.local or partition.blocked(self._paths, _host(end.peer)):
            return None
        place = files.read_text(self._card(end.peer))
        text = files.read_text(place) if place else None
        if text is None:
            return None
        found = codec.decode(text, End)
        if (found.local, found.peer) != (end.peer, end.local) or _is_dead(found.root):
            return None
        return found

    # Files

    def _card(self, address: str) -> str:
        return f"{self._meeting}/{address.replace(':', '_')}"

    def _place(self, minor: int) -> str:
        return f"{self._directory}/{minor}"

    def _end(self, minor: int) -> End | None:
        text = files.read_text(self._place(minor))
        return None if text is None else codec.decode(text, End)

    def _ends(self) -> list[End]:
        try:
            names = sorted(int(name) for name in os.listdir(self._directory) if name.isdigit())
        except FileNotFoundError:
            return []
        return [end for end in map(self._end, names) if end is not None]

    def _put(self, end: End) -> None:
        place = f"{end.root}{paths.FAKE_DRBD_DIR.path}/{end.minor}"
        os.makedirs(os.path.dirname(place), mode=paths.FAKE_DRBD_DIR.mode, exist_ok=True)
        files.write_atomic(place, codec.encode(end), mode=0o600)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        shared = os.path.dirname(self._meeting)
        place = f"{self._meeting}/lock" if os.path.isdir(shared) else f"{self._directory}/lock"
        os.makedirs(os.path.dirname(place), mode=paths.FAKE_DRBD_DIR.mode, exist_ok=True)
        with files.locked(place):
            yield

    @contextlib.contextmanager
    def _changing(self, minor: int) -> Iterator[End]:
        with self._locked():
            end = self._end(minor)
            if end is None:
                raise _refused(f"(127) Device minor {minor} not allocated")
            self._settle(end)
            end = self._end(minor) or end
            yield end
            self._put(end)
            self._settle(end)


def _needed(target: End) -> float:
    size = os.stat(f"{target.root}{target.data}").st_size / (1 << 20)
    return max(0.0, min(_LONGEST_S, size / _MIB_S - _INSTANT_S))


def _host(address: str) -> str:
    """Of family:host:port."""
    return address.partition(":")[2].rpartition(":")[0].strip("[]")


def _is_dead(root: str) -> bool:
    if os.path.exists(root + POWERED_OFF):
        return True
    pid = (files.read_text(f"{root}{paths.pid_file('ganeti-noded').path}") or "").strip()
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _meta(end: End) -> Meta:
    return (_read_meta(end.root + end.meta) if end.meta else None) or Meta()


def _put_meta(end: End, meta: Meta) -> None:
    if end.meta:
        _write_meta(end.root + end.meta, meta)


def _read_meta(local: str) -> Meta | None:
    try:
        with open(local, "rb") as file:
            text = file.read(_META_BYTES).rstrip(b"\0")
    except FileNotFoundError:
        return None
    if not text:
        return None
    try:
        return codec.decode(text, Meta)
    except codec.CodecError:
        return None


def _write_meta(local: str, meta: Meta) -> None:
    with open(local, "r+b") as file:
        file.write(codec.encode(meta).ljust(_META_BYTES, b"\0"))


def _is_one(end: End, peer: End) -> bool:
    one, two = os.stat(end.root + end.data), os.stat(peer.root + peer.data)
    same = (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)
    return same and _meta(end).state == _meta(peer).state == UP_TO_DATE


def _become_one(source: End, target: End) -> None:
    """In sync: from now on the target's name is the source's file."""
    kept, name = source.root + source.data, target.root + target.data
    beside = f"{name}.sync"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    os.link(kept, beside)
    os.rename(beside, name)
    with contextlib.suppress(FileNotFoundError):  # rename(2) does nothing when both are one already
        os.unlink(beside)
    history = _meta(source).history
    _put_meta(source, Meta(history=history, state=UP_TO_DATE, twin=name))
    _put_meta(target, Meta(history=history, state=UP_TO_DATE, twin=kept))


def _go_alone(end: End) -> None:
    """The primary goes on without its peer: the peer's name keeps what there is now, in a file of its own."""
    meta = _meta(end)
    name = end.root + end.data
    if meta.twin and os.path.exists(meta.twin) and os.path.samefile(meta.twin, name):
        beside = f"{meta.twin}.part"
        _copy(name, beside)
        os.rename(beside, meta.twin)
    _put_meta(end, msgspec.structs.replace(meta, twin="", is_alone=True))


def _copy(source: str, target: str) -> None:
    """Without its holes."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        place = 0
        while place < size:
            try:
                place = os.lseek(reader.fileno(), place, os.SEEK_DATA)
            except OSError:  # nothing but a hole up to the end
                return
            piece = os.pread(reader.fileno(), 1 << 20, place)
            os.pwrite(writer.fileno(), piece, place)
            place += len(piece)


def _refused(why: str) -> errors.StorageError:
    return errors.StorageError(f"State change failed: {why}")
