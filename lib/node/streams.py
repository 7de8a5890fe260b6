"""Handlers of calls about streams. Who listens does so in a thread, known by the request that began it."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

from ganeti import errors, paths
from ganeti.calls.export import (
    Contents,
    Endpoint,
    Facilities,
    FromDisk,
    FromDump,
    StreamFacilities,
    StreamListen,
    StreamSend,
    StreamStop,
    ToDisk,
    ToDump,
)
from ganeti.calls.instance import GuestSpec
from ganeti.host import faults, sparse
from ganeti.model.objects import Disk
from ganeti.node import exports, os_run, osenv, scripts, volumes
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.node.stream import moving, packing, sinks, sources
from ganeti.node.stream.channel import Channel, Links, TlsLinks
from ganeti.node.stream.frames import End, Piece
from ganeti.node.stream.meter import Meter
from ganeti.node.stream.moving import Hello, Verdict
from ganeti.rpc.identity import Identity
from ganeti.wire import codec

log = logging.getLogger(__name__)

_MIB = 1 << 20
#: nobody has come within so many seconds: nobody will
ACCEPT_S = 180.0
#: how long a stream that is stopped may take to end
END_S = 40.0
#: how long the sender may take to hear that the receiver has failed
LINGER_S = 15.0
#: a receiver whose kernel has not answered for so long is gone; it is asked every two minutes at least
SILENCE_S = 300.0
#: a node that writes a dump takes the next chunk within this; a script may think as long as scripts may
WRITE_S = 300.0

BEFORE_END = faults.register("stream.before_end")
AFTER_END = faults.register("stream.after_end")

_Failure = (errors.GanetiError, OSError)


@handles(StreamFacilities)
def facilities(call: StreamFacilities, env: NodeEnv, context: Context) -> Facilities:
    place = env.paths.local(paths.EXPORT_DIR)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    found = os.statvfs(place)
    return Facilities(compressions=packing.there(), export_free=found.f_bavail * found.f_frsize // _MIB)


def _links(env: NodeEnv) -> Links:
    found = env.services.get("links")
    if found is None:
        me = env.service(Identity)
        found = env.services.setdefault("links", TlsLinks(env.paths, me.address))
    made: Links = found
    return made


# The receiver


class Listener:
    """One stream that is awaited or comes."""

    def __init__(self, call: StreamListen, env: NodeEnv) -> None:
        """Listens. Raises NodeFailure."""
        self._call, self._env = call, env
        self._stop = threading.Event()
        self._channel: Channel | None = None
        try:
            self._socket = _links(env).listen(call.address)
        except OSError as err:
            raise errors.NodeFailure(f"cannot listen on {call.address}: {err.strerror or err}") from err
        self._socket.settimeout(0.5)
        self.port: int = self._socket.getsockname()[1]
        self.thread = threading.Thread(target=self._run, name=f"stream {call.request}", daemon=True)

    def stop(self) -> bool:
        """Whether it has ended."""
        self._stop.set()
        if self._channel is not None:
            self._channel.abort()
        if self.thread.ident is not None:
            self.thread.join(END_S)
        return not self.thread.is_alive()

    def _run(self) -> None:
        try:
            with contextlib.closing(self._socket):
                accepted = self._accept()
            if accepted is not None:
                self._serve(*accepted)
        finally:
            _listeners(self._env).forget(self._call.request)

    def _accept(self) -> tuple[Channel, Hello] | None:
        deadline = self._env.clock.monotonic() + ACCEPT_S
        while not self._stop.is_set():
            if self._env.clock.monotonic() > deadline:
                log.warning("nobody has sent stream %s", self._call.stream)
                return None
            try:
                raw, peer = self._socket.accept()
            except TimeoutError:
                continue
            channel = _links(self._env).accept(raw, self._call.peer_digest)
            self._channel = channel
            try:
                hello = moving.greeting(channel)
                if hello.stream == self._call.stream:
                    return channel, hello
                log.warning("%s sends another stream than is expected", peer[0])
            except _Failure as err:
                log.warning("refused a stream from %s: %s", peer[0], err)
            channel.close()
        return None

    def _serve(self, channel: Channel, hello: Hello) -> None:
        try:
            try:
                end = self._receive(channel, hello)
            except _Failure as err:
                log.warning("stream %s: %s", hello.stream, err)
                channel.send(codec.encode(Verdict(problem=f"at {_own_name(self._env)}: {_text(err)}")))
                channel.linger(LINGER_S)
            else:
                channel.send(codec.encode(Verdict(digest=end.digest)))
                channel.linger(LINGER_S)
        except _Failure as err:
            log.warning("stream %s: the sender was not told how it ended: %s", hello.stream, err)
        finally:
            channel.close()

    def _receive(self, channel: Channel, hello: Hello) -> End:
        into = self._call.into
        if isinstance(into, ToDump):
            return self._to_dump(channel, hello, into)
        if into.contents is Contents.RAW:
            return self._to_disk(channel, hello, into)
        return self._to_script(channel, hello, into)

    def _to_dump(self, channel: Channel, hello: Hello, into: ToDump) -> End:
        env = self._env
        handle, path = exports.new_dump(env.paths, into.export, into.token, into.file)
        with open(handle, "r+b", buffering=0), _told(f"cannot write the dump of disk {into.index}"):
            sink = sinks.DumpSink(handle)
            end = moving.receive(channel, hello, sink, runner=env.runner)
            sink.end()
            exports.note_sum(path, end.length, end.digest)
        return end

    def _to_disk(self, channel: Channel, hello: Hello, into: ToDisk) -> End:
        env = self._env
        path = os_run.open_disks(into.spec, env)[into.index]
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        with open(handle, "r+b", buffering=0) as file, _told(f"cannot write disk {into.index}"):
            sink = sinks.DiskSink(file.fileno(), f"disk {into.index}")
            end = moving.receive(channel, hello, sink, runner=env.runner)
            faults.hit(BEFORE_END)
            sink.end()
            faults.hit(AFTER_END)
        return end

    def _to_script(self, channel: Channel, hello: Hello, into: ToDisk) -> End:
        env, spec = self._env, into.spec
        definition, directory = os_run.usable(spec, env.paths)
        _check_script(definition.name, "import", definition.scripts)
        disks = os_run.open_disks(spec, env)
        environment = osenv.import_(spec, definition, disks, index=into.index, debug=into.debug)
        sizes = [_size(disk) for disk in disks]
        ends: list[End] = []
        problem = os_run.run(
            "import",
            f"import-{spec.instance.os}-{spec.instance.name}-{into.index}",
            environment,
            request=self._call.request,
            directory=directory,
            env=env,
            stop=self._stop,
            feed=lambda given: ends.append(moving.receive(channel, hello, sinks.ScriptSink(given), runner=env.runner)),
        )
        if problem:
            raise errors.NodeFailure(f"OS import script of {spec.instance.os} failed for disk {into.index}: {problem}")
        for index, path in enumerate(disks):
            # a file grows where a real disk would end
            if _size(path) != sizes[index]:
                raise errors.NodeFailure(
                    f"OS import script of {spec.instance.os} has changed the size of disk {index} from {sizes[index]}"
                    f" to {_size(path)} bytes",
                    hint="give it at least the size that the exported disk had",
                )
        return ends[0]


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Losing the connection is no OSError."""
    try:
        yield
    except OSError as err:
        raise errors.NodeFailure(f"{what}: {_text(err)}") from err


