"""Handler of the call that copies one volume to another of this node."""

from __future__ import annotations

import os

from ganeti import errors
from ganeti.calls.volume import VolumeCopy
from ganeti.node import volumes
from ganeti.node.base import Context, NodeEnv, handles

_CHUNK = 1 << 20
_NOTHING = bytes(_CHUNK)


@handles(VolumeCopy)
def copy(call: VolumeCopy, env: NodeEnv, context: Context) -> None:
    """May be repeated. What is copied is on the disk when it returns."""
    opened = []
    try:
        paths = []
        for disk in (call.disk, call.new):
            logical = volumes.storage_of(disk, env).open(disk, call.owner).path
            opened.append(disk)
            paths.append(volumes.local_path(disk, logical, env))
        _copy(paths[0], paths[1], context)
    except OSError as err:
        raise errors.StorageError(f"cannot copy {err.filename or 'the data'}: {err.strerror}") from err
    finally:
        volumes.close_all(tuple(opened), call.owner, env)


def _copy(source: str, target: str, context: Context) -> None:
    with open(source, "rb") as from_file, open(target, "r+b") as to_file:
        size = from_file.seek(0, os.SEEK_END)
        if to_file.seek(0, os.SEEK_END) < size:
            raise errors.StorageError(f"{target} is smaller than {source}")
        from_file.seek(0)
        to_file.seek(0)
        # a file that was just made is full of zeroes, and stays sparse; a device may hold anything
        is_empty = os.path.isfile(target) and os.fstat(to_file.fileno()).st_blocks == 0
        done = 0
        while chunk := from_file.read(_CHUNK):
            if context.stop.is_set():
                raise errors.NodeFailure("stopped on request")
            if is_empty and chunk == _NOTHING[: len(chunk)]:
                to_file.seek(len(chunk), os.SEEK_CUR)
            else:
                to_file.write(chunk)
            done += len(chunk)
            context.progress["text"] = f"{done >> 20} of {size >> 20} MiB copied"
        to_file.flush()
        os.fsync(to_file.fileno())
