"""A whole data directory of a classic cluster: what is taken over beside the configuration, and the way back."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

import msgspec

from ganeti import errors, paths
from ganeti.bootstrap import config_import, daemons
from ganeti.bootstrap.membership import remove_everything
from ganeti.host import faults, files, regular
from ganeti.model.types import Uuid
from ganeti.paths import File, Paths
from ganeti.wire import codec

CONFIG = "config.data"
#: below our data directory: what was in it before
ASIDE = "classic"
#: its name once ours are gone, and what is in it goes back
BACK = "classic.back"
#: every name that such a cluster has in its data directory
_NAMES = re.compile(
    r"config\.data.*|ssconf_.*|known_hosts|(server|client|rapi|spice|spice-ca)\.pem|rapi|rapi_users|hmac\.key"
    r"|cluster-domain-secret|ganeti_pub_keys|queue|watcher\..*|intent-to-upgrade|tempres\.data|.*\.backup-.*"
)
#: each file or directory that is moved, to either side
BEFORE_MOVE = faults.register("import.before_move")
AFTER_MOVE = faults.register("import.after_move")
BEFORE_REMOVE = faults.register("import.before_remove")
AFTER_REMOVE = faults.register("import.after_remove")
BEFORE_BACK = faults.register("import.before_back")
AFTER_BACK = faults.register("import.after_back")
_UNFINISHED = frozenset(("queued", "waiting", "waitlock", "running", "canceling"))
_JOB = re.compile(r"job-(\d{1,11})\Z")
MAX_BYTES = 1 << 20
#: under its name there → where we have it, and what it has to look like
_CARRIED: tuple[tuple[tuple[str, ...], File, re.Pattern[bytes], str], ...] = (
    (("rapi/users", "rapi_users"), paths.RAPI_USERS, re.compile(rb"[^\0]*\Z"), "users of the REST interface"),
    (
        ("rapi.pem",),
        paths.RAPI_CERT,
        re.compile(rb"(?s)(?=.*BEGIN [A-Z ]*PRIVATE KEY)(?=.*BEGIN CERTIFICATE)"),
        "certificate of the REST interface",
    ),
    (("hmac.key",), paths.CONFD_KEY, re.compile(rb"[0-9a-f]{32,256}\n\Z"), "key of confd"),
    (("cluster-domain-secret",), paths.DOMAIN_SECRET, re.compile(rb"\S{16,4096}\s*\Z"), "secret between clusters"),
    (("spice.pem",), paths.SPICE_CERT, re.compile(rb"(?s).*BEGIN CERTIFICATE"), "certificate of SPICE consoles"),
    (("spice-ca.pem",), paths.SPICE_CA, re.compile(rb"(?s).*BEGIN CERTIFICATE"), "authority of SPICE consoles"),
)
_NOT_CARRIED = {
    "server.pem": "certificates of nodes are made anew",
    "known_hosts": "host keys are asked for anew, from each node that is added; the old keys of root stay in place",
    "queue/archive": "archived jobs stay where they are put aside",
}


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken over beside the configuration."""

    last_job: int  # numbers of jobs go on after it
    carried: tuple[tuple[str, bytes], ...]  # path of ours, content
    lines: tuple[str, ...]


