from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti import errors
from ganeti.luxi import framing

BODIES = st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\x03", b"")), max_size=6)


@given(BODIES, st.lists(st.integers(1, 20), max_size=30))
def test_feed_when_cut_anywhere_then_the_same_messages_come_out(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(body + framing.ETX for body in bodies)
    buffer = framing.MessageBuffer(30)
    found: list[bytes] = []
    for cut in cuts:
        found += buffer.feed(stream[:cut])
        stream = stream[cut:]
    found += buffer.feed(stream)
    assert found == bodies
    assert buffer.is_empty


def test_feed_when_a_message_is_too_long_then_it_says_the_limit() -> None:
    buffer = framing.MessageBuffer(4)
    assert buffer.feed(b"1234\x03abc") == [b"1234"]
    assert not buffer.is_empty
    with pytest.raises(errors.LuxiError, match="more than 4 bytes"):
        buffer.feed(b"de")


def test_frame_when_text_has_the_end_byte_then_it_is_escaped() -> None:
    assert framing.frame({"a": "\x03é"}) == b'{"a":"\\u0003\\u00e9"}\x03'


def test_address_when_too_long_then_the_link_is_followed_or_the_limit_told(tmp_path: Path) -> None:
    short = "/run/a"
    assert framing.address(short) == short
    deep = tmp_path / ("d" * 120)
    os.symlink("/tmp", deep)
    assert framing.address(str(deep / "s")) == "/tmp/s"
    with pytest.raises(errors.PrereqError, match="107"):
        framing.address("/tmp/" + "x" * 120)


def test_is_hung_up_tells_a_closed_end_from_one_that_still_listens() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        assert not framing.is_hung_up(ours)
        theirs.shutdown(socket.SHUT_WR)
        assert not framing.is_hung_up(ours)
        theirs.close()
        assert framing.is_hung_up(ours)
