"""Files that drivers keep of their guests, by the guests' names."""

from __future__ import annotations

import os

from ganeti import errors


def safe(name: str) -> str:
    """The name, when it can be that of a file. Raises HypervisorError."""
    if "/" in name or "\0" in name or name.startswith(".") or not name:
        raise errors.HypervisorError(f"{name!r} is not the name of an instance")
    return name


def remove(path: str) -> None:
    """Not there: fine. Raises HypervisorError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as err:
        raise errors.HypervisorError(f"cannot remove {path}: {err.strerror}") from err
