"""Command lines of drbdsetup and drbdmeta for DRBD 8.4. Pure: values in, argv out."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from ganeti.host.run import Argv
from ganeti.model.types import MiB

#: external metadata, one device in them
_INDEX = "0"
_META = ("drbdmeta", "--force")


def resource(minor: int) -> str:
    return f"resource{minor}"


def device(minor: int) -> str:
    return f"/dev/drbd{minor}"


def address(ip: str, port: int) -> str:
    parsed = ipaddress.ip_address(ip)
    return f"ipv6:[{parsed}]:{port}" if parsed.version == 6 else f"ipv4:{parsed}:{port}"


def show(minor: int) -> Argv:
    return ("drbdsetup", "show", str(minor))


def new_resource(minor: int) -> Argv:
    return ("drbdsetup", "new-resource", resource(minor))


def new_minor(minor: int) -> Argv:
    return ("drbdsetup", "new-minor", resource(minor), str(minor), "0")


def create_md(minor: int, meta: str) -> Argv:
    return (*_META, device(minor), "v08", meta, _INDEX, "create-md")


def get_gi(minor: int, meta: str) -> Argv:
    return (*_META, str(minor), "v08", meta, _INDEX, "get-gi")


def current_gi(minor: int) -> Argv:
    """Of a minor with its volumes: drbdmeta leaves those alone that the kernel uses."""
    return ("drbdsetup", "get-gi", str(minor))


def apply_al(minor: int, meta: str) -> Argv:
    return (*_META, str(minor), "v08", meta, _INDEX, "apply-al")


def attach(minor: int, data: str, meta: str, options: Sequence[str]) -> Argv:
    return ("drbdsetup", "attach", str(minor), data, meta, _INDEX, "--on-io-error=detach", *options)


def connect(minor: int, local: str, peer: str, *, secret: str, options: Sequence[str]) -> Argv:
    auth = ("--cram-hmac-alg=md5", f"--shared-secret={secret}")
    return ("drbdsetup", "connect", resource(minor), local, peer, *options, *auth)


def two_primaries(local: str, peer: str, *, allowed: bool) -> Argv:
    return ("drbdsetup", "net-options", local, peer, f"--allow-two-primaries={'yes' if allowed else 'no'}")


def disconnect(local: str, peer: str) -> Argv:
    return ("drbdsetup", "disconnect", local, peer)


def detach(minor: int) -> Argv:
    return ("drbdsetup", "detach", str(minor))


def primary(minor: int, *, force: bool) -> Argv:
    return ("drbdsetup", "primary", str(minor), *(("--force",) if force else ()))


def secondary(minor: int) -> Argv:
    return ("drbdsetup", "secondary", str(minor))


def down(minor: int) -> Argv:
    return ("drbdsetup", "down", resource(minor))


def resize(minor: int, size: MiB) -> Argv:
    return ("drbdsetup", "resize", str(minor), f"--size={size * 1024}k")


def size(path: str) -> Argv:
    return ("blockdev", "--getsize64", path)


def pause(minor: int, *, paused: bool) -> Argv:
    return ("drbdsetup", "pause-sync" if paused else "resume-sync", str(minor))
