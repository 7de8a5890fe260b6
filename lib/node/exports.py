"""Exports that this node keeps.

An export grows in ``NAME.new``, which has our mark in it with a token. Then it takes the place of the older one:

===========================  =========  ===========  ============
step                         NAME       NAME.new     .NAME.old
===========================  =========  ===========  ============
it grows                     older      marked       .
older one put aside          .          marked       older
new one in its place         marked     .            older
mark removed: it counts      new        .            older
older one removed            new        .            .
===========================  =========  ===========  ============

A directory with a mark is never listed, and what is hidden is put back when the export is discarded.
"""

from __future__ import annotations

import hashlib
import logging
import os
import posixpath
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from ganeti import errors, paths
from ganeti.calls.export import (
    ExportBegin,
    ExportDiscard,
    ExportFinish,
    ExportInfo,
    ExportList,
    ExportRemove,
    ExportText,
)
from ganeti.host import faults, files
from ganeti.model import export_ini
from ganeti.model.types import HOST_NAME
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths
from ganeti.wire import codec

log = logging.getLogger(__name__)

CONFIG = "config.ini"
MARK = ".unfinished"
#: what the mark becomes when the export counts: a repeat of the call that finished it finds its work done
FINISHED = ".finished"
#: end of the name of a directory in which an export grows
UNFINISHED = ".new"
#: beside a dump that has come: what it is
SUM = ".sum"
_FILE = re.compile(r"[\w][\w.+@-]{0,200}\Z", re.ASCII)
_TOKEN = re.compile(r"[\w-]{1,100}\Z", re.ASCII)
_MAX_CONFIG = 1 << 20

BEFORE_BEGIN = faults.register("export.before_begin")
AFTER_BEGIN = faults.register("export.after_begin")
BEFORE_SUM = faults.register("export.before_sum")
AFTER_SUM = faults.register("export.after_sum")
BEFORE_CONFIG = faults.register("export.before_config")
AFTER_CONFIG = faults.register("export.after_config")
OLD_ASIDE = faults.register("export.old_aside")
IN_PLACE = faults.register("export.in_place")
FINISHED_IT = faults.register("export.finished")
BEFORE_DISCARD = faults.register("export.before_discard")
AFTER_DISCARD = faults.register("export.after_discard")
BEFORE_REMOVE = faults.register("export.before_remove")
HIDDEN = faults.register("export.hidden")
AFTER_REMOVE = faults.register("export.after_remove")


class DumpSum(msgspec.Struct, frozen=True, kw_only=True):
    """What a dump that has come whole is."""

    length: int
    digest: str


class _Place:
    """Local directories of one export."""

    def __init__(self, where: Paths, name: str) -> None:
        if not HOST_NAME.match(name) or len(name) > 255:
            raise errors.NodeFailure(f"not the name of an export: {name[:80]!r}")
        base = where.local(paths.EXPORT_DIR)
        self.base = base
        self.name = name
        self.done = f"{base}/{name}"
        self.new = f"{base}/{name}.new"
        self.old = f"{base}/.{name}.old"
        self.making = f"{base}/.{name}.making"
        self.gone = f"{base}/.{name}.gone"


def _token(directory: str) -> str | None:
    """Of an unfinished export there; None: there is none."""
    return files.read_text(f"{directory}/{MARK}")


def _check_token(token: str) -> None:
    if not _TOKEN.match(token):
        raise errors.NodeFailure(f"not a token: {token[:80]!r}")


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise errors.NodeFailure(f"{what}: {err.strerror or err}") from err


