"""SSH keys of a cluster: which kinds there are, and the two texts that every node is given of them. Pure."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from ganeti.model.types import HOST_NAME, nice_key

if TYPE_CHECKING:  # commands need the kinds of keys, and start faster without a configuration
    from ganeti.model.config import Config
    from ganeti.model.objects import Cluster, Node

#: kind of key → lengths in bits, the first is the usual one
KINDS: dict[str, tuple[int, ...]] = {
    "rsa": (2048, 3072, 4096, 8192),
    "ecdsa": (256, 384, 521),
    "ed25519": (256,),
}
#: what a public key line may begin with → its kind
TYPES = {
    "ssh-ed25519": "ed25519",
    "ssh-rsa": "rsa",
    "ecdsa-sha2-nistp256": "ecdsa",
    "ecdsa-sha2-nistp384": "ecdsa",
    "ecdsa-sha2-nistp521": "ecdsa",
}
_MAX_KEY = 8192  # characters
_MAX_LINES = 50_000


def key_length(kind: str, bits: int) -> int:
    """In bits; 0: the usual one. Raises ValueError that says what is possible."""
    if kind == "dsa":
        raise ValueError("OpenSSH takes no keys of kind dsa any more; use rsa, ecdsa or ed25519")
    lengths = KINDS.get(kind)
    if lengths is None:
        raise ValueError(f"there are no SSH keys of kind {kind!r}; there are {', '.join(KINDS)}")
    if bits and bits not in lengths:
        raise ValueError(f"an SSH key of kind {kind} has {' or '.join(map(str, lengths))} bits, not {bits}")
    return bits or lengths[0]


def parse_public(untrusted: str) -> str:
    """`type base64`, of a line of a public key with or without a comment. Raises ValueError.

    There is nothing in it but these two words: what is made of it has no options and no second line.
    """
    words = untrusted.split(" ")
    if len(untrusted) > _MAX_KEY or not untrusted.isprintable() or len(words) < 2:
        raise ValueError("that is not the line of an SSH public key")
    if words[0] not in TYPES:
        raise ValueError(f"SSH keys of type {words[0][:40]!r} are not taken")
    try:
        blob = base64.b64decode(words[1], validate=True)
    except binascii.Error as err:
        raise ValueError(f"the SSH public key is not base64: {err}") from err
    name = words[0].encode("ascii")
    if blob[: 4 + len(name)] != len(name).to_bytes(4, "big") + name or len(blob) < 40:
        raise ValueError(f"the SSH public key is not of type {words[0]}, which it begins with")
    return f"{words[0]} {words[1]}"


class HostKey(msgspec.Struct, frozen=True):
    names: tuple[str, ...]  # of the host, and its addresses
    key: str


class AdminKey(msgspec.Struct, frozen=True):
    """A key with which root of another node may log in."""

    node: str  # whose it is
    key: str


def _keys(node: Node) -> Iterator[str]:
    yield from (key for key in (node.ssh_key, node.ssh_renewing_key) if key)


def _sorted_nodes(config: Config) -> list[Node]:
    return sorted(config.nodes.values(), key=lambda node: nice_key(node.name))


def host_keys(config: Config) -> tuple[HostKey, ...]:
    if not config.cluster.modify_ssh_setup:
        return ()
    return tuple(
        HostKey(tuple(dict.fromkeys((node.name, node.primary_ip, node.secondary_ip))), key)
        for node in _sorted_nodes(config)
        for key in node.ssh_host_keys
    )


def admin_keys(config: Config) -> tuple[AdminKey, ...]:
    """Of those who may become master. From a node that may not, nobody gets to be root elsewhere."""
    if not config.cluster.modify_ssh_setup:
        return ()
    return tuple(
        AdminKey(node.name, key)
        for node in _sorted_nodes(config)
        if node.master_candidate or node.uuid == config.cluster.master_node
        for key in _keys(node)
    )


def known_hosts(config: Config) -> str:
    """The cluster's own known_hosts file; empty: there is none."""
    return "".join(f"{','.join(each.names)} {each.key}\n" for each in host_keys(config))


def authorized(config: Config) -> str:
    """The keys to authorise, each after the name of its node."""
    return "".join(f"{each.node} {each.key}\n" for each in admin_keys(config))


def _lines(untrusted: str) -> Iterator[tuple[str, str]]:
    """(first word, key) of each line. Raises ValueError."""
    lines = untrusted.split("\n")
    if lines.pop() or len(lines) > _MAX_LINES:
        raise ValueError("the last line has no end, or there are too many lines")
    for line in lines:
        first, _, rest = line.partition(" ")
        key = parse_public(rest)
        if key != rest:
            raise ValueError("there is more in the line than a name and a key")
        yield first, key


def parse_known_hosts(untrusted: str) -> tuple[HostKey, ...]:
    """The inverse of `known_hosts`. Raises ValueError."""
    found = []
    for first, key in _lines(untrusted):
        names = tuple(first.split(","))
        for name in names:
            _check_host(name)
        found.append(HostKey(names, key))
    return tuple(found)


def parse_authorized(untrusted: str) -> tuple[AdminKey, ...]:
    """The inverse of `authorized`. Raises ValueError."""
    found = []
    for first, key in _lines(untrusted):
        if not HOST_NAME.match(first):
            raise ValueError(f"{first[:80]!r} is not the name of a node")
        found.append(AdminKey(first, key))
    return tuple(found)


def _check_host(name: str) -> None:
    if not HOST_NAME.match(name):
        ipaddress.ip_address(name)  # ValueError


def settings(cluster: Cluster) -> tuple[str, int]:
    """Kind and length, in bits, of new keys."""
    return cluster.ssh_key_type, cluster.ssh_key_bits or KINDS[cluster.ssh_key_type][0]
