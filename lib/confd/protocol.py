"""The datagrams of confd: signed requests and replies. Pure.

A datagram is ``plj0`` and a JSON object with ``msg``, ``salt`` and ``hmac``; ``msg`` is JSON text itself, and what is
signed is the text as it was sent. The salt of a request is the time, that of a reply the request's ``rsalt``.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from typing import Any

import msgspec

from ganeti import errors
from ganeti.wire import codec

# Any: queries and answers are JSON in forms that others laid down.

MAGIC = b"plj0"
VERSION = 1
#: of a datagram, in bytes
MAX_BYTES = 61440
#: a request is as much older or newer than this host's clock at most
MAX_AGE_S = 300.0
MAX_RSALT = 256


class Kind(enum.IntEnum):
    """What can be asked."""

    PING = 0
    NODE_ROLE = 1
    NODE_OF_INSTANCE_IP = 2
    MASTER = 3
    NODE_IPS = 4
    CANDIDATE_IPS = 5
    INSTANCE_IPS = 6
    NODE_DRBD = 7
    NODE_INSTANCES = 8
    INSTANCE_DISKS = 9
    CONFIG = 10
    COLLECTORS = 11


class Status(enum.IntEnum):
    OK = 0
    ERROR = 1
    NOT_IMPLEMENTED = 2


class Fault(enum.IntEnum):
    """The answer of an error."""

    UNKNOWN_ENTITY = 0
    INTERNAL = 1
    ARGUMENT = 2


class Request(msgspec.Struct, frozen=True, kw_only=True):
    protocol: int
    type: int
    rsalt: str
    query: Any = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    protocol: int
    status: int
    answer: Any
    serial: int


class _Envelope(msgspec.Struct, frozen=True):
    msg: str
    salt: str
    hmac: str


class BadDatagramError(errors.GanetiError):
    """It is not for us, or not from a member of the cluster: dropped without a word."""


def sign(key: bytes, salt: str, message: str) -> str:
    """40 hex digits."""
    return hmac.new(key, (salt + message).encode("utf-8", "surrogatepass"), hashlib.sha1).hexdigest()


def pack(message: Request | Reply, salt: str, key: bytes) -> bytes:
    text = codec.encode(message).decode()
    return MAGIC + codec.encode({"msg": text, "salt": salt, "hmac": sign(key, salt, text)})


def _opened(untrusted: bytes, key: bytes) -> _Envelope:
    if len(untrusted) > MAX_BYTES:
        raise BadDatagramError(f"a datagram of {len(untrusted)} bytes")
    if not untrusted.startswith(MAGIC):
        raise BadDatagramError("a datagram of another kind")
    try:
        envelope = codec.decode(untrusted[len(MAGIC) :], _Envelope)
    except codec.CodecError as err:
        raise BadDatagramError(f"cannot read the datagram: {err}") from err
    expected = sign(key, envelope.salt, envelope.msg)
    # as bytes: compare_digest takes no text beyond ASCII
    if not hmac.compare_digest(envelope.hmac.lower().encode("utf-8", "replace"), expected.encode()):
        raise BadDatagramError("the signature is wrong")
    return envelope


def read_request(untrusted: bytes, key: bytes, *, now: float) -> Request:
    """`now` in epoch seconds. Raises BadDatagramError."""
    envelope = _opened(untrusted, key)
    try:
        sent = float(envelope.salt)
    except ValueError as err:
        raise BadDatagramError("the salt of a request is the time") from err
    if not abs(now - sent) <= MAX_AGE_S:  # also for nan
        raise BadDatagramError(f"the request is {now - sent:.0f} s old")
    try:
        request = codec.decode(envelope.msg, Request)
    except codec.CodecError as err:
        raise BadDatagramError(f"cannot read the request: {err}") from err
    if len(request.rsalt) > MAX_RSALT:
        raise BadDatagramError(f"the rsalt has more than {MAX_RSALT} characters")
    return request


def read_reply(untrusted: bytes, key: bytes, *, rsalt: str) -> Reply:
    """Raises BadDatagramError, also for the answer to another request."""
    envelope = _opened(untrusted, key)
    if envelope.salt != rsalt:
        raise BadDatagramError("the reply belongs to another request")
    try:
        return codec.decode(envelope.msg, Reply)
    except codec.CodecError as err:
        raise BadDatagramError(f"cannot read the reply: {err}") from err
