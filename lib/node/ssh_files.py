"""The cluster's part of this node's SSH files.

The cluster's known_hosts file is all ours. In root's authorized_keys we have lines that end with our mark; the others
belong to the administrator and stay, byte for byte.
"""

from __future__ import annotations

import io
import os
import pwd
import shutil
import stat
from collections.abc import Iterable, Sequence

from ganeti import errors, paths
from ganeti.host import files
from ganeti.model import ssh
from ganeti.model.ssh import AdminKey
from ganeti.paths import Paths

#: the last word of a line of ours, before the name of the node whose key it is
MARK = "ganeti-cluster-node:"
#: what the key is good for: commands and terminals, no forwarding of anything
_RIGHTS = "restrict,pty"
_MAX_BYTES = 64 << 20
_HOST_KEYS = "/etc/ssh"


def _ssh_directory(where: Paths) -> str:
    """Logical path."""
    return ("/root" if where.is_virtual else pwd.getpwuid(0).pw_dir.rstrip("/")) + "/.ssh"


def authorized_keys(where: Paths) -> str:
    """Where the SSH server looks for root's keys: logical path."""
    return f"{_ssh_directory(where)}/authorized_keys"


def _lines(content: bytes) -> list[bytes]:
    """With their ends; only a line feed is one."""
    return io.BytesIO(content).readlines()


def _is_ours(line: bytes) -> bool:
    return line.rstrip().rpartition(b" ")[2].startswith(MARK.encode("ascii"))


def edited(old: bytes, keys: Iterable[AdminKey]) -> bytes:
    """The content with these keys of nodes and no others; ours come first, so nothing is done to the rest. Pure."""
    ours = dict.fromkeys(f"{_RIGHTS} {each.key} {MARK}{each.node}\n".encode("ascii") for each in keys)
    others = [line for line in _lines(old) if not _is_ours(line)]
    return b"".join([*ours, *others])


def ours(content: bytes) -> tuple[str, ...]:
    """The keys in the lines of ours. Pure."""
    found = []
    for line in _lines(content):
        words = line.decode("ascii", "replace").split()
        if _is_ours(line) and len(words) == 4 and words[0] == _RIGHTS:
            found.append(" ".join(words[1:3]))
    return tuple(found)


def foreign(content: bytes) -> tuple[str, ...]:
    """What the lines of others say of themselves: comment, or the beginning of the line. Pure."""
    found = []
    for line in _lines(content):
        text = line.decode("utf-8", "replace").strip()
        if text and not text.startswith("#") and not _is_ours(line):
            words = text.split()
            known = next((at for at, word in enumerate(words) if word in ssh.TYPES), None)
            comment = " ".join(words[known + 2 :]) if known is not None else ""
            found.append("".join(c if c.isprintable() else "?" for c in comment or text[:40])[:100])
    return tuple(found)


def read(where: Paths) -> bytes:
    """root's authorized_keys; not there: empty. Raises OSError, NodeFailure."""
    local = where.local(authorized_keys(where))
    try:
        with open(local, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return b""
    if len(content) > _MAX_BYTES:
        raise errors.NodeFailure(f"{local} has more than {_MAX_BYTES >> 20} MiB: it is not touched")
    return content


def authorize(where: Paths, keys: Sequence[AdminKey]) -> bool:
    """Let these keys in, and of the cluster's no others; whether the file was changed. Raises OSError, NodeFailure."""
    local = where.local(authorized_keys(where))
    old = read(where)
    new = edited(old, keys)
    if new == old:
        return False
    try:
        status = os.stat(local)
        mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
    except FileNotFoundError:
        mode, owner = 0o600, (-1, -1)
        directory = os.path.dirname(local)
        if not os.path.isdir(directory):
            os.makedirs(directory, mode=0o700)
    # a link stays one
    files.write_atomic(os.path.realpath(local), new, mode=mode, uid=owner[0], gid=owner[1])
    return True


def write_known_hosts(where: Paths, text: str) -> bool:
    """Whether the file was changed; no text: no file."""
    local = where.local(paths.KNOWN_HOSTS)
    if (files.read_text(local, max_bytes=_MAX_BYTES) or "") == text:
        return False
    if text:
        files.write(where, paths.KNOWN_HOSTS, text.encode("ascii"))
    elif os.path.lexists(local):
        os.unlink(local)
    return True


def host_keys(where: Paths) -> tuple[str, ...]:
    """Public keys of the SSH server here, by type. Those that cannot be used are left out."""
    directory = where.local(_HOST_KEYS)
    found = []
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        if name.startswith("ssh_host_") and name.endswith("_key.pub"):
            try:
                found.append(ssh.parse_public((files.read_text(f"{directory}/{name}") or "").strip()))
            except ValueError:
                continue  # of a kind that is not used, such as DSA
    return tuple(found)


def problems(where: Paths) -> tuple[str, ...]:
    """Why the SSH server would not look at root's authorized_keys."""
    found = []
    for logical in (_ssh_directory(where), authorized_keys(where)):
        try:
            status = os.stat(where.local(logical))
        except FileNotFoundError:
            continue
        if status.st_mode & 0o022:
            found.append(f"{logical} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})")
        if not where.is_virtual and status.st_uid != 0:
            found.append(f"{logical} does not belong to root")
    return tuple(found)


def forget(where: Paths) -> None:
    """This node is in no cluster any more: none of our keys is left. May be repeated. Raises OSError, NodeFailure."""
    authorize(where, ())
    write_known_hosts(where, "")
    if os.path.isdir(where.local(paths.SSH_DIR)):
        shutil.rmtree(where.local(paths.SSH_DIR))