@handles(ExportBegin)
def begin(call: ExportBegin, env: NodeEnv, context: Context) -> None:
    place = _Place(env.paths, call.export)
    _check_token(call.token)
    with _told(f"cannot make a directory for the export of {call.export}"):
        files.make_directory(env.paths, paths.EXPORT_DIR)
        if os.path.lexists(place.new):
            found = _token(place.new)
            if found == call.token:
                return
            if found is None:
                raise errors.NodeFailure(
                    f"{place.name}.new exists in the export directory and is not an unfinished export",
                    hint="rename or remove it",
                )
            log.info("the unfinished export %s.new of %s is replaced", place.name, found)
            _remove(place, place.new)
        if _token(place.done) is not None:
            _put_back(place)
        # whole with its mark, or not there
        shutil.rmtree(place.making, ignore_errors=True)
        os.mkdir(place.making, 0o750)
        files.write_atomic(f"{place.making}/{MARK}", call.token.encode(), mode=0o640)
        faults.hit(BEFORE_BEGIN)
        os.rename(place.making, place.new)
        files.sync_directory(place.base)
        faults.hit(AFTER_BEGIN)


@handles(ExportFinish)
def finish(call: ExportFinish, env: NodeEnv, context: Context) -> None:
    place = _Place(env.paths, call.export)
    _check_token(call.token)
    with _told(f"cannot finish the export of {call.export}"):
        if _token(place.new) == call.token:
            _describe(place.new, call)
        elif files.read_text(f"{place.done}/{FINISHED}") == call.token:
            return
        elif _token(place.done) != call.token:
            raise errors.NodeFailure(f"there is no unfinished export of {call.export} with that token")
        _put_in_place(place, call.token)


def _describe(directory: str, call: ExportFinish) -> None:
    """Write its config.ini. The sums go after it: a repeat needs them until it is there."""
    if not os.path.lexists(f"{directory}/{CONFIG}"):
        text = _with_sums(directory, call.text, call.files)
        faults.hit(BEFORE_CONFIG)
        files.write_atomic(f"{directory}/{CONFIG}", text.encode(), mode=0o600)
        faults.hit(AFTER_CONFIG)
    for _, file in call.files:
        with suppress(FileNotFoundError):
            os.unlink(f"{directory}/{file}{SUM}")


def _put_in_place(place: _Place, token: str) -> None:
    if _token(place.new) == token:
        if os.path.isdir(place.done):
            shutil.rmtree(place.old, ignore_errors=True)
            os.rename(place.done, place.old)
            faults.hit(OLD_ASIDE)
        os.rename(place.new, place.done)
        files.sync_directory(place.base)
        faults.hit(IN_PLACE)
    os.rename(f"{place.done}/{MARK}", f"{place.done}/{FINISHED}")
    files.sync_directory(place.done)
    faults.hit(FINISHED_IT)
    shutil.rmtree(place.old, ignore_errors=True)


def _with_sums(directory: str, text: str, dumps: Iterable[tuple[int, str]]) -> str:
    """The config.ini with what is known of the dumps now."""
    sums = {}
    for index, file in dumps:
        _check_file(file)
        found = codec.decode(files.read_text(f"{directory}/{file}{SUM}") or "", DumpSum)
        sums[index] = (found.digest, found.length)
    return export_ini.with_sums(text, sums)


@handles(ExportDiscard)
def discard(call: ExportDiscard, env: NodeEnv, context: Context) -> None:
    place = _Place(env.paths, call.export)
    _check_token(call.token)
    with _told(f"cannot discard the export of {call.export}"):
        faults.hit(BEFORE_DISCARD)
        if _token(place.new) == call.token:
            _remove(place, place.new)
        if _token(place.done) == call.token:
            _put_back(place)
        elif os.path.isdir(place.old) and not os.path.lexists(place.done):
            os.rename(place.old, place.done)
        for rest in (place.making, place.gone):
            shutil.rmtree(rest, ignore_errors=True)
        faults.hit(AFTER_DISCARD)


def _remove(place: _Place, directory: str) -> None:
    """Hidden first: nothing that is half removed is taken for anything."""
    shutil.rmtree(place.gone, ignore_errors=True)
    os.rename(directory, place.gone)
    files.sync_directory(place.base)
    shutil.rmtree(place.gone)


def _put_back(place: _Place) -> None:
    """The export in the place of an older one never came to count."""
    _remove(place, place.done)
    if os.path.isdir(place.old):
        os.rename(place.old, place.done)


