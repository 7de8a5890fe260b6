"""Calls about exports: what nodes keep of instances, and how it gets there and back.

A stream goes from one node to another: the receiver is told to listen for it (`StreamListen`), then the sender to send
(`StreamSend`), which ends when the receiver has all of it, whole and checked.
"""

from __future__ import annotations

import enum

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.calls.instance import GuestSpec
from ganeti.model.objects import Disk
from ganeti.model.types import MiB


class Contents(enum.Enum):
    """What a dump is."""

    SCRIPT = "script"  # what the OS's export script writes and its import script reads
    RAW = "raw"  # the disk itself, block by block


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where the receiver waits."""

    address: str
    port: int


class FromDisk(msgspec.Struct, frozen=True, kw_only=True, tag="disk"):
    """A disk of an instance of the sender, or its snapshot."""

    spec: GuestSpec
    index: int
    contents: Contents
    snapshot: Disk | None = None
    debug: int = 0


class FromDump(msgspec.Struct, frozen=True, kw_only=True, tag="dump"):
    """A file of an export that the sender keeps."""

    directory: str
    file: str
    identity: str  # of the export, as `ExportText` says it: it may be replaced meanwhile
    index: int
    compression: str = "none"  # how the file is compressed
    checksum: str = ""  # what the content has to have; empty: not known
    size: MiB = 0  # of the exported disk


class ToDump(msgspec.Struct, frozen=True, kw_only=True, tag="dump"):
    """A file of an export that is being made."""

    export: str
    token: str
    file: str
    index: int


class ToDisk(msgspec.Struct, frozen=True, kw_only=True, tag="disk"):
    """A disk of an instance of the receiver."""

    spec: GuestSpec
    index: int
    contents: Contents
    debug: int = 0


@call(reply=Endpoint, reserve=Reserve.SCRIPTS)
class StreamListen(ChangingCall[Endpoint], frozen=True, tag="stream_listen"):
    """Wait for one stream, from the node with that certificate only; nobody comes: given up after some minutes."""

    stream: str
    address: str  # one of the receiver's own
    peer_digest: str  # SHA-256 of the sender's certificate
    into: ToDump | ToDisk


@call(reply=None, time=Time.SLOW, reserve=Reserve.SCRIPTS)
class StreamStop(ChangingCall[None], frozen=True, tag="stream_stop"):
    """End the stream that `undoes` listens for, with its script. Ended already: fine."""


@call(reply=None, time=Time.STREAM, reserve=Reserve.SCRIPTS)
class StreamSend(ChangingCall[None], frozen=True, tag="stream_send"):
    """Send a stream; its progress is told. Done when the receiver has it; what failed there fails here."""

    stream: str
    endpoint: Endpoint
    peer: str  # uuid of the receiver
    compress: str  # on the way: a name of `COMPRESSIONS`
    source: FromDisk | FromDump


#: what a stream may be compressed with
COMPRESSIONS = ("none", "gzip", "gzip-fast", "gzip-slow", "zstd")


class Facilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a node has for streams."""

    compressions: tuple[str, ...]
    export_free: MiB  # space where exports are kept


@call(reply=Facilities)
class StreamFacilities(Call[Facilities], frozen=True, tag="stream_facilities"):
    """What the node can compress with, and its space for exports."""


# Snapshots


class Freezing(enum.Enum):
    """How the content of a disk can be kept while its instance runs."""

    AT_ONCE = "at_once"  # by the storage: no time, no space
    COPY = "copy"  # by the hypervisor, which copies it while the guest runs
    NO_ROOM = "no_room"  # it could be, but there is no space for it
    NONE = "none"


@call(reply=tuple[Freezing, ...], reserve=Reserve.STORAGE)
class FreezeCheck(Call[tuple[Freezing, ...]], frozen=True, tag="freeze_check"):
    """For each disk. Leaves nothing behind."""

    spec: GuestSpec
    is_running: bool  # while it is done: then the disks are to be kept at the same moment


@call(reply=None, time=Time.LONG, reserve=Reserve.STORAGE)
class FreezeDisks(ChangingCall[None], frozen=True, tag="freeze_disks"):
    """Keep the content that the disks have now as other volumes: by the hypervisor all at the same moment."""

    spec: GuestSpec
    snapshots: tuple[tuple[int, Disk], ...]  # with the index of the disk
    by_hypervisor: bool = False  # the guest runs, or waits paused, and its emulator copies the disks
    resume: bool = False  # it was started paused: let it go on as soon as the moment is kept


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class ThawDisks(ChangingCall[None], frozen=True, tag="thaw_disks"):
    """End the copying of these snapshots, if it still goes on, and remove them. Not there: fine."""

    spec: GuestSpec
    snapshots: tuple[tuple[int, Disk], ...]
    resume: bool = False  # the guest may be left paused


# Exports


class ExportText(msgspec.Struct, frozen=True, kw_only=True):
    """An export as its node keeps it."""

    directory: str  # logical
    text: str  # of its config.ini
    identity: str  # another one when the export was replaced
    sizes: dict[str, int] = {}  # file → bytes


@call(reply=tuple[str, ...])
class ExportList(Call[tuple[str, ...]], frozen=True, tag="export_list"):
    """Names of the exports that the node keeps, whole ones only."""


@call(reply=ExportText | None)
class ExportInfo(Call[ExportText | None], frozen=True, tag="export_info"):
    """One export; nothing when it is not there. `place` is a name below the export directory or an absolute path."""

    place: str


@call(reply=None, reserve=Reserve.STORAGE)
class ExportBegin(ChangingCall[None], frozen=True, tag="export_begin"):
    """Make the directory in which an export grows. One that was left there unfinished is replaced."""

    export: str
    token: str


# long, though it is not: a lost answer or a daemon that died is asked for again until it is known how it ended
@call(reply=None, time=Time.LONG, reserve=Reserve.STORAGE)
class ExportFinish(ChangingCall[None], frozen=True, tag="export_finish"):
    """Write its config.ini, with the checksums of the dumps added, and put it in the place of the older one."""

    export: str
    token: str
    text: str
    files: tuple[tuple[int, str], ...]  # with the index of the disk


@call(reply=None, time=Time.SLOW, reserve=Reserve.STORAGE)
class ExportDiscard(ChangingCall[None], frozen=True, tag="export_discard"):
    """Remove what there is of an unfinished export with this token, and bring the older one back."""

    export: str
    token: str


@call(reply=None, time=Time.LONG, reserve=Reserve.STORAGE)
class ExportRemove(ChangingCall[None], frozen=True, tag="export_remove"):
    """Remove a finished export; not there: fine."""

    export: str
