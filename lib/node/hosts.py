"""The cluster's nodes in this node's hosts file, in a part of our own: what is outside of it is not touched."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping

from ganeti import errors
from ganeti.calls.node import HostsWrite
from ganeti.host import files
from ganeti.model.types import HOST_NAME
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths

HOSTS = "/etc/hosts"
BEGIN, END = "# begin: nodes of the cluster, kept by ganeti", "# end: nodes of the cluster"
MAX_NAMES = 10_000
_MAX_BYTES = 4 << 20


@handles(HostsWrite)
def write(call: HostsWrite, env: NodeEnv, context: Context) -> bool:
    if len(call.names) > MAX_NAMES:
        raise errors.NodeFailure(f"{len(call.names)} names are too many for a hosts file")
    for name, address in call.names.items():
        if not HOST_NAME.match(name):
            raise errors.NodeFailure(f"{name[:80]!r} is not the name of a host")
        try:
            ipaddress.ip_address(address)
        except ValueError as err:
            raise errors.NodeFailure(str(err)) from err
    return keep(env.paths, call.names)


def keep(where: Paths, names: Mapping[str, str]) -> bool:
    """Make the part as it shall be (name → address; none: it goes); whether the file was changed. Raises OSError."""
    local = where.local(HOSTS)
    old = files.read_text(local, max_bytes=_MAX_BYTES)
    if old is None:
        if not names:
            return False
        old, mode, owner = "", 0o644, (-1, -1)
    else:
        status = os.stat(local)
        mode, owner = status.st_mode & 0o777, (status.st_uid, status.st_gid)
    new = edited(old, names)
    if new == old:
        return False
    # a link stays one
    files.write_atomic(os.path.realpath(local), new.encode(), mode=mode, uid=owner[0], gid=owner[1])
    return True


def edited(text: str, names: Mapping[str, str]) -> str:
    """The content of the file with that part. Pure."""
    lines, is_ours = [], False
    for line in text.splitlines():
        if line == BEGIN:
            is_ours = True
        elif line == END and is_ours:
            is_ours = False
        elif not is_ours:
            lines.append(line)
    if names:
        lines.append(BEGIN)
        for name, address in sorted(names.items()):
            short = name.partition(".")[0]
            lines.append(f"{address}\t{name}" + (f" {short}" if short != name else ""))
        lines.append(END)
    return "".join(f"{line}\n" for line in lines)
