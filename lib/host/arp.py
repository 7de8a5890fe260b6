"""Asks the neighbours on an Ethernet who has an IPv4 address (RFC 826, RFC 5227). Needs root."""

from __future__ import annotations

import ipaddress
import select
import socket
import struct
import time

from ganeti import errors

_ETHERNET, _ARP, _IPV4 = 1, 0x0806, 0x0800
_REQUEST = 1
_BROADCAST = b"\xff" * 6
_NOBODY = b"\0" * 4
_FORM = struct.Struct("!6s6sHHHBBH6s4s6s4s")

PROBES = 3
#: how long to listen after each probe, in seconds
WAIT_S = 0.5


def packet(mac: bytes, sender: bytes, target: bytes) -> bytes:
    """A request of `mac`, to everybody. A probe has no sender yet."""
    return _FORM.pack(
        _BROADCAST, mac, _ARP, _ETHERNET, _IPV4, 6, 4, _REQUEST, mac, sender, b"\0" * 6, target
    )  # fmt: skip


def claimant(untrusted: bytes) -> tuple[bytes, bytes] | None:
    """(MAC, address) that a packet is sent by; None: it is none of ours to understand."""
    if len(untrusted) < _FORM.size:
        return None
    _, _, ether, hardware, protocol, *_, mac, sender, _, _ = _FORM.unpack_from(untrusted)
    return (mac, sender) if (ether, hardware, protocol) == (_ARP, _ETHERNET, _IPV4) else None


def is_taken(device: str, ip: str, *, probes: int = PROBES, wait_s: float = WAIT_S) -> bool:
    """Whether a neighbour says that it has the address. Raises NodeFailure when it cannot be asked."""
    wanted = ipaddress.IPv4Address(ip).packed
    with _open(device) as line:
        mac = _mac(line)
        for _ in range(probes if mac else 0):
            line.send(packet(mac, _NOBODY, wanted))
            deadline = time.monotonic() + wait_s
            while (left := deadline - time.monotonic()) > 0 and select.select([line], [], [], left)[0]:
                found = claimant(line.recv(2048))
                if found is not None and found[1] == wanted and found[0] != mac:
                    return True
    return False


def _open(device: str) -> socket.socket:
    try:
        line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP))
        try:
            line.bind((device, _ARP))
        except BaseException:
            line.close()
            raise
    except OSError as err:
        raise errors.NodeFailure(
            f"cannot ask the neighbours on {device}: {err.strerror}", hint="is the master network device up?"
        ) from err
    return line


def _mac(line: socket.socket) -> bytes:
    """Of the bound device; empty where there is no Ethernet, such as on the loopback."""
    _, _, _, hardware, mac = line.getsockname()
    return bytes(mac) if hardware == _ETHERNET and len(mac) == 6 else b""