def _own_name(env: NodeEnv) -> str:
    return env.service(Identity).node


def _size(path: str) -> int:
    with open(path, "rb") as file:
        return sparse.size_of(file.fileno())


def _check_script(os_name: str, script: str, there: tuple[str, ...]) -> None:
    if script not in there:
        raise errors.NodeFailure(
            f"OS {os_name} has no script {script}", hint="--os-mode=raw moves whole disks without the OS's scripts"
        )


def _text(err: Exception) -> str:
    if isinstance(err, errors.GanetiError):
        return str(err)
    return (err.strerror if isinstance(err, OSError) else None) or str(err)


class Listeners:
    """All streams that are awaited or come on this node."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: dict[str, Listener] = {}

    def add(self, request: str, listener: Listener) -> None:
        with self._lock:
            self._live[request] = listener

    def forget(self, request: str) -> None:
        with self._lock:
            self._live.pop(request, None)

    def get(self, request: str) -> Listener | None:
        with self._lock:
            return self._live.get(request)

    def close(self) -> None:
        with self._lock:
            live = list(self._live.values())
        for listener in live:
            listener.stop()


_MAKING = threading.Lock()


def _listeners(env: NodeEnv) -> Listeners:
    with _MAKING:
        made: Listeners = env.services.setdefault("streams", Listeners())
    return made


@handles(StreamListen)
def listen(call: StreamListen, env: NodeEnv, context: Context) -> Endpoint:
    if isinstance(call.into, ToDisk):
        _disk(call.into.spec, call.into.index)
    listener = Listener(call, env)
    _listeners(env).add(call.request, listener)
    listener.thread.start()
    return Endpoint(address=call.address, port=listener.port)


@handles(StreamStop)
def stop(call: StreamStop, env: NodeEnv, context: Context) -> None:
    if call.undoes is None:
        return
    listener = _listeners(env).get(call.undoes)
    if listener is not None and not listener.stop():
        raise errors.NodeFailure(f"the stream of request {call.undoes} does not end")
    scripts.end(env.paths, call.undoes)


# The sender


def _disk(spec: GuestSpec, index: int) -> Disk:
    if not 0 <= index < len(spec.instance.disks):
        raise errors.NodeFailure(f"instance {spec.instance.name} has no disk {index}")
    return spec.instance.disks[index]


@handles(StreamSend)
def send(call: StreamSend, env: NodeEnv, context: Context) -> None:
    source = call.source
    if isinstance(source, FromDump):
        _send_dump(call, source, env, context)
    elif source.contents is Contents.RAW:
        _send_disk(call, source, env, context)
    else:
        _send_script(call, source, env, context)


class _Sending:
    """A connection to the receiver, cut when the call is to stop."""

    def __init__(self, call: StreamSend, env: NodeEnv, context: Context, *, total: int) -> None:
        self._call, self._env, self._context = call, env, context
        self.meter = Meter(context.progress, env.clock, f"disk {call.source.index}", total)
        self._done = threading.Event()
        self._why = ""  # it was cut

    def run(self, pieces: Iterator[Piece], *, checksum: str = "") -> None:
        """All of it, until the receiver has confirmed it. Raises NodeFailure."""
        call, env = self._call, self._env
        channel = _links(env).connect(call.endpoint.address, call.endpoint.port, call.peer)
        watcher = threading.Thread(target=self._watch, args=(channel,), daemon=True)
        watcher.start()
        try:
            hello = Hello(stream=call.stream, compress=call.compress)
            end = moving.send(channel, hello, self.meter.watch(pieces), runner=env.runner, sent=self.meter.sent)
            if checksum and checksum != end.digest:
                raise errors.NodeFailure(
                    f"the dump of disk {call.source.index} is damaged: its checksum is {end.digest}, not {checksum}"
                )
            moving.confirm(channel, end)
        except _Failure as err:
            raise errors.NodeFailure(self._why or _text(err)) from err
        finally:
            self._done.set()
            watcher.join()
            channel.close()
        self.meter.end()

    def _watch(self, channel: Channel) -> None:
        # a script that hangs is found at its own end of the stream first
        clock, patience_s = self._env.clock, self._env.script_limit_s + LINGER_S
        moved, since = self.meter.moved, clock.monotonic()
        while not self._done.wait(0.2):
            if moved != self.meter.moved:
                moved, since = self.meter.moved, clock.monotonic()
            if self._context.stop.is_set():
                self._why = "stopped on request"
            elif channel.silence_s() > SILENCE_S:
                self._why = f"the receiving node has not answered for {SILENCE_S:g} s"
            elif isinstance(self._call.source, FromDisk) and channel.blocked_s() > WRITE_S:
                self._why = f"the receiving node has taken nothing for {WRITE_S:g} s; does its disk hang?"
            elif clock.monotonic() - since > patience_s:
                self._why = f"nothing has moved for {patience_s:g} s: the receiving node takes nothing"
            if self._why:
                channel.abort()
                return


def _send_dump(call: StreamSend, source: FromDump, env: NodeEnv, context: Context) -> None:
    handle = exports.open_dump(env.paths, source.directory, source.file, source.identity)
    with open(handle, "rb", buffering=0):
        argv = packing.unpacker(source.compression)
        if argv is None:
            sending = _Sending(call, env, context, total=os.fstat(handle).st_size)
            sending.run(sources.of_file(handle), checksum=source.checksum)
            return
        sending = _Sending(call, env, context, total=source.size * _MIB)
        unpacker = env.runner.filter(argv, source=handle)
        try:
            sending.run(_of_filter(unpacker.stdout.read, unpacker.finish), checksum=source.checksum)
        finally:
            unpacker.kill()
            unpacker.stdout.close()


def _of_filter(read: sources.Read, finish: sources.Finish) -> Iterator[Piece]:
    yield from sources.of_stream(read)
    try:
        finish()
    except errors.CommandFailed as err:
        raise errors.NodeFailure(f"the dump is damaged: it cannot be unpacked ({err})") from err


def _send_disk(call: StreamSend, source: FromDisk, env: NodeEnv, context: Context) -> None:
    path = _device(source, os_run.open_disks(source.spec, env), env)
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb", buffering=0) as file:
        total = _disk(source.spec, source.index).size * _MIB
        _Sending(call, env, context, total=total).run(sources.of_file(file.fileno()))


def _device(source: FromDisk, disks: list[str], env: NodeEnv) -> str:
    """Local path of what is read."""
    _disk(source.spec, source.index)
    if source.snapshot is None:
        return disks[source.index]
    snapshot = source.snapshot
    found = volumes.storage_of(snapshot, env).open(snapshot, source.spec.instance.uuid)
    return volumes.local_path(snapshot, found.path, env)


def _send_script(call: StreamSend, source: FromDisk, env: NodeEnv, context: Context) -> None:
    spec = source.spec
    definition, directory = os_run.usable(spec, env.paths)
    _check_script(definition.name, "export", definition.scripts)
    disks = os_run.open_disks(spec, env)
    device = _device(source, disks, env)
    environment = osenv.export(spec, definition, disks, index=source.index, device=device, debug=source.debug)
    sending = _Sending(call, env, context, total=_disk(spec, source.index).size * _MIB)
    told, telling = os.pipe2(os.O_CLOEXEC)
    sending.meter.expect_size(told)
    try:
        problem = os_run.run(
            "export",
            f"exp-{spec.instance.os}-{spec.instance.name}-{source.index}",
            environment | {"EXP_SIZE_FD": str(telling)},
            request=call.request,
            directory=directory,
            env=env,
            stop=context.stop,
            take=lambda taken: sending.run(sources.of_stream(taken.read)),
            keep=(telling,),
        )
    finally:
        os.close(telling)
        os.close(told)
    if problem:
        raise errors.NodeFailure(f"OS export script of {spec.instance.os} failed for disk {source.index}: {problem}")
