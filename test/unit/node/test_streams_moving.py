"""Streams between two ends of a socket: what comes is what was sent, and whoever fails is heard."""

import contextlib
import hashlib
import os
import socket
import threading

import pytest

from ganeti import errors
from ganeti.host import sparse
from ganeti.host.run import HostRunner
from ganeti.node.stream import frames, moving, sinks, sources
from ganeti.node.stream.channel import Channel, SocketWire
from ganeti.node.stream.frames import BLOCK, Piece
from ganeti.node.stream.moving import Hello, Verdict
from ganeti.paths import Paths
from ganeti.wire import codec

RUNNER = HostRunner(Paths())


class Ends:
    """A sender and a receiver; the receiver runs in a thread."""

    def __init__(self):
        left, right = socket.socketpair()
        self.sender, self.receiver = Channel(SocketWire(left)), Channel(SocketWire(right))
        self.sent = 0

    def count(self, number):
        self.sent += number

    def move(self, pieces, sink, compress="none"):
        outcome = []

        def receive():
            try:
                hello = moving.greeting(self.receiver)
                end = moving.receive(self.receiver, hello, sink, runner=RUNNER)
                self.receiver.send(codec.encode(Verdict(digest=end.digest)))
                outcome.append(end)
            except (errors.GanetiError, OSError) as err:
                outcome.append(err)
                with contextlib.suppress(errors.GanetiError):
                    self.receiver.send(codec.encode(Verdict(problem=str(err))))
                    self.receiver.linger(10)
            finally:
                self.receiver.close()

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            end = moving.send(self.sender, Hello(stream="s", compress=compress), pieces, runner=RUNNER, sent=self.count)
            moving.confirm(self.sender, end)
        finally:
            self.sender.close()
            thread.join(20)
        assert not thread.is_alive()
        return outcome[0]


@pytest.fixture
def disk(tmp_path):
    """10 MiB and some bytes, with data in four places and holes between."""
    path = tmp_path / "disk"
    with open(path, "wb") as file:
        file.truncate(10 * BLOCK + 777)
        for offset, size in ((0, 5), (3 * BLOCK - 3, 10), (7 * BLOCK, BLOCK), (10 * BLOCK + 700, 77)):
            file.seek(offset)
            file.write(os.urandom(size))
    return str(path)


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def copied(ends, disk, target, compress="none"):
    with open(disk, "rb") as source, open(target, "w+b", buffering=0) as file:
        sink = sinks.DumpSink(file.fileno())
        end = ends.move(sources.of_file(source.fileno()), sink, compress)
        sink.end()
    return end


@pytest.mark.parametrize("compress", ["none", "gzip", "gzip-fast", "gzip-slow", "zstd"])
def test_what_comes_is_what_was_sent(disk, tmp_path, compress):
    ends = Ends()
    copied(ends, disk, tmp_path / "copy", compress)
    assert digest(disk) == digest(tmp_path / "copy")
    assert os.stat(tmp_path / "copy").st_blocks * 512 <= 6 * BLOCK, "holes take no space"
    assert ends.sent < 6 * BLOCK, "holes are not sent"


def test_an_empty_stream_is_one(tmp_path):
    path = tmp_path / "copy"
    with open(path, "w+b", buffering=0) as file:
        end = Ends().move(sources.of_stream(lambda size: b""), sinks.DumpSink(file.fileno()), "gzip")
    assert (end.length, path.stat().st_size) == (0, 0)


def test_digest_does_not_depend_on_how_holes_were_found(disk):
    with open(disk, "rb") as by_extents, open(disk, "rb") as by_reading:
        one, two = frames.Digest(), frames.Digest()
        for piece in sources.of_file(by_extents.fileno()):
            one.take(piece)
        for piece in sources.of_stream(by_reading.read):
            two.take(piece)
    assert one.end() == two.end()
    assert one.end().length == os.path.getsize(disk)


class Broken:
    """A disk that is full after some pieces."""

    def __init__(self):
        self.left = 2

    def put(self, piece):
        self.left -= 1
        if not self.left:
            raise OSError(28, "No space left on device")


@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_sender_hears_why_the_receiver_failed(compress):
    pieces = (Piece(number * BLOCK, BLOCK, os.urandom(BLOCK)) for number in range(400))
    with pytest.raises(errors.ExecError, match="No space left"):
        Ends().move(pieces, Broken(), compress)


@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_receiver_does_not_take_half_a_stream_for_a_whole_one(tmp_path, compress):
    def pieces():
        yield Piece(0, BLOCK, os.urandom(BLOCK))
        raise errors.ExecError("the source broke")

    ends = Ends()
    with open(tmp_path / "copy", "w+b", buffering=0) as file, pytest.raises(errors.ExecError, match="source broke"):
        ends.move(pieces(), sinks.DumpSink(file.fileno()), compress)


def test_what_is_too_large_for_the_disk_is_refused_before_it_is_written(tmp_path):
    with open(tmp_path / "disk", "w+b", buffering=0) as file:
        file.truncate(BLOCK)
        with pytest.raises(errors.ExecError, match="larger than disk 1"):
            Ends().move(iter([Piece(0, 2 * BLOCK)]), sinks.DiskSink(file.fileno(), "disk 1"))


def test_zeros_overwrite_what_a_disk_had(tmp_path):
    with open(tmp_path / "disk", "w+b", buffering=0) as file:
        file.write(b"x" * 3 * BLOCK)
        sink = sinks.DiskSink(file.fileno(), "disk 0")
        Ends().move(iter([Piece(0, 2 * BLOCK)]), sink)
        sink.end()
        assert os.pread(file.fileno(), 3 * BLOCK, 0) == bytes(2 * BLOCK) + b"x" * BLOCK


@pytest.mark.parametrize(("last", "problem"), [(b"", ""), (b"more", "more came than")])
def test_the_receiver_takes_everything_before_it_says_a_word(tmp_path, last, problem):
    left, right = socket.socketpair()
    sender, receiver = Channel(SocketWire(left)), Channel(SocketWire(right))
    sender.send(frames.pack_end(frames.Digest().end()))
    sender.send(last)
    with open(tmp_path / "disk", "w+b", buffering=0) as file:
        sink = sinks.DiskSink(file.fileno(), "disk 0")
        if problem:
            with pytest.raises(errors.ExecError, match=problem):
                moving.receive(receiver, Hello(stream="s", compress="none"), sink, runner=RUNNER)
        else:
            moving.receive(receiver, Hello(stream="s", compress="none"), sink, runner=RUNNER)
    assert not receiver.has_word()
    sender.close()
    receiver.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"D" + (7).to_bytes(8, "big") + (5).to_bytes(8, "big") + b"hello",
        b"H" + (0).to_bytes(8, "big") + (1 << 62).to_bytes(8, "big"),
        b"X" + bytes(16),
        b"E" + (9).to_bytes(8, "big") + bytes(8) + bytes(32),
        b"D" + bytes(8) + (2 * BLOCK).to_bytes(8, "big"),
    ],
)
def test_what_is_no_frame_is_refused(raw):
    rest = memoryview(raw)

    def read(size):
        nonlocal rest
        part, rest = rest[:size], rest[size:]
        return bytes(part)

    with pytest.raises(errors.ExecError, match="the stream"):
        list(frames.unpack(read))


def test_a_clone_is_tried_without_leaving_anything(disk, tmp_path):
    assert sparse.can_clone(disk) in (True, False)
    assert os.listdir(tmp_path) == ["disk"]
