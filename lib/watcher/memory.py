"""What the watcher remembers from one run to the next, for each node group."""

from __future__ import annotations

import logging
import os

import msgspec

from ganeti.host import files
from ganeti.paths import File, Paths
from ganeti.wire import codec

log = logging.getLogger(__name__)


class Attempts(msgspec.Struct, frozen=True, omit_defaults=True):
    """Starts of an instance that did not run."""

    restart_count: int
    restart_when: float  # epoch seconds of the last one
    job: int = 0  # that one's, when it had not ended in time


class Boot(msgspec.Struct, frozen=True):
    bootid: str  # of the boot after which the disks were looked at


class Memory(msgspec.Struct, frozen=True):
    """The file's form is known outside; names are those of nodes and instances."""

    node: dict[str, Boot] = {}
    instance: dict[str, Attempts] = {}


def load(where: Paths, file: File) -> Memory:
    """Not there or not readable: empty; the worst that comes of it is one start more."""
    local = where.local(file)
    try:
        text = files.read_text(local)
        return codec.decode(text, Memory) if text else Memory()
    except codec.CodecError as err:
        log.warning("%s cannot be read, beginning anew: %s", local, err)
        return Memory()


def save(where: Paths, file: File, memory: Memory) -> None:
    """The same as before: only its time of change is set. Raises OSError."""
    data = codec.encode(memory) + b"\n"
    local = where.local(file)
    if files.read_text(local) == data.decode():
        os.utime(local)
    else:
        files.write(where, file, data)
