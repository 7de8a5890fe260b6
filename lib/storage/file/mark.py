"""Our mark on a file volume: a small file beside it that says whose it is. Written before the volume, removed after."""

from __future__ import annotations

import msgspec

from ganeti.model.types import Uuid
from ganeti.wire import codec


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    owner: Uuid  # the instance
    disk: Uuid
    version: int = 1


def encode(mark: Mark) -> bytes:
    return codec.encode(mark) + b"\n"


def decode(untrusted: str) -> Mark | None:
    """None: this is not a mark of ours."""
    try:
        found = codec.decode(untrusted, Mark)
    except codec.CodecError:
        return None
    return found if found.version == 1 else None
