"""Writes the configuration down for confd, from this node's copy of the state: on candidates, whenever it changes."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Any

from ganeti import errors, paths
from ganeti.host import files
from ganeti.hypervisor import parameters
from ganeti.model import classic
from ganeti.model.config import Config
from ganeti.model.objects import KINDS
from ganeti.paths import Paths
from ganeti.store import reading
from ganeti.wire import codec

log = logging.getLogger(__name__)

LOOK_S = 1.0
#: after a file that took one second to make, the next may follow in so many
REST = 10.0


def document(rows: list[tuple[str, str]], serial: int) -> tuple[Config, dict[str, Any]]:
    """The configuration in the classic form, without secrets. Any: JSON. `rows`: (key, value) of the objects."""
    config = Config.load(codec.unpack(value.encode(), KINDS[key.partition("/")[0]]) for key, value in rows)
    found = classic.export(
        config, serial=serial, builtin={name: parameters.defaults(name) for name in parameters.HYPERVISORS}
    )
    # who asks several candidates takes the answer with the highest serial for the newest
    found["cluster"]["serial_no"] = serial
    for disk in found["disks"].values():
        if len(disk["logical_id"]) > classic.SECRET:
            disk["logical_id"][classic.SECRET] = ""  # readers know it so
    return config, found


class ConfdWriter:
    """A thread of the node daemon."""

    def __init__(self, where: Paths, me: str, *, look_s: float = LOOK_S) -> None:
        self._paths, self._me, self._look_s = where, me, look_s
        self._state, self._target = where.local(paths.STATE_DB), where.local(paths.CONFD_DATA)
        self._written = 0  # serial of the change that the file has; 0: it is not ours yet
        self._looked = -1  # serial up to which there is no later change
        self._term = 0  # of the batch there: another mastership may have replaced what came last
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="writer for confd", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        wait_s, said = 0.0, ""
        while not self._stopping.wait(wait_s):
            begun = time.monotonic()
            try:
                self.update()
                said = ""
            except (errors.GanetiError, codec.CodecError, OSError) as err:
                if str(err) != said:
                    said = str(err)
                    log.warning("confd goes on with what it has: %s", err)
            wait_s = max(self._look_s, REST * (time.monotonic() - begun))

    def update(self) -> bool:
        """Bring the file up to date; whether it was written. Raises StoreError, CodecError, OSError."""
        position, _ = reading.look(self._state)
        if position.serial == 0:
            self._remove()
            return False
        if (position.term, position.serial) == (self._term, self._looked):
            return False
        goes_on = position.term == self._term and position.serial > self._looked >= 0
        known = self._written if goes_on else 0
        # a snapshot brings no history of its past: then the position stands for the last change
        latest = reading.last_change(self._state, "object", after=known) or (known or position.serial)
        if latest == known:
            self._looked, self._term = position.serial, position.term
            return False
        rows = reading.look_rows(self._state, "object")
        config, found = document(rows, latest)
        me = next((node for node in config.nodes.values() if node.uuid == self._me), None)
        if me is None or not me.master_candidate:
            self._remove()
        else:
            files.write(self._paths, paths.CONFD_DATA, codec.pack(found))
        self._written, self._looked, self._term = latest, position.serial, position.term
        return True

    def _remove(self) -> None:
        self._written, self._looked = 0, -1
        if os.path.lexists(self._target):
            os.unlink(self._target)
            log.info("this node is no candidate any more: nothing is left for confd")
