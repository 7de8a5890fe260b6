"""What DRBD 8.4 says about itself: /proc/drbd, `drbdsetup show` and `get-gi`. Pure: text in, values out."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.mirror import MirrorStatus
from ganeti.model.generations import Generation

_VERSION = re.compile(r"^version: (\d+)\.(\d+)\.(\d+)", re.MULTILINE)
_MINOR = re.compile(r"^ *(\d+): cs:(.*)$")
_STATE = re.compile(r"(\S+)\s+(?:st|ro):([^/\s]+)/(\S+)\s+ds:([^/\s]+)/(\S+)")
_SYNC = re.compile(r"sync'ed:\s*([\d.]+)%")
_FINISH = re.compile(r"finish: (\d+):(\d+):(\d+)")
_GENERATION = re.compile(r"^([0-9A-F]{16}):([0-9A-F]{16}):([0-9A-F]{16}):([0-9A-F]{16}):([01]):([01])(?::[01])*$", re.M)
#: the id of metadata that were just created
_NEVER = 4


class Proc(msgspec.Struct, frozen=True, kw_only=True):
    version: tuple[int, int, int]
    minors: dict[int, MirrorStatus]  # those that are configured


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    """How a minor is set up; empty: without that part."""

    data: str = ""
    meta: str = ""
    meta_index: str = ""
    local: str = ""  # as in commands.address
    peer: str = ""
    two_primaries: bool = False


def proc(text: str) -> Proc:
    """Of /proc/drbd. Raises StorageError for what cannot be understood: never `nothing` by mistake."""
    version = _VERSION.search(text)
    if version is None:
        raise errors.StorageError("/proc/drbd has no version line")
    found: dict[int, MirrorStatus] = {}
    for minor, state, rest in _blocks(text):
        if state.strip() == "Unconfigured":
            continue
        match = _STATE.match(state)
        if match is None:
            raise errors.StorageError(f"/proc/drbd says of minor {minor}: {state[:120]!r}, which cannot be understood")
        connection, role, peer_role, disk, peer_disk = match.groups()
        status = MirrorStatus(
            connection=connection, role=role, peer_role=peer_role, disk=disk, peer_disk=peer_disk, has_peer=False
        )
        found[minor] = _with_progress(status, rest) if status.is_syncing else status
    major, middle, last = (int(part) for part in version.groups())
    return Proc(version=(major, middle, last), minors=found)


def _blocks(text: str) -> Iterator[tuple[int, str, str]]:
    """(minor, the rest of its line, the lines after it)."""
    current: tuple[int, str] | None = None
    rest: list[str] = []
    for line in text.splitlines():
        match = _MINOR.match(line)
        if match is None:
            rest.append(line)
            continue
        if current is not None:
            yield *current, " ".join(rest)
        current, rest = (int(match[1]), match[2]), []
    if current is not None:
        yield *current, " ".join(rest)


def _with_progress(status: MirrorStatus, rest: str) -> MirrorStatus:
    percent, finish = _SYNC.search(rest), _FINISH.search(rest)
    seconds = None
    if finish is not None:
        hours, minutes, left = (int(part) for part in finish.groups())
        seconds = 3600 * hours + 60 * minutes + left
    # a sync that has just begun tells nothing yet
    return msgspec.structs.replace(status, percent=float(percent[1]) if percent else 0.0, seconds=seconds)


def generation(text: str) -> Generation:
    """Of `get-gi`, by drbdmeta or drbdsetup. Raises StorageError."""
    found = _GENERATION.search(text)
    if found is None:
        raise errors.StorageError(f"{text.strip()[:120]!r} tells no data generation")
    # the lowest bit tells the role that it had
    current, base, *history = (int(part, 16) & ~1 for part in found.groups()[:4])
    is_consistent, is_up_to_date = (part == "1" for part in found.groups()[4:])
    return Generation(
        current=_id(current),
        base=_id(base),
        history=tuple(filter(None, map(_id, history))),
        is_consistent=is_consistent,
        is_outdated=is_consistent and not is_up_to_date,
    )


def _id(value: int) -> str:
    return "" if value in (0, _NEVER) else f"{value:016X}"


def show(text: str) -> Configured:
    """Of `drbdsetup show MINOR`; nothing when the output is empty. Raises StorageError."""
    import pyparsing

    try:
        tree = _grammar().parse_string(text, parse_all=True).as_list()
    except pyparsing.ParseException as err:
        raise errors.StorageError(f"`drbdsetup show` cannot be understood: {err}") from err
    found: dict[str, Any] = {}
    _collect(tree, (), found)
    return Configured(**found)


@functools.cache
def _grammar() -> Any:  # Any: a pyparsing element
    import pyparsing as pp

    word = pp.Word(pp.alphanums + "_-/.:[]")
    value = pp.QuotedString('"') | word
    comment = "#" + pp.rest_of_line
    item = pp.Forward()
    statement = pp.Group(word("name") + pp.ZeroOrMore(value) + pp.Suppress(";"))
    section = pp.Group(
        pp.Combine(word + pp.Optional(pp.White(" ") + word))
        + pp.Suppress("{")
        + pp.Group(pp.ZeroOrMore(item))
        + pp.Suppress("}")
    )
    # `disk` begins both: what follows decides
    item <<= section | statement
    grammar = pp.ZeroOrMore(item)
    grammar.ignore(comment)
    return grammar


def _collect(tree: list[Any], path: tuple[str, ...], found: dict[str, Any]) -> None:
    for name, *values in tree:
        if values and isinstance(values[0], list):
            _collect(values[0], (*path, name.split()[0]), found)
            continue
        match (path[1:], name, values):
            case (("_this_host",), "address", [family, where]):
                found["local"] = f"{family}:{where}"
            case (("_remote_host",), "address", [family, where]):
                found["peer"] = f"{family}:{where}"
            case (("_this_host", "volume"), "disk", [data]):
                found["data"] = data
            case (("_this_host", "volume"), "meta-disk", [meta, *index]):
                found["meta"] = meta
                found["meta_index"] = "".join(part.strip("[]") for part in index)
            case (("net",), "allow-two-primaries", [answer]):
                found["two_primaries"] = answer == "yes"
            case _:
                pass