class Directory:
    """A data directory, or two places that together are one while it is being moved."""

    def __init__(self, *places: str) -> None:
        self._places = places

    def path(self, name: str) -> str:
        """Of that file or directory; the first place where it would be, if it is in none."""
        tried = [f"{place}/{name}" for place in self._places]
        return next((path for path in tried if os.path.lexists(path)), tried[0])

    def read(self, name: str) -> bytes | None:
        """Raises PrereqError when it is there and cannot be read."""
        try:
            untrusted = regular.read(self.path(name), max_bytes=MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise errors.PrereqError("environment_error", f"cannot read {self.path(name)}: {err.strerror}") from err
        if len(untrusted) > MAX_BYTES:
            raise errors.PrereqError("wrong_input", f"{self.path(name)} is longer than {MAX_BYTES} bytes")
        return untrusted


def look(directory: Directory) -> Found:
    """Changes nothing. Raises PrereqError for jobs that are not at their end and for what cannot be read."""
    _check_jobs(directory)
    carried, lines = [], []
    for names, file, form, what in _CARRIED:
        for name in names:
            content = directory.read(name)
            if content is None:
                continue
            if form.match(content):
                carried.append((file.path, content))
                lines.append(f"  - taken over: {what}, {name}")
            else:
                lines.append(f"  - WARNING: {name} is not what it should be ({what}): not taken over")
            break
    last_job = _last_job(directory)
    lines.append(f"  - the next job will be number {last_job + 1}")
    lines += [f"  - {text}" for name, text in _NOT_CARRIED.items() if os.path.exists(directory.path(name))]
    return Found(last_job=last_job, carried=tuple(carried), lines=tuple(lines))


def _last_job(directory: Directory) -> int:
    raw = (directory.read("queue/serial") or b"0").strip()
    if not re.fullmatch(rb"\d{1,11}", raw):
        raise errors.PrereqError(
            "wrong_input", f"{directory.path('queue/serial')} is not the number of a job: {raw[:40]!r}"
        )
    return int(raw)


def _check_jobs(directory: Directory) -> None:
    queue = directory.path("queue")
    names = os.listdir(queue) if os.path.isdir(queue) else []
    left = [name for name in names if _JOB.match(name) and _is_unfinished(directory.read(f"queue/{name}") or b"")]
    if left:
        raise errors.PrereqError(
            "wrong_state",
            f"jobs in {queue} are not at their end: {', '.join(sorted(left)[:10])}",
            hint="start that cluster's master daemon once more: it ends them; then stop it again",
        )


def _is_unfinished(untrusted: bytes) -> bool:
    """What is no job at all was moved to the archive by the old master daemon too."""
    try:
        document = codec.loads(untrusted)
    except codec.CodecError:
        return False
    ops = document.get("ops") if isinstance(document, dict) else None
    states = [op.get("status") for op in ops if isinstance(op, dict)] if isinstance(ops, list) else []
    return any(isinstance(state, str) and state in _UNFINISHED for state in states)


def import_directory(
    root: str, where: Paths, *, now: float, new_uuid: Callable[[], Uuid], dry_run: bool
) -> tuple[str, ...]:
    """`config_import.import_file` with all that belongs to it. Returns what was done, as lines. May be repeated.

    Our own data directory: what is in it is moved to `classic` there first, and `take_back` brings it back.
    """
    data = where.local(paths.DATA_DIR)
    is_own = os.path.realpath(root) == os.path.realpath(data)
    is_moved = is_own and os.path.exists(f"{data}/{ASIDE}/{CONFIG}")
    if is_moved and os.path.exists(where.local(paths.IDENTITY)) and not os.path.exists(where.local(paths.INIT_MARK)):
        return ("It was taken over already.", _way_back(data), config_import.NOW_START)
    # moved already: what is in our directory now is ours
    places = (f"{data}/{ASIDE}",) if is_moved else (root, f"{data}/{ASIDE}") if is_own else (root,)
    directory = Directory(*places)
    wanted = config_import.plan(config_import.read_document(directory.path(CONFIG)), new_uuid=new_uuid)
    config_import.check_host(wanted.config, where)
    found = look(directory)
    if dry_run:
        moved = (f"What is in {data} would be moved to {data}/{ASIDE}.",) if is_own and not is_moved else ()
        return (*wanted.lines, *found.lines, *moved, "Nothing was changed.")
    if is_own and not is_moved:
        move_aside(data)
        directory = Directory(f"{data}/{ASIDE}")
    last = config_import.import_file(
        directory.path(CONFIG),
        where,
        now=now,
        new_uuid=new_uuid,
        dry_run=False,
        last_job=found.last_job,
        also=lambda: _write(found, where),
    )[-1]
    return (*wanted.lines, *found.lines, *((_way_back(data),) if is_own else ()), last)


def _way_back(data: str) -> str:
    return f"The way back: gnt-cluster import-config --undo --yes-do-it; the old files are in {data}/{ASIDE}."


def _write(found: Found, where: Paths) -> None:
    contents = dict(found.carried)
    for _, file, _, _ in _CARRIED:
        if file.path in contents:
            parent = os.path.dirname(file.path)
            if parent != paths.DATA_DIR.path:
                files.make_directory(where, File(parent, file.user, file.group, 0o750))
            files.write(where, file, contents[file.path])


def move_aside(data: str) -> None:
    """The configuration last: as long as it is in its place, this may have been interrupted."""
    aside = f"{data}/{ASIDE}"
    os.makedirs(aside, mode=0o700, exist_ok=True)
    _move(data, aside)


def _move(source: str, target: str) -> None:
    for name in sorted(_classic(source), key=lambda name: name == CONFIG):
        faults.hit(BEFORE_MOVE)
        os.rename(f"{source}/{name}", f"{target}/{name}")
        faults.hit(AFTER_MOVE)
    files.sync_directory(target)
    files.sync_directory(source)


def _classic(directory: str) -> Iterator[str]:
    return (name for name in os.listdir(directory) if _NAMES.fullmatch(name))


def take_back(where: Paths) -> None:
    """The classic cluster's files are in their places again, and ours are gone. May be repeated.

    Raises PrereqError when nothing was put aside, or daemons run.
    """
    data = where.local(paths.DATA_DIR)
    aside = f"{data}/{ASIDE}"
    back = f"{data}/{BACK}"
    if not os.path.isdir(aside) and not os.path.isdir(back):
        raise errors.PrereqError("wrong_state", f"there is nothing to go back to: {aside} is not there")
    for daemon in (daemons.MASTERD, daemons.NODED):
        if daemons.is_running(where, daemon):
            raise errors.PrereqError("wrong_state", f"{daemon} runs on this host", hint="ganeti-daemons stop")
    if os.path.isdir(aside):
        if os.path.exists(f"{aside}/{CONFIG}"):
            faults.hit(BEFORE_REMOVE)
            _remove_ours(where)
            faults.hit(AFTER_REMOVE)
        # else they were not all moved yet, and nothing is ours
        faults.hit(BEFORE_BACK)
        os.rename(aside, back)  # from here on nothing of this name may be removed: it may be theirs
        faults.hit(AFTER_BACK)
        files.sync_directory(data)
    _move(back, data)
    os.rmdir(back)


def _remove_ours(where: Paths) -> None:
    remove_everything(where)
    mark = where.local(paths.INIT_MARK)
    for path in (mark, f"{mark}.lock", *(where.local(file) for _, file, _, _ in _CARRIED)):
        if os.path.exists(path):
            os.unlink(path)
    users = os.path.dirname(where.local(paths.RAPI_USERS))
    if os.path.isdir(users) and not os.listdir(users):
        os.rmdir(users)
