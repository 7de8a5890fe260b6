"""Failures of LVM's tools, as errors of storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ganeti import errors


@contextmanager
def told(what: str) -> Iterator[None]:
    """What was wanted, and what the tool says."""
    try:
        yield
    except errors.CommandFailed as err:
        raise errors.StorageError(f"{what}: {err}") from err
