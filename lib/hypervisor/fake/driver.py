"""The fake hypervisor: a guest is a small file in the run directory. It obeys at once."""

from __future__ import annotations

import os

import msgspec

from ganeti import errors, paths
from ganeti.calls.instance import Console, Guest, GuestSpec, GuestState
from ganeti.calls.node import HypervisorInfo
from ganeti.host import files
from ganeti.host.clock import Clock
from ganeti.hypervisor import linux
from ganeti.model.objects import Params
from ganeti.paths import Paths
from ganeti.wire import codec

NAME = "fake"
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


class FakeHypervisor:
    def __init__(self, node_paths: Paths, clock: Clock) -> None:
        self._directory = node_paths.local(paths.FAKE_DIR)
        self._clock = clock

    def start(self, spec: GuestSpec, disk_paths: tuple[str, ...], *, paused: bool) -> None:
        there = self._read(self._file(spec.instance.name))
        if there is not None:
            if there.uuid != spec.instance.uuid:
                raise errors.HypervisorError(
                    f"a guest named {there.name} runs already, but it is instance {there.uuid}", hint="stop it first"
                )
            return
        self._put(
            FakeGuest(
                name=spec.instance.name,
                uuid=spec.instance.uuid,
                memory=int(spec.beparams["maxmem"]),
                vcpus=int(spec.beparams["vcpus"]),
                started=self._clock.time(),
                paused=paused,
                disk_paths=disk_paths,
            )
        )

    def stop(self, name: str, uuid: str, *, force: bool) -> None:
        if self._get(name, uuid) is not None:
            try:
                os.unlink(self._file(name))
            except FileNotFoundError:
                return  # another call was faster

    def reboot(self, spec: GuestSpec, *, hard: bool) -> None:
        found = self._get(spec.instance.name, spec.instance.uuid)
        if found is None:
            raise errors.HypervisorError(f"cannot reboot instance {spec.instance.name} that is not running")
        self._put(msgspec.structs.replace(found, started=self._clock.time(), paused=False))

    def clean_up(self, name: str, uuid: str) -> None:
        if self._get(name, uuid) is not None:
            raise errors.HypervisorError(f"instance {name} is running, so its files stay", hint="stop it first")

    def list(self) -> tuple[Guest, ...]:
        return tuple(_report(guest) for guest in self._all())

    def info(self, name: str, uuid: str) -> Guest | None:
        found = self._get(name, uuid)
        return None if found is None else _report(found)

    def console(self, spec: GuestSpec) -> Console:
        return Console(kind="msg", message="Console not available for fake hypervisor")

    def console_log(self, name: str, uuid: str, *, max_bytes: int) -> str:
        return ""

    def node_info(self) -> HypervisorInfo:
        return linux.node_info(reserved=sum(guest.memory for guest in self._all()))

    def validate(self, hvparams: Params) -> str:
        return ""

    def verify(self) -> str:
        if not os.access(self._directory, os.W_OK | os.X_OK):
            return f"directory {self._directory} cannot be written"
        return ""

    def leftovers(self) -> tuple[str, ...]:
        return ()

    def _file(self, name: str) -> str:
        if "/" in name or name.startswith("."):
            raise errors.HypervisorError(f"{name!r} is not the name of an instance")
        return f"{self._directory}/{name}{_STATE}"

    def _put(self, guest: FakeGuest) -> None:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        files.write_atomic(self._file(guest.name), codec.encode(guest), mode=0o600, durable=False)

    def _read(self, path: str) -> FakeGuest | None:
        text = files.read_text(path)
        if text is None:
            return None
        try:
            return codec.decode(text, FakeGuest)
        except codec.CodecError as err:
            raise errors.HypervisorError(f"{path} is damaged: {err}", hint="remove it") from err

    def _get(self, name: str, uuid: str) -> FakeGuest | None:
        """Another instance's guest of the same name is not the one that was asked for."""
        found = self._read(self._file(name))
        return found if found is not None and uuid in ("", found.uuid) else None

    def _all(self) -> tuple[FakeGuest, ...]:
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            return ()
        found = [self._read(f"{self._directory}/{name}") for name in names if name[0] != "." and name.endswith(_STATE)]
        return tuple(guest for guest in found if guest is not None)


def _report(guest: FakeGuest) -> Guest:
    return Guest(
        name=guest.name,
        uuid=guest.uuid,
        hypervisor=NAME,
        state=GuestState.PAUSED if guest.paused else GuestState.RUNNING,
        memory=guest.memory,
        vcpus=guest.vcpus,
    )
