"""Zeroes onto a block device, piece by piece."""

from __future__ import annotations

from ganeti import errors
from ganeti.host.run import Argv, Runner
from ganeti.model.types import MiB
from ganeti.storage.base import Watch

#: a tenth of the disk at a time, so that a stop is soon heard; at most so much
_LARGEST_MIB = 1024
_SLOWEST_MIB_S = 0.25


def pieces(offset: MiB, size: MiB) -> list[tuple[MiB, MiB]]:
    """(place, amount) of each piece, in MiB."""
    step = max(1, min(_LARGEST_MIB, size // 10))
    return [(place, min(step, size - place)) for place in range(offset, size, step)]


def dd(device: str, place: MiB, amount: MiB) -> Argv:
    # nocreat: should the device be gone, no plain file may take its place
    how = ("bs=1048576", f"seek={place}", f"count={amount}", "oflag=direct", "conv=nocreat,notrunc", "status=none")
    return ("dd", "if=/dev/zero", f"of={device}", *how)


def wipe(runner: Runner, device: str, *, offset: MiB, size: MiB, watch: Watch) -> None:
    """Raises StorageError when it is stopped, CommandFailed."""
    for place, amount in pieces(offset, size):
        if watch.stop.is_set():
            raise errors.StorageError(f"the wiping of {device} was stopped on request")
        watch.progress["text"] = f"{100 * (place - offset) // max(1, size - offset)}% of {size - offset} MiB"
        runner.run(dd(device, place, amount), timeout_s=60 + amount / _SLOWEST_MIB_S)
