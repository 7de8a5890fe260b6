"""Who this node is, as its daemons read it before they know anything else."""

from __future__ import annotations

import msgspec

from ganeti import errors, paths
from ganeti.host import files
from ganeti.paths import Paths
from ganeti.wire import codec


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Written when the node joins a cluster, removed when it leaves."""

    cluster: str  # name
    node: str  # full name
    uuid: str
    address: str  # where its node daemon listens and from where it calls


def load(where: Paths) -> Identity | None:
    """None: this node is in no cluster. Raises PrereqError(environment_error) when the file is broken."""
    local = where.local(paths.IDENTITY)
    text = files.read_text(local)
    if text is None:
        return None
    try:
        return codec.decode(text, Identity)
    except codec.CodecError as err:
        raise errors.PrereqError(
            "environment_error", f"cannot read {local}: {err}", hint="join the node again"
        ) from err


def store(where: Paths, identity: Identity) -> None:
    files.write(where, paths.IDENTITY, codec.encode(identity) + b"\n")
