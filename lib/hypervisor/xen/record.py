"""What a node keeps of its Xen guests: a record each, the configuration file of xl, and the files of a migration."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ganeti import errors, paths
from ganeti.calls.instance import GuestSpec
from ganeti.host import files
from ganeti.hypervisor import devices, traces
from ganeti.paths import Paths
from ganeti.wire import codec

_ENDING = ".json"
#: of a migration: process of the transport, output, exit status
_MIGRATION = ("pid", "log", "status")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Restarts and migrations use this, not the present configuration."""

    spec: GuestSpec
    disk_paths: tuple[str, ...]  # logical
    incoming: str = ""  # the migration that brings it; empty when it is here for good
    outgoing: str = ""  # the last migration that was to take it away
    wakes: bool = True  # it goes on when it has arrived

    @property
    def name(self) -> str:
        return self.spec.instance.name


class Records:
    """Those of one node; all of them lie in a directory that a reboot empties, as it ends the guests."""

    def __init__(self, node_paths: Paths) -> None:
        self._run = node_paths.local(paths.XEN_DIR)
        self._config = node_paths.local(paths.XEN_CONFIG_DIR)

    def config(self, name: str) -> str:
        """Path of the file that xl reads."""
        return f"{self._config}/{traces.safe(name)}"

    def migration_file(self, name: str, kind: str) -> str:
        return f"{self._run}/{traces.safe(name)}.{kind}"

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One change of a guest at a time, across processes too."""
        try:
            os.makedirs(self._run, mode=0o700, exist_ok=True)
        except OSError as err:
            raise errors.HypervisorError(f"cannot create directory {self._run}: {err.strerror}") from err
        with files.locked(f"{self._run}/{traces.safe(name)}.lock", mode=0o600):
            yield

    def read(self, name: str) -> Record | None:
        """None: not started by us. Raises HypervisorError for a damaged file."""
        path = f"{self._run}/{traces.safe(name)}{_ENDING}"
        text = files.read_text(path)
        if text is None:
            return None
        try:
            return codec.decode(text, Record)
        except codec.CodecError as err:
            raise errors.HypervisorError(f"{path} is damaged: {err}", hint="remove it when the guest is gone") from err

    def write(self, record: Record, config: str) -> None:
        """The record and the file for xl."""
        try:
            os.makedirs(self._config, mode=0o755, exist_ok=True)
            # a password may be in it
            files.write_atomic(self.config(record.name), config.encode(), mode=0o600, durable=False)
            # with this link Xen itself would start the guest when the node boots
            link = f"{self._config}/auto/{record.name}"
            if os.path.lexists(link):
                traces.remove(link)
            self.note(record)
        except OSError as err:
            raise errors.HypervisorError(f"cannot write {err.filename}: {err.strerror}") from err

    def note(self, record: Record) -> None:
        path = f"{self._run}/{traces.safe(record.name)}{_ENDING}"
        kept = msgspec.structs.replace(record, spec=devices.for_record(record.spec))
        try:
            files.write_atomic(path, codec.encode(kept), mode=0o600, durable=False)
        except OSError as err:
            raise errors.HypervisorError(f"cannot write {path}: {err.strerror}") from err

    def names(self) -> tuple[str, ...]:
        try:
            found = sorted(os.listdir(self._run))
        except FileNotFoundError:
            return ()
        return tuple(name.removesuffix(_ENDING) for name in found if name.endswith(_ENDING) and name[0] != ".")

    def forget_migration(self, name: str) -> None:
        for kind in _MIGRATION:
            traces.remove(self.migration_file(name, kind))

    def forget(self, name: str) -> None:
        """The record last."""
        self.forget_migration(name)
        traces.remove(self.config(name))
        traces.remove(f"{self._run}/{traces.safe(name)}{_ENDING}")
