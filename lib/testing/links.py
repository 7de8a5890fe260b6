"""Channels between nodes of one process: without TLS, whatever addresses the nodes are said to have."""

from __future__ import annotations

import socket

from ganeti.node.stream.channel import Channel, SocketWire, listening

_LOOPBACK = "127.0.0.1"


class LoopbackLinks:
    """Implements `node.stream.channel.Links`."""

    def listen(self, address: str) -> socket.socket:
        return listening(_LOOPBACK)

    def accept(self, raw: socket.socket, peer_digest: str) -> Channel:
        return Channel(SocketWire(raw))

    def connect(self, address: str, port: int, peer: str) -> Channel:
        return Channel(SocketWire(socket.create_connection((_LOOPBACK, port), timeout=None)))
