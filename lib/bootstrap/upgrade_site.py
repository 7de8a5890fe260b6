"""What an upgrade does to the real cluster: files here, ssh to the other nodes, requests to the master."""

from __future__ import annotations

import glob
import os
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ganeti import errors, paths, settings
from ganeti.bootstrap import daemons
from ganeti.bootstrap.upgrade import Intent
from ganeti.host import faults, files, ssh, starting
from ganeti.host.clock import Clock
from ganeti.host.run import Runner
from ganeti.ops.verbs import Session
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.store import formats, reading
from ganeti.store.api import Batch, Note
from ganeti.store.batch import seal, unseal
from ganeti.store.db import Database
from ganeti.store.formats import Format
from ganeti.wire import codec

SSH_LIMIT_S = 30.0
#: daemons of a node end and start; running calls are waited for
DAEMONS_LIMIT_S = 180.0
MASTER_LIMIT_S = 120.0
#: jobs that have ended, as `QueryJobs` says it
_ENDED = ("success", "error", "canceled")
#: of a command that is run on its own, and its jobs
COMMAND_LIMIT_S = 3600.0
#: of ssh: it found nobody, or was let in by nobody; it did not end in time
_NO_LOGIN = (255, None)
BEFORE_ARCHIVE = faults.register("upgrade.before_archive")
AFTER_ARCHIVE = faults.register("upgrade.after_archive")
#: of a copy: what is made anew, or was one itself
_NOT_COPIED = ("backup", "state.db-wal", "state.db-shm")


class RealSite:
    """`session` speaks to the master daemon of this node."""

    installed = settings.VERSION

    def __init__(self, where: Paths, session: Session, runner: Runner, clock: Clock) -> None:
        self._paths, self._session, self._runner, self._clock = where, session, runner, clock

    # The intent

    def load(self) -> Intent | None:
        text = files.read_text(self._paths.local(paths.UPGRADE_INTENT))
        if text is None:
            return None
        try:
            return codec.decode(text, Intent)
        except codec.CodecError as err:
            raise errors.PrereqError(
                "environment_error",
                f"{self._paths.local(paths.UPGRADE_INTENT)} cannot be read: {err}",
                hint="look what the daemons do; then remove it",
            ) from err

    def save(self, intent: Intent) -> None:
        files.write(self._paths, paths.UPGRADE_INTENT, codec.dumps(intent).encode() + b"\n")

    def forget(self) -> None:
        local = self._paths.local(paths.UPGRADE_INTENT)
        os.unlink(local)
        files.sync_directory(os.path.dirname(local))

    # Looking

    def _lines(self, name: str) -> list[str]:
        return (files.read_text(self._paths.local(paths.ssconf(name)), max_bytes=1 << 24) or "").split()

    def check_is_master(self) -> None:
        me = identity.load(self._paths)
        master = "".join(self._lines("master_node"))
        if me is None or me.node != master:
            raise errors.PrereqError(
                "wrong_state", f"this node is not the master{', but ' + master if master else ''}", hint="run it there"
            )

    def others(self) -> tuple[str, ...]:
        away = {*self._lines("offline_nodes"), *self._lines("master_node")}
        return tuple(node for node in self._lines("node_list") if node not in away)

    def offline(self) -> tuple[str, ...]:
        return tuple(self._lines("offline_nodes"))

    def version_on(self, node: str) -> str | None:
        try:
            return self._ssh(node, daemons.NODED, "--version", timeout_s=SSH_LIMIT_S).split()[-1]
        except IndexError:
            return ""
        except errors.ExecError as err:
            cause = err.__cause__
            is_there = isinstance(cause, errors.CommandFailed) and cause.status not in _NO_LOGIN
            return "" if is_there else None

    def running_version(self) -> str:
        if not daemons.is_running(self._paths, daemons.MASTERD):
            return ""
        return str(self._session.call("QueryClusterInfo")["software_version"])

    def format(self) -> Format:
        rows = dict(reading.look_rows(self._paths.local(paths.STATE_DB), *formats.KEY[:1], prefix=formats.KEY[1]))
        return formats.parse(rows.get(formats.KEY[1]))

    def is_drained(self) -> bool:
        (drained,) = self._session.call("QueryConfigValues", ["drain_flag"])
        return bool(drained)

    def unfinished(self) -> int:
        rows = self._session.call("QueryJobs", None, ["status"])
        return sum(status not in _ENDED for (status,) in rows)

    # Changing

    def set_drained(self, wanted: bool) -> None:
        self._session.call("SetDrainFlag", wanted)

    def pause_watcher(self, seconds: float | None) -> None:
        self._session.call("SetWatcherPause", None if seconds is None else self._clock.time() + seconds)

    def stop(self, node: str) -> None:
        if node:
            self._ssh(node, "ganeti-daemons", "stop", timeout_s=DAEMONS_LIMIT_S)
            return
        for daemon in reversed(starting.DAEMONS):
            daemons.stop(self._paths, daemon.name)

    def start(self, node: str) -> None:
        if node:
            self._ssh(node, "ganeti-daemons", "start", timeout_s=DAEMONS_LIMIT_S)
            return
        for daemon in starting.DAEMONS:
            try:
                daemons.start(self._paths, daemon.name)
            except errors.ExecError as err:
                if daemon.is_needed:
                    raise
                self.tell(f"{err}")
        daemons.wait_until(
            "an answer of the master daemon",
            self._is_answering,
            timeout_s=MASTER_LIMIT_S,
            while_true=lambda: daemons.is_running(self._paths, daemons.MASTERD),
            every_s=0.2,
        )

    def _is_answering(self) -> bool:
        try:
            # the flags are read by the engine: it works when it says that it is the master
            self._session.call("QueryConfigValues", ["master_node"])
        except (errors.NoMasterError, errors.RequestError):
            return False
        return True

    def _ssh(self, node: str, *command: str, timeout_s: float) -> str:
        login = ssh.login(self._paths, node)
        try:
            return self._runner.run((*login, self._paths.remote(command)), timeout_s=timeout_s).stdout
        except errors.CommandFailed as err:
            raise errors.ExecError(f"node {node}: {' '.join(command)}: {err.message}") from err

    def back_up(self, intent: Intent) -> str:
        files.make_directory(self._paths, paths.BACKUP_DIR)
        # of one that was killed while it copied: secrets are in them
        for left in glob.glob(glob.escape(self._paths.local(paths.BACKUP_DIR)) + "/*.tar.*"):
            os.unlink(left)
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime(intent.begun))
        path = f"{self._paths.local(paths.BACKUP_DIR)}/{intent.before or 'before'}-to-{intent.version}-{stamp}.tar"
        state = self._paths.local(paths.STATE_DB)
        copy = f"{path}.state"
        try:
            self._archive(path + ".new", state, copy)
        except BaseException:
            for place in (path + ".new", copy):
                with suppress(FileNotFoundError):
                    os.unlink(place)
            raise
        faults.hit(BEFORE_ARCHIVE)
        os.replace(path + ".new", path)
        faults.hit(AFTER_ARCHIVE)
        files.sync_directory(os.path.dirname(path))
        return path

    def _archive(self, path: str, state: str, copy: str) -> None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                _copy_state(state, copy)
                _add_state(archive, state, copy)
                os.unlink(copy)
                archive.add(self._paths.local(paths.DATA_DIR), arcname=".", filter=_is_wanted)
            file.flush()
            os.fsync(file.fileno())

    def convert(self, steps: tuple[formats.Step, ...]) -> None:
        """One batch on top of what this node has led; the other candidates get it from the new master daemon."""
        if not steps:
            return
        path = self._paths.local(paths.STATE_DB)
        ids = files.owner_ids(paths.STATE_DB, is_virtual=self._paths.is_virtual)
        database = Database.open(path, owner="gnt-cluster upgrade", ids=ids)
        try:
            position = database.position
            if database.led != position.term:
                raise errors.PrereqError(
                    "wrong_state",
                    f"the last change of the state, in term {position.term}, is not this node's own",
                    hint="start the master daemon of the old version once, or make another candidate the master",
                )
            note = Note(actor="gnt-cluster upgrade", reason=f"format {steps[-1].to}")
            writes = formats.convert(database.all_rows(without=()), steps)
            batch = Batch(position.term, position.serial + 1, self._clock.time(), writes, (note,))
            text = seal(batch, position.hash).text
            database.apply([unseal(text, position.hash)], is_leader=True)
        finally:
            database.close()

    def redistribute(self) -> None:
        # jobs of others are not taken yet
        self._command("gnt-cluster", "redist-conf", "--yes-do-it", "--reason=upgrade")

    def verify(self) -> bool:
        try:
            self._command("gnt-cluster", "verify")
        except errors.GanetiError as err:
            self.tell(f"The check of the cluster found something, or was not made: {err}")
            return False
        return True

    def _command(self, name: str, *arguments: str) -> None:
        """One of our own, as a person runs it."""
        try:
            self._runner.run((starting.program(name), *arguments), timeout_s=COMMAND_LIMIT_S)
        except errors.CommandFailed as err:
            said = err.output.strip()[-2000:]
            raise errors.ExecError(f"{name} {arguments[0]}: {said or err.message}") from err

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def time(self) -> float:
        return self._clock.time()

    def tell(self, text: str) -> None:
        self._session.note(text)