@handles(ExportRemove)
def remove(call: ExportRemove, env: NodeEnv, context: Context) -> None:
    place = _Place(env.paths, call.export)
    with _told(f"cannot remove the export {call.export}"):
        if _is_whole(place.done):
            # hidden first, so that none is listed whose dumps are half removed
            shutil.rmtree(place.old, ignore_errors=True)
            faults.hit(BEFORE_REMOVE)
            os.rename(place.done, place.old)
            files.sync_directory(place.base)
            faults.hit(HIDDEN)
        # also what an earlier try has left
        shutil.rmtree(place.old, ignore_errors=True)
        faults.hit(AFTER_REMOVE)


def _is_whole(directory: str) -> bool:
    return os.path.isfile(f"{directory}/{CONFIG}") and not os.path.lexists(f"{directory}/{MARK}")


@handles(ExportList)
def list_exports(call: ExportList, env: NodeEnv, context: Context) -> tuple[str, ...]:
    base = env.paths.local(paths.EXPORT_DIR)
    try:
        names = os.listdir(base)
    except FileNotFoundError:
        return ()
    whole = (name for name in names if HOST_NAME.match(name) and not name.endswith(UNFINISHED))
    return tuple(sorted(name for name in whole if _is_whole(f"{base}/{name}")))


@handles(ExportInfo)
def info(call: ExportInfo, env: NodeEnv, context: Context) -> ExportText | None:
    directory = _directory(call.place)
    return read(env.paths, directory)


def _directory(place: str) -> str:
    """Logical. Relative ones are below the export directory."""
    logical = place if place.startswith("/") else f"{paths.EXPORT_DIR.path}/{place}"
    if posixpath.normpath(logical) != logical or "\0" in logical or logical == "/":
        raise errors.NodeFailure(f"not a directory of an export: {place[:200]!r}")
    return logical


def read(where: Paths, directory: str) -> ExportText | None:
    local = where.local(directory)
    if not _is_whole(local):
        return None
    with _told(f"cannot read {directory}/{CONFIG}"):
        text = files.read_text(f"{local}/{CONFIG}", max_bytes=_MAX_CONFIG + 1)
        with os.scandir(local) as entries:
            sizes = {
                entry.name: entry.stat().st_size for entry in entries if entry.is_file() and entry.name != FINISHED
            }
    if text is None:
        return None
    if len(text) > _MAX_CONFIG:
        raise errors.NodeFailure(f"{directory}/{CONFIG} has more than {_MAX_CONFIG} bytes: that is not one of ours")
    identity = hashlib.sha256(text.encode()).hexdigest()
    return ExportText(directory=directory, text=text, identity=identity, sizes=sizes)


# Dumps


def _check_file(file: str) -> None:
    if not _FILE.match(file) or file in (CONFIG, MARK) or file.endswith(SUM):
        raise errors.NodeFailure(f"not the name of a dump: {file[:80]!r}")


def open_dump(where: Paths, directory: str, file: str, identity: str) -> int:
    """For reading. Raises NodeFailure when it is not there, or in another export by now."""
    _check_file(file)
    logical = _directory(directory)
    found = read(where, logical)
    if found is None or found.identity != identity:
        raise errors.NodeFailure(f"the export in {logical} was replaced or removed meanwhile")
    with _told(f"cannot read the dump {logical}/{file}"):
        return os.open(f"{where.local(logical)}/{file}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def new_dump(where: Paths, export: str, token: str, file: str) -> tuple[int, str]:
    """For writing, and its local path. What was left there by an earlier try is replaced."""
    place = _Place(where, export)
    _check_file(file)
    _check_token(token)
    if _token(place.new) != token:
        raise errors.NodeFailure(f"there is no unfinished export of {export} with that token")
    path = f"{place.new}/{file}"
    with _told(f"cannot write the dump {file}"):
        with suppress(FileNotFoundError):
            os.unlink(path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path, flags, 0o600), path


def note_sum(path: str, length: int, digest: str) -> None:
    """The dump at this local path has come whole."""
    faults.hit(BEFORE_SUM)
    files.write_atomic(path + SUM, codec.encode(DumpSum(length=length, digest=digest)), mode=0o600)
    faults.hit(AFTER_SUM)
