"""The ssconf files: plain text about the cluster on every node, for scripts and for our own programs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import msgspec

from ganeti import errors, paths
from ganeti.calls.node import SSH_AUTHORIZED, SSH_KNOWN_HOSTS, WATCHER_PAUSE, SsconfWrite
from ganeti.host import faults, files
from ganeti.host.clock import Clock, SystemClock
from ganeti.model import ssh
from ganeti.node import ssh_files
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.wire import codec

BEFORE_SSCONF = faults.register("node.before_ssconf")
AFTER_SSCONF = faults.register("node.after_ssconf")

#: of one file; classic readers take 128 KiB, which 5,000 names of instances can exceed, and half a list helps nobody
MAX_BYTES = 4 * 1024 * 1024
LOCK_S = 10.0
_NAME = re.compile(r"[a-z0-9_-]{1,64}\Z")

#: (term, serial) of the configuration that a file was made from
Generation = tuple[int, int]


@handles(SsconfWrite)
def write(call: SsconfWrite, env: NodeEnv, context: Context) -> int:
    changed = write_ssconf(env.paths, call.files, generation=(context.term, call.serial), clock=env.clock)
    if changed and "cluster_name" in call.files:
        _follow_rename(env.paths)
    return changed


def _follow_rename(where: Paths) -> None:
    """What this node calls its cluster is what the ssconf files say."""
    me = identity.load(where)
    name = (files.read_text(where.local(paths.ssconf("cluster_name"))) or "").strip()
    if me is not None and name and me.cluster != name:
        identity.store(where, msgspec.structs.replace(me, cluster=name))


def write_ssconf(
    where: Paths, contents: Mapping[str, str], *, generation: Generation | None = None, clock: Clock | None = None
) -> int:
    """Rewrite the files (name without `ssconf_` → content) whose content differs; returns how many.

    A file that was written from a later generation stays. Without a generation all are written and what was
    known of generations is forgotten: for a node that joins. Raises NodeFailure before anything is written.
    """
    _check(contents)
    changed = 0
    with _locked(where, clock or SystemClock()):
        known = {} if generation is None else _generations(where)
        wanted = {
            name: text for name, text in contents.items() if generation is None or known.get(name, (0, 0)) <= generation
        }
        # The generation first: should we die before the files, the same call may still be repeated.
        if generation is None:
            _forget(where)
        elif any(known.get(name) != generation for name in wanted):
            known |= dict.fromkeys(wanted, generation)
            files.write(where, paths.SSCONF_SERIAL, codec.encode(known) + b"\n")
        faults.hit(BEFORE_SSCONF)
        # Files that are not ours alone come last: if one cannot be written, the rest has been.
        for name in sorted(wanted, key=lambda name: name in (SSH_AUTHORIZED, SSH_KNOWN_HOSTS)):
            changed += _replace(where, name, wanted[name])
        faults.hit(AFTER_SSCONF)
    return changed


def _check(contents: Mapping[str, str]) -> None:
    for name, text in contents.items():
        if not _NAME.match(name):
            raise errors.NodeFailure(f"{name[:80]!r} is not the name of an ssconf file")
        if len(text.encode()) > MAX_BYTES:
            raise errors.NodeFailure(f"ssconf file {name} would have more than {MAX_BYTES // 1024} KiB")
    try:
        ssh.parse_known_hosts(contents.get(SSH_KNOWN_HOSTS, ""))
        ssh.parse_authorized(contents.get(SSH_AUTHORIZED, ""))
    except ValueError as err:
        raise errors.NodeFailure(str(err)) from err


@contextmanager
def _locked(where: Paths, clock: Clock) -> Iterator[None]:
    lock = where.local(paths.SSCONF_LOCK)
    os.makedirs(os.path.dirname(lock), exist_ok=True)
    limit = clock.monotonic() + LOCK_S
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(files.locked(lock, wait=False))
                break
            except BlockingIOError as err:
                if clock.monotonic() > limit:
                    raise errors.NodeFailure(f"another program holds {lock} for {LOCK_S:g} s") from err
            clock.sleep(0.05)
        yield


def _generations(where: Paths) -> dict[str, Generation]:
    text = files.read_text(where.local(paths.SSCONF_SERIAL))
    if text is None:
        return {}
    try:
        return codec.decode(text, dict[str, Generation])
    except codec.CodecError as err:
        raise errors.NodeFailure(
            f"cannot read {where.local(paths.SSCONF_SERIAL)}: {err}", hint="remove that file; it is made anew"
        ) from err


def _forget(where: Paths) -> None:
    local = where.local(paths.SSCONF_SERIAL)
    if os.path.exists(local):
        os.unlink(local)


def _replace(where: Paths, name: str, text: str) -> bool:
    if name == SSH_KNOWN_HOSTS:
        return ssh_files.write_known_hosts(where, text)
    if name == SSH_AUTHORIZED:
        return ssh_files.authorize(where, ssh.parse_authorized(text))
    file = paths.WATCHER_PAUSE if name == WATCHER_PAUSE else paths.ssconf(name)
    if files.read_text(where.local(file)) == text:
        return False
    files.write(where, file, text.encode())
    return True
