"""Which data a half of a mirror has, and which of two has the newer. Pure."""

from __future__ import annotations

import enum

import msgspec


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """As its metadata say, up or down. Ids are DRBD's; empty: none."""

    current: str = ""  # empty: it never had any data
    base: str = ""  # what its peer had when this half went on alone; empty: it has not
    history: tuple[str, ...] = ()  # what it had before, newest first
    is_consistent: bool = False  # false: it was being filled, or never was
    is_outdated: bool = False  # complete, and its peer went on without it


class Age(enum.Enum):
    """Of a half, compared with the other one."""

    SAME = "same"
    NEWER = "newer"
    OLDER = "older"
    APART = "apart"  # each has what the other lacks, or they were never one


def compare(own: Generation, other: Generation) -> Age:
    """DRBD's own rules (drbd_uuid_compare of 8.4), but for the role in which they were left."""
    if own.is_consistent != other.is_consistent:
        return Age.NEWER if own.is_consistent else Age.OLDER
    if own.current == other.current:
        return Age.SAME
    if not own.current or not other.current:
        return Age.NEWER if own.current else Age.OLDER
    if other.current in (own.base, *own.history):
        return Age.NEWER
    if own.current in (other.base, *other.history):
        return Age.OLDER
    return Age.APART
