"""The state files of fake guests."""

from __future__ import annotations

import os

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestSpec
from ganeti.host import files
from ganeti.hypervisor import devices, traces
from ganeti.wire import codec

_STATE = ".json"


class FakeGuest(msgspec.Struct, frozen=True, kw_only=True):
    """Content of a state file."""

    name: str
    uuid: str
    memory: int  # MiB
    vcpus: int
    started: float  # epoch seconds
    paused: bool = False
    disk_paths: tuple[str, ...] = ()
    spec: GuestSpec | None = None  # what it was started as
    incoming: str = ""  # the migration that brings it; empty when it is here for good
    has_arrived: bool = False
    outgoing: str = ""  # the last migration that was to take it away
    has_departed: bool = False


class Guests:
    """Those of one node."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def file(self, name: str) -> str:
        return f"{self._directory}/{traces.safe(name)}{_STATE}"

    def put(self, guest: FakeGuest) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        write(self.file(guest.name), guest)

    def remove(self, name: str) -> None:
        try:
            os.unlink(self.file(name))
        except FileNotFoundError:
            return  # another call was faster

    def read(self, name: str) -> FakeGuest | None:
        return read(self.file(name))

    def get(self, name: str, uuid: str) -> FakeGuest | None:
        """Another instance's guest of the same name is not the one that was asked for."""
        found = self.read(name)
        return found if found is not None and uuid in ("", found.uuid) else None

    def all(self) -> tuple[FakeGuest, ...]:
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return ()
        found = [read(f"{self._directory}/{name}") for name in names if name[0] != "." and name.endswith(_STATE)]
        return tuple(guest for guest in found if guest is not None)


def read(path: str) -> FakeGuest | None:
    text = files.read_text(path)
    if text is None:
        return None
    try:
        return codec.decode(text, FakeGuest)
    except codec.CodecError as err:
        raise errors.HypervisorError(f"{path} is damaged: {err}", hint="remove it") from err


def write(path: str, guest: FakeGuest) -> None:
    kept = guest if guest.spec is None else msgspec.structs.replace(guest, spec=devices.for_record(guest.spec))
    files.write_atomic(path, codec.encode(kept), mode=0o600, durable=False)
