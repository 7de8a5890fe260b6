"""Copies of volumes: complete, sparse, and refused when they cannot be."""

import os

import pytest

from ganeti import errors
from ganeti.node.base import Context
from ganeti.node.volume_copy import _copy

MIB = 1 << 20


def make(path, size, **pieces):
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in pieces.items():
            file.seek(int(offset[1:]))
            file.write(data)
    return str(path)


def test_a_copy_is_equal_and_sparse(tmp_path):
    source = make(tmp_path / "a", 8 * MIB, o0=b"begin", o5000000=b"middle", o8388600=b"the end!")
    target = make(tmp_path / "b", 8 * MIB)
    context = Context()
    _copy(source, target, context)
    assert os.stat(target).st_blocks * 512 <= 4 * MIB
    _copy(source, target, context)
    with open(source, "rb") as first, open(target, "rb") as second:
        assert first.read() == second.read()
    assert context.progress["text"] == "8 of 8 MiB copied"


def test_what_was_there_is_overwritten(tmp_path):
    source = make(tmp_path / "a", 2 * MIB)
    target = make(tmp_path / "b", 2 * MIB, o100=b"old")
    _copy(source, target, Context())
    with open(target, "rb") as file:
        assert file.read() == bytes(2 * MIB)


def test_a_smaller_target_and_a_stop_are_refused(tmp_path):
    source = make(tmp_path / "a", 2 * MIB)
    with pytest.raises(errors.StorageError, match="smaller"):
        _copy(source, make(tmp_path / "b", MIB), Context())
    context = Context()
    context.stop.set()
    with pytest.raises(errors.NodeFailure, match="stopped"):
        _copy(source, make(tmp_path / "c", 2 * MIB), context)
