"""Asks the master candidates' confd and takes the newest answer."""

from __future__ import annotations

import random
import select
import socket
import time
import uuid
from collections.abc import Sequence
from typing import Any

from ganeti import errors, settings
from ganeti.confd import protocol
from ganeti.confd.protocol import Kind, Reply, Request

#: how many candidates are asked, and for how long their answers are waited for
MAX_ASKED = 6
LIMIT_S = 10.0
#: after the first answer, how long others may still bring a newer one
MORE_S = 0.5


def ask(
    key: bytes,
    candidates: Sequence[str],
    kind: Kind | int,
    query: Any = None,  # Any: JSON
    *,
    source: str = "",
    port: int = settings.CONFD_PORT,
    limit_s: float = LIMIT_S,
) -> Reply:
    """The answer with the highest serial. `candidates`: their addresses. Raises ExecError when nobody answers."""
    asked = random.sample(list(candidates), min(MAX_ASKED, len(candidates)))
    if not asked:
        raise errors.ExecError("no master candidate is known", hint="see ssconf_master_candidates_ips")
    request = Request(protocol=protocol.VERSION, type=int(kind), query=query, rsalt=str(uuid.uuid4()))
    datagram = protocol.pack(request, str(int(time.time())), key)
    family = socket.AF_INET6 if ":" in asked[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if source:
            sock.bind((source, 0))
        for address in asked:
            sock.sendto(datagram, (address, port))
        replies = _collect(sock, key, request.rsalt, len(asked), limit_s)
    if not replies:
        raise errors.ExecError(
            f"none of {', '.join(asked)} answers within {limit_s:g} s",
            hint="is ganeti-confd running there, and do the clocks agree?",
        )
    return max(replies, key=lambda reply: reply.serial)


def _collect(sock: socket.socket, key: bytes, rsalt: str, wanted: int, limit_s: float) -> list[Reply]:
    replies: list[Reply] = []
    end = time.monotonic() + limit_s
    while len(replies) < wanted:
        if not select.select([sock], [], [], max(0.0, end - time.monotonic()))[0]:
            break
        try:
            replies.append(protocol.read_reply(sock.recv(protocol.MAX_BYTES + 1), key, rsalt=rsalt))
        except protocol.BadDatagramError:
            continue
        end = min(end, time.monotonic() + MORE_S)
    return replies
