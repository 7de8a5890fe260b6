"""Names and addresses, on a real host and on a virtual node (whose hosts file lies below its root)."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable

from ganeti import errors
from ganeti.paths import Paths

#: name of a network interface
DEVICE = re.compile(r"[A-Za-z0-9_.:-]{1,15}\Z")
AddressTest = Callable[[str], bool]


def own_name(paths: Paths) -> str:
    """Full name of this node."""
    return paths.host_name or socket.getfqdn()


def _hosts_file(paths: Paths) -> dict[str, tuple[str, str]]:
    """name → (full name, address) of a virtual node's own hosts file."""
    table: dict[str, tuple[str, str]] = {}
    local = paths.local("/etc/hosts")
    if not paths.is_virtual or not os.path.exists(local):
        return table
    with open(local, encoding="utf-8") as file:
        for line in file:
            words = line.split("#")[0].split()
            for name in words[1:]:
                table.setdefault(name.lower(), (words[1], words[0]))
    return table


def resolve(name: str, paths: Paths) -> tuple[str, str]:
    """(full name, address). Blocks. Raises ResolverError."""
    known = _hosts_file(paths).get(name.lower())
    if known is not None:
        return known
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except socket.gaierror as err:
        raise errors.ResolverError(name, err.errno or 0, err.strerror or str(err)) from err
    return (found[0][3] or name).lower(), str(found[0][4][0])


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def is_own(address: str) -> bool:
    """Whether this host can bind the address."""
    parsed = ipaddress.ip_address(address)
    family = socket.AF_INET6 if parsed.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def answers(address: str, port: int, *, source: str = "", timeout_s: float = 5.0, live_if_refused: bool = True) -> bool:
    """Whether something answers there; a refused connection shows a live host too unless told otherwise."""
    try:
        with socket.create_connection(
            (address, port), timeout=timeout_s, source_address=(source, 0) if source else None
        ):
            return True
    except ConnectionRefusedError:
        return live_if_refused
    except OSError:
        return False
