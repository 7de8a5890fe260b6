"""Both ends of a stream: pieces into a channel, and out of it again. What fails raises ExecError or OSError."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import msgspec

from ganeti import errors
from ganeti.host.run import Argv, HostRunner
from ganeti.host.script import Filter
from ganeti.node.stream import frames, packing
from ganeti.node.stream.channel import Channel
from ganeti.node.stream.frames import Digest, End, Piece
from ganeti.wire import codec

_READ = 256 * 1024
_PATIENCE_S = 10.0


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """The first chunk."""

    stream: str
    compress: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver's last word."""

    problem: str = ""  # empty: it has everything
    digest: str = ""


class Sink(Protocol):
    def put(self, piece: Piece) -> None:
        """In order; a piece without data is zeros."""
        ...


def send(
    channel: Channel,
    hello: Hello,
    pieces: Iterable[Piece],
    *,
    runner: HostRunner,
    sent: Callable[[int], None],
) -> End:
    """Everything up to the end mark; then `confirm`. `sent` is told how many bytes went over the wire."""
    channel.send(codec.encode(hello))
    digest = Digest()

    def packed() -> Iterator[bytes]:
        for piece in pieces:
            digest.take(piece)
            yield frames.pack(piece)
        yield frames.pack_end(digest.end())

    argv = packing.packer(hello.compress)
    if argv is None:
        for chunk in packed():
            _listen(channel)
            channel.send(chunk)
            sent(len(chunk))
    else:
        _send_packed(channel, packed(), runner.filter(argv), sent)
    channel.send()
    return digest.end()


def _send_packed(channel: Channel, chunks: Iterator[bytes], packer: Filter, sent: Callable[[int], None]) -> None:
    failures: list[Exception] = []

    def pump() -> None:
        try:
            while chunk := packer.stdout.read(_READ):
                _listen(channel)
                channel.send(chunk)
                sent(len(chunk))
        except (errors.GanetiError, OSError) as err:
            failures.append(err)
            packer.kill()

    thread = threading.Thread(target=pump, name="stream out", daemon=True)
    thread.start()
    try:
        try:
            for chunk in chunks:
                _write(packer, chunk)
            packer.stdin.close()
        except BrokenPipeError:
            thread.join()
            if failures:
                raise failures[0] from None
        thread.join()
        if failures:
            raise failures[0]
        packer.finish()
    finally:
        packer.kill()
        thread.join()
        with contextlib.suppress(BrokenPipeError):
            packer.stdin.close()
        packer.stdout.close()


def _write(packer: Filter, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[packer.stdin.write(view) :]


def _listen(channel: Channel) -> None:
    """The receiver says nothing before the end unless it has failed."""
    if channel.has_word():
        verdict = codec.decode(channel.receive(), Verdict)
        raise errors.ExecError(verdict.problem or "the receiver ended the stream too early")


def confirm(channel: Channel, end: End) -> None:
    """Wait for the receiver's word. Raises ExecError with what failed there."""
    verdict = codec.decode(channel.receive(), Verdict)
    if verdict.problem:
        raise errors.ExecError(verdict.problem)
    if verdict.digest != end.digest:
        raise errors.ExecError(f"the receiver has other data than was sent: {verdict.digest} instead of {end.digest}")


def greeting(channel: Channel) -> Hello:
    """The receiver's first step; it fails when somebody else has connected."""
    return codec.decode(channel.receive(), Hello)


def receive(channel: Channel, hello: Hello, sink: Sink, *, runner: HostRunner) -> End:
    """Everything, checked; the sender still waits for a word."""
    argv = packing.unpacker(hello.compress)
    if argv is None:
        chunks = channel.chunks()
        end = _take(_reader(chunks), sink)
        # the sender still writes: closing before its last chunk has come would look like a failure to it
        if next(chunks, b""):
            raise errors.ExecError("more came than the stream announced")
        return end
    return _receive_packed(channel, argv, sink, runner)


def _receive_packed(channel: Channel, argv: Argv, sink: Sink, runner: HostRunner) -> End:
    unpacker = runner.filter(argv)
    failures: list[Exception] = []

    def pump() -> None:
        try:
            for chunk in channel.chunks():
                _write(unpacker, chunk)
            unpacker.stdin.close()
        except BrokenPipeError:
            failures.append(errors.ExecError(f"{argv[0]} cannot unpack the stream"))
        except (errors.GanetiError, OSError) as err:
            failures.append(err)
        finally:
            if failures:
                unpacker.kill()

    thread = threading.Thread(target=pump, name="stream in", daemon=True)
    thread.start()
    try:
        try:
            end = _take(_reader(iter(lambda: unpacker.stdout.read(_READ), b"")), sink)
        except _Short as err:
            thread.join()
            raise failures[0] if failures else err from err
        thread.join()
        if failures:
            raise failures[0]
        unpacker.finish()
        return end
    finally:
        unpacker.kill()
        # it ends at the next chunk; a sender that sends nothing does not hear why it failed
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            channel.abort()
            thread.join()
        with contextlib.suppress(BrokenPipeError):
            unpacker.stdin.close()
        unpacker.stdout.close()


class _Short(errors.ExecError):
    """The stream ended before its end mark."""


def _reader(chunks: Iterator[bytes]) -> Callable[[int], bytes]:
    """Reads exactly so many bytes of what comes in chunks."""
    rest = memoryview(b"")

    def read(size: int) -> bytes:
        nonlocal rest
        parts = []
        while size:
            if not rest:
                chunk = next(chunks, b"")
                if not chunk:
                    raise _Short("the stream ended before its end mark")
                rest = memoryview(chunk)
            part, rest = rest[:size], rest[size:]
            parts.append(bytes(part))
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return read


def _take(read: Callable[[int], bytes], sink: Sink) -> End:
    digest = Digest()
    for frame in frames.unpack(read):
        if isinstance(frame, Piece):
            digest.take(frame)
            sink.put(frame)
        elif frame != digest.end():
            raise errors.ExecError("what came is not what was sent: its checksum is wrong")
    return digest.end()
