"""Names and addresses, on a real host and on a virtual node (whose hosts file lies below its root)."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import struct
from collections.abc import Callable

from ganeti import errors
from ganeti.paths import Paths

#: name of a network interface
DEVICE = re.compile(r"[A-Za-z0-9_.:-]{1,15}\Z")
AddressTest = Callable[[str], bool]
#: (address, interface)
Announce = Callable[[str, str], None]
_ARP = 0x0806
_NEIGHBOUR_ADVERTISEMENT, _OVERRIDE, _TARGET_LINK_LAYER = 136, 0x20000000, 2
_ALL_NODES = "ff02::1"


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


def announce(address: str, device: str) -> None:
    """Tell neighbours that the address is at this interface now, whatever they remember. Needs root. Raises OSError.

    We send the packet ourselves: the two tools called arping take different options.
    """
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as ethernet:
        ethernet.bind((device, 0))
        mac = ethernet.getsockname()[4]
        if ":" not in address:
            ethernet.send(gratuitous_arp(address, mac))
            return
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as icmp:
        # receivers drop neighbour discovery that may have crossed a router
        icmp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        icmp.sendto(neighbour_advertisement(address, mac), (_ALL_NODES, 0, 0, socket.if_nametoindex(device)))


def gratuitous_arp(address: str, mac: bytes) -> bytes:
    """Ethernet frame of a request for its own address (RFC 5227, section 3)."""
    ip = ipaddress.IPv4Address(address).packed
    head = b"\xff" * 6 + mac + struct.pack("!H", _ARP)
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + ip + bytes(6) + ip


def neighbour_advertisement(address: str, mac: bytes) -> bytes:
    """ICMPv6 message of RFC 4861, section 4.4; the kernel adds the checksum."""
    ip = ipaddress.IPv6Address(address).packed
    option = bytes((_TARGET_LINK_LAYER, 1)) + mac
    return struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE) + ip + option