@contextmanager
def alone(where: Paths) -> Iterator[None]:
    """Raises PrereqError(wrong_state) while another upgrade of this node's cluster runs."""
    try:
        with files.locked(where.local(paths.UPGRADE_LOCK), wait=False):
            yield
    except BlockingIOError as err:
        raise errors.PrereqError(
            "wrong_state", "an upgrade runs already on this node", hint="let it end; it tells how far it is"
        ) from err


def _add_state(archive: tarfile.TarFile, path: str, copy: str) -> None:
    """The copy, with the mode and the owner of what it is a copy of: unpacked, it is open to nobody else."""
    entry = archive.gettarinfo(copy, arcname="./state/state.db")
    original = archive.gettarinfo(path)
    entry.mode = original.mode
    entry.uid, entry.gid, entry.uname, entry.gname = original.uid, original.gid, original.uname, original.gname
    with open(copy, "rb") as content:
        archive.addfile(entry, content)


def _copy_state(path: str, target: str) -> None:
    """A whole database, whatever is in its log; for nobody else."""
    connection = sqlite3.connect(path)
    try:
        # sqlite fills an empty file as it is
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
        connection.execute("VACUUM INTO ?", (target,))
    except sqlite3.Error as err:
        raise errors.StoreError(f"the state {path} was not copied: {err}") from err
    finally:
        connection.close()


def _is_wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = entry.name.removeprefix("./")
    if name == "state/state.db" or os.path.basename(name) in _NOT_COPIED or not (entry.isfile() or entry.isdir()):
        return None
    return entry
