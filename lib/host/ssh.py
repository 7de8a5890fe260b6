"""How this node's root reaches another node by ssh."""

from __future__ import annotations

import os

from ganeti import paths
from ganeti.host import files
from ganeti.paths import Paths

DEFAULT_PORT = 22
_OPTIONS = ("-oBatchMode=yes", "-oEscapeChar=none", "-oLogLevel=ERROR", "-oStrictHostKeyChecking=yes")


def is_set_up(where: Paths) -> bool:
    """Whether the cluster looks after the SSH keys of its nodes; if not, root's own set-up is used."""
    return all(os.path.exists(where.local(file)) for file in (paths.SSH_KEY, paths.KNOWN_HOSTS))


def login(where: Paths, node: str, *, address: str = "", with_terminal: bool = False) -> tuple[str, ...]:
    """The command that a command line for `node` (its full name) is added to. Never asks anybody anything.

    `address`: another one of the node's than its primary one.
    """
    head = (*where.ssh, *(("-t",) if with_terminal else ()), *_OPTIONS)
    if not is_set_up(where):
        return (*head, f"root@{address or node}")
    # The key itself, not the link to it: ssh reads the file twice, and the link may change in between.
    key = os.path.realpath(where.local(paths.SSH_KEY))
    # By address, so that no name service is needed; who answers there proves by its key that it is the node.
    own = (
        "-oIdentitiesOnly=yes", f"-oIdentityFile={key}",
        f"-oGlobalKnownHostsFile={where.local(paths.KNOWN_HOSTS)}", "-oUserKnownHostsFile=/dev/null",
        "-oUpdateHostKeys=no", "-oCheckHostIP=no", f"-oHostKeyAlias={node}", f"-oPort={_port(where, node)}",
    )  # fmt: skip
    return (*head, *own, f"root@{address or _address(where, node)}")


def _value(where: Paths, file: str, node: str, separator: str) -> str:
    for line in (files.read_text(where.local(paths.ssconf(file)), max_bytes=4 << 20) or "").splitlines():
        name, _, value = line.partition(separator)
        if name == node:
            return value.strip()
    return ""


def _address(where: Paths, node: str) -> str:
    return _value(where, "node_primary_ips", node, " ") or node


def _port(where: Paths, node: str) -> str:
    return _value(where, "ssh_ports", node, "=") or str(DEFAULT_PORT)
