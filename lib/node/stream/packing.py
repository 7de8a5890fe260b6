"""The programs that compress on the way."""

from __future__ import annotations

import os

from ganeti import errors
from ganeti.calls.export import COMPRESSIONS
from ganeti.host.run import PATH, Argv

_TOOLS: dict[str, tuple[Argv, Argv]] = {
    "gzip": (("gzip", "-c", "-6"), ("gzip", "-dc")),
    "gzip-fast": (("gzip", "-c", "-1"), ("gzip", "-dc")),
    "gzip-slow": (("gzip", "-c", "-9"), ("gzip", "-dc")),
    "zstd": (("zstd", "-q", "-c", "-3"), ("zstd", "-q", "-dc")),
}


def there() -> tuple[str, ...]:
    """Names of those that this node has."""
    directories = PATH.split(":")
    found = {
        name
        for name, (argv, _) in _TOOLS.items()
        if any(os.access(f"{directory}/{argv[0]}", os.X_OK) for directory in directories)
    }
    return tuple(name for name in COMPRESSIONS if name == "none" or name in found)


def packer(name: str) -> Argv | None:
    """None: nothing to run. Raises NodeFailure for an unknown one."""
    return _tool(name, 0)


def unpacker(name: str) -> Argv | None:
    return _tool(name, 1)


def _tool(name: str, way: int) -> Argv | None:
    if name == "none":
        return None
    if name not in _TOOLS:
        raise errors.NodeFailure(f"there is no compression {name[:40]!r}", hint="there are " + ", ".join(COMPRESSIONS))
    return _TOOLS[name][way]
