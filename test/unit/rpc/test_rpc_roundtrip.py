"""Calls over real TLS on the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from types import SimpleNamespace

import msgspec
import pytest

from ganeti import errors, paths
from ganeti.calls.base import Reserve
from ganeti.calls.instance import InstanceList
from ganeti.calls.node import (
    HooksRun,
    NodeInfo,
    NodeInfoReply,
    NodeVersion,
    SsconfWrite,
    TermPush,
    VersionReply,
)
from ganeti.calls.node import TestDelay as Delay
from ganeti.calls.task import TaskCancel, TaskPoll
from ganeti.host import files, tls
from ganeti.model.types import RequestId, Uuid
from ganeti.rpc.connector import DEFAULT_LIMITS, Deadline, Limits, watched_socket
from ganeti.rpc.pools import QUORUM_THREADS, Pools
from ganeti.rpc.trust import Trust

from .conftest import (
    AUTHORITY,
    MASTER,
    MASTER_PAIR,
    NOW,
    OTHER_AUTHORITY,
    SERVER,
    SERVER_PAIR,
    Gate,
    World,
    certificate,
    fails,
)

VERSION = VersionReply(
    software="0", protocol=1, node="n", uuid="u", cluster="c", master="m", term=1, boot_id="b", time=1.5
)
NODE = Uuid(SERVER.uuid)


def run(client, *calls):
    """Replies or errors of these calls to the server, made one after the other."""

    async def main():
        found = []
        try:
            for call in calls:
                try:
                    found.append(await client.one(NODE, call))
                except errors.RpcError as err:
                    found.append(err)
        finally:
            await client.close()
        return found

    return asyncio.run(main())


def test_call_with_trusted_certificate_is_answered_in_the_reply_type(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: VERSION
    assert run(new_client(), NodeVersion(), NodeVersion()) == [VERSION, VERSION]


def test_handler_knows_term_and_peer(world, new_client):
    seen = []
    world.handlers[NodeVersion] = lambda call, execution: seen.append((execution.term, execution.peer)) or VERSION
    run(new_client(term=lambda: 7), NodeVersion())
    assert seen[0][0] == 7
    assert (seen[0][1].name, seen[0][1].digest) == (MASTER.node, tls.digest(MASTER_PAIR.certificate))


def test_certificate_that_is_not_trusted_is_refused_in_the_handshake(world, new_client):
    stranger = certificate(msgspec.structs.replace(MASTER, node="node3.example.com", uuid="uuid-3"))
    world.handlers[NodeVersion] = lambda call, execution: pytest.fail("must not be called")
    (error,) = run(new_client(stranger), NodeVersion())
    assert error.kind == "refused"
    assert "node1.example.com: refused our certificate" in str(error)


def test_refusal_is_told_also_when_a_large_body_is_on_its_way(world, new_client):
    stranger = certificate(msgspec.structs.replace(MASTER, node="node3.example.com", uuid="uuid-3"))
    (error,) = run(new_client(stranger), SsconfWrite(files={"a": "x" * 8_000_000}, serial=1))
    assert (error.kind, "refused our certificate" in str(error)) == ("refused", True), repr(error.__cause__)


def test_certificate_of_another_authority_is_refused(world, new_client):
    foreign = certificate(MASTER, OTHER_AUTHORITY)
    world.trust.replace(Trust(term=1, serial=2, digests={tls.digest(foreign.certificate): "x"}))
    (error,) = run(new_client(foreign), NodeVersion())
    assert (error.kind, "refused our certificate" in str(error)) == ("refused", True)


def test_server_of_another_authority_is_refused_by_the_client(world, new_client):
    (error,) = run(new_client(authority=OTHER_AUTHORITY.certificate), NodeVersion())
    assert error.kind == "refused"
    assert "is not that node's" in str(error)


def test_server_with_another_uuid_is_refused_by_the_client(world, new_client):
    other = msgspec.structs.replace(world.node, uuid=Uuid("uuid-9"))

    async def main():
        client = new_client(node=other)
        try:
            await client.one(Uuid("uuid-9"), NodeVersion())
        finally:
            await client.close()

    with pytest.raises(errors.RpcError) as caught:
        asyncio.run(main())
    assert caught.value.kind == "refused"


def test_trust_taken_away_ends_a_kept_connection(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: VERSION

    async def main():
        client = new_client()
        try:
            assert await client.one(NODE, NodeVersion()) == VERSION
            world.trust.replace(Trust(term=1, serial=2, digests={"0" * 64: "other"}))
            with pytest.raises(errors.RpcError) as caught:
                await client.one(NODE, NodeVersion())
            return caught.value.kind
        finally:
            await client.close()

    assert asyncio.run(main()) == "refused"


def test_peer_without_certificate_is_refused(world):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=AUTHORITY.certificate)
    with (
        socket.create_connection((SERVER.address, world.server.port), timeout=5) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
        context.wrap_socket(raw) as stream,
    ):
        stream.sendall(b"POST /call HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        stream.recv(1)


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.0\r\n\r\n", b"\x00" * 200, b"\x16\x03\x01\xff\xff" + b"x" * 300])
def test_garbage_on_the_port_ends_that_connection_alone(world, new_client, raw):
    with socket.create_connection((SERVER.address, world.server.port), timeout=5) as garbage:
        garbage.sendall(raw)
        assert b"HTTP/1.1 200" not in garbage.recv(1000)
    world.handlers[NodeVersion] = lambda call, execution: VERSION
    assert run(new_client(), NodeVersion()) == [VERSION]


def test_silent_peers_do_not_hold_up_others(world, new_client):
    silent = [socket.create_connection((SERVER.address, world.server.port), timeout=5) for _ in range(300)]
    try:
        world.handlers[NodeVersion] = lambda call, execution: VERSION
        assert run(new_client(), NodeVersion()) == [VERSION]
    finally:
        for each in silent:
            each.close()


def _post(world, body: bytes, *, path: str = "/call", method: str = "POST") -> tuple[int, object]:
    """One raw request with the master's certificate; (status, decoded body)."""
    import http.client

    where = world.paths
    files.write_atomic(where.local("/bundle"), MASTER_PAIR.bundle.encode())
    context = tls.client_context(where.local("/bundle"), where.local(paths.CA_CERT))
    context.check_hostname = False
    connection = http.client.HTTPSConnection(SERVER.address, world.server.port, context=context, timeout=10)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        text = response.read()
        return response.status, msgspec.json.decode(text) if text.startswith(b"{") else text
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1,2]", "object"),
        (b'{"term":1}', "call"),
        (b'{"term":1,"call":{"call":"no_such"}}', "unknown call 'no_such'"),
        (b'{"term":1,"call":{"call":"task_poll","request":"x","nonsense":1}}', "nonsense"),
        (b'{"term":1,"call":{"call":"task_poll"}}', "request"),
        (b'{"term":"1","call":{"call":"node_version"}}', "term"),
        (b'{"term":-1,"call":{"call":"node_version"}}', "negative"),
        (b'{"term":1,"term":2,"call":{"call":"node_version"}}', "twice"),
        (b'{"term":NaN,"call":{"call":"node_version"}}', "NaN"),
        (b"[" * 100000, "not valid JSON"),
    ],
)
def test_bad_body_is_answered_with_a_clear_error(world, body, said):
    status, answer = _post(world, body)
    assert status == 200
    assert (answer["ok"], answer["kind"]) == (False, "failed")
    assert said in answer["error"][1][0]
    assert "Traceback" not in str(answer)


def test_other_paths_and_methods_are_refused(world):
    assert _post(world, b"{}", path="/other")[0] == 404
    assert _post(world, b"", method="GET")[0] == 404


def test_body_over_the_limit_is_refused_and_the_server_goes_on(world, new_client):
    world.handlers[SsconfWrite] = lambda call, execution: len(call.files["a"])
    small, large = (
        SsconfWrite(files={"a": "x" * 900_000}, serial=1),
        SsconfWrite(files={"a": "x" * 2_000_000}, serial=1),
    )
    first, second, third = run(new_client(), small, large, small)
    assert (first, third) == (900_000, 900_000)
    assert isinstance(second, errors.RpcError)


def test_large_reply_arrives_whole(world, new_client):
    text = "0123456789" * 500_000
    world.handlers[NodeVersion] = lambda call, execution: msgspec.structs.replace(VERSION, master=text)
    (reply,) = run(new_client(), NodeVersion())
    assert reply.master == text


def test_error_of_a_handler_keeps_its_class_and_text(world, new_client):
    world.handlers[NodeVersion] = fails("no space on xenvg")
    (error,) = run(new_client(), NodeVersion())
    assert (error.kind, str(error)) == ("failed", "node node1.example.com: no space on xenvg")
    assert isinstance(error.__cause__, errors.StorageError)


def test_defect_in_a_handler_is_answered_without_traceback(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: {}["missing"]
    (error,) = run(new_client(), NodeVersion())
    assert error.kind == "failed"
    assert "internal error in node_version: KeyError" in str(error)


def test_full_disk_in_a_handler_names_the_cause(world, new_client):
    def handler(call, execution):
        raise OSError(28, "No space left on device", "/var/lib/x")

    world.handlers[NodeVersion] = handler
    (error,) = run(new_client(), NodeVersion())
    assert "/var/lib/x: No space left on device" in str(error)


def test_reply_of_another_form_is_an_error(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: {"strange": 1}
    (error,) = run(new_client(), NodeVersion())
    assert "in a form that is not known" in str(error)


# terms


def test_lower_term_is_refused_and_both_are_named(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: VERSION
    run(new_client(term=lambda: 5), NodeVersion())
    (error,) = run(new_client(term=lambda: 4), NodeVersion())
    assert error.kind == "stale_term"
    assert "carries term 4, this node saw term 5" in str(error)


def test_without_term_reads_are_answered_and_changes_refused(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: VERSION
    world.handlers[TermPush] = lambda call, execution: pytest.fail("must not be called")
    reply, error = run(new_client(term=lambda: 0), NodeVersion(), TermPush(master="x"))
    assert reply == VERSION
    assert error.kind == "stale_term"


# flags and dead nodes


def test_offline_node_is_answered_at_once(world, new_client):
    (error,) = run(new_client(node=msgspec.structs.replace(world.node, offline=True), port=1), NodeVersion())
    assert error.kind == "offline"


def test_unknown_node_is_an_error(new_client):
    async def main():
        client = new_client()
        try:
            return await client.many([Uuid("nobody")], NodeVersion())
        finally:
            await client.close()

    (error,) = asyncio.run(main()).values()
    assert (error.kind, "is not in the configuration" in str(error)) == ("failed", True)


def test_nothing_listening_is_unreachable(new_client):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (error,) = run(new_client(port=port), NodeVersion())
    assert error.kind == "unreachable"
    assert "is its node daemon running?" in str(error)


def test_kept_connection_survives_a_restart_of_the_daemon(world, new_client, tmp_path):
    world.handlers[NodeVersion] = lambda call, execution: VERSION

    async def main():
        client = new_client()
        try:
            first = await client.one(NODE, NodeVersion())
            await asyncio.to_thread(world.server.stop)
            with pytest.raises(errors.RpcError) as caught:
                await client.one(NODE, NodeVersion())
            return first, caught.value.kind
        finally:
            await client.close()

    assert asyncio.run(main()) == (VERSION, "unreachable")


# request ids


def delay(number: int, *, undoes: int | None = None) -> HooksRun:
    """A short changing call."""
    return HooksRun(
        path="p",
        phase="pre",
        environment={},
        request=RequestId(f"r{number}"),
        undoes=None if undoes is None else RequestId(f"r{undoes}"),
    )


def test_repeat_is_answered_from_the_table(world, new_client):
    count = []
    world.handlers[HooksRun] = lambda call, execution: count.append(1) or []
    assert run(new_client(), delay(1), delay(1), delay(2)) == [(), (), ()]
    assert len(count) == 2


def test_busy_pool_is_told_and_quorum_calls_are_served(tmp_path, new_client, world):
    busy = World(str(tmp_path / "busy"), pools=Pools({Reserve.INFO: 2, Reserve.SCRIPTS: 2}))
    gate = Gate()

    def block(call, execution):
        gate.entered.release()
        gate.open.wait(10)
        return NodeInfoReply(boot_id="b", hypervisors={}, storage={})

    async def main():
        client = new_client(port=busy.server.port)
        try:
            stuck = [asyncio.create_task(client.one(NODE, NodeInfo())) for _ in range(2)]
            for _ in stuck:
                await asyncio.to_thread(gate.entered.acquire)
            with pytest.raises(errors.RpcError) as caught:
                await client.one(NODE, NodeInfo())
            version = await client.one(NODE, NodeVersion())
            gate.open.set()
            await asyncio.gather(*stuck)
            return caught.value.kind, version
        finally:
            gate.open.set()
            await client.close()

    busy.handlers[NodeInfo] = block
    busy.handlers[NodeVersion] = lambda call, execution: VERSION
    try:
        assert asyncio.run(main()) == ("busy", VERSION)
    finally:
        busy.close()


def test_threads_are_kept_for_the_quorum_when_every_pool_is_full(tmp_path, new_client, world):
    pools = Pools({Reserve.INFO: 3, Reserve.HYPERVISOR: 3})
    busy, gate = World(str(tmp_path / "busy"), pools=pools), Gate()
    for _ in range(QUORUM_THREADS):
        pools.take(Reserve.QUORUM)  # nobody counts them
    assert pools.threads == 6 + QUORUM_THREADS

    def block(call, execution):
        gate.entered.release()
        gate.open.wait(60)
        raise errors.StorageError("hangs")

    async def main():
        client = new_client(port=busy.server.port)
        calls = [NodeInfo(), InstanceList(hypervisors=("fake",))]
        stuck = [asyncio.create_task(client.one(NODE, each)) for each in calls for _ in range(3)]
        try:
            for _ in stuck:
                await asyncio.to_thread(gate.entered.acquire)
            return await client.one(NODE, NodeVersion())
        finally:
            gate.open.set()
            await asyncio.gather(*stuck, return_exceptions=True)
            await client.close()

    busy.handlers |= {NodeInfo: block, InstanceList: block, NodeVersion: lambda call, execution: VERSION}
    try:
        assert asyncio.run(main()) == VERSION
    finally:
        busy.close()


def test_changing_call_to_a_busy_node_waits_for_its_turn(tmp_path, new_client, world):
    busy = World(str(tmp_path / "busy"), pools=Pools({Reserve.SCRIPTS: 1}))
    running = threading.Semaphore(1)

    def alone(call, execution):
        assert running.acquire(blocking=False)
        running.release()
        return []

    async def main():
        client = new_client(port=busy.server.port)
        try:
            return await asyncio.gather(*(client.one(NODE, delay(number)) for number in range(8)))
        finally:
            await client.close()

    busy.handlers[HooksRun] = alone
    try:
        assert asyncio.run(main()) == [()] * 8
    finally:
        busy.close()


# long calls


def _serve_tasks(world):
    world.handlers[TaskPoll] = lambda call, execution: world.requests.poll(call.request, call.wait)
    world.handlers[TaskCancel] = lambda call, execution: world.requests.cancel(call.request)


def test_long_call_is_started_and_polled_until_its_end(world, new_client):
    _serve_tasks(world)
    done = []
    world.handlers[Delay] = lambda call, execution: done.append(call.duration)
    assert run(new_client(), Delay(duration=2.5, request=RequestId("long"))) == [None]
    assert done == [2.5]


def test_what_a_long_call_tells_reaches_the_caller(world, new_client):
    _serve_tasks(world)
    is_asked = threading.Event()

    def in_two_parts(call, execution):
        execution.progress["text"] = "half"
        assert is_asked.wait(10)
        execution.progress["text"] = "all"

    def poll(call, execution):
        found = world.requests.poll(call.request, call.wait if is_asked.is_set() else 0.0)
        is_asked.set()
        return found

    world.handlers[Delay], world.handlers[TaskPoll] = in_two_parts, poll
    told = []

    async def main():
        client = new_client()
        try:
            call = Delay(duration=9, request=RequestId("long"))
            await client.one(NODE, call, progress=lambda progress: told.append(progress["text"]))
        finally:
            await client.close()

    asyncio.run(main())
    assert told == ["half", "all"]


def test_failure_of_a_long_call_is_the_error(world, new_client):
    _serve_tasks(world)
    world.handlers[Delay] = fails("script failed")
    (error,) = run(new_client(), Delay(duration=1, request=RequestId("long")))
    assert (error.kind, str(error)) == ("failed", "node node1.example.com: script failed")


def test_cancel_stops_a_long_call(world, new_client):
    _serve_tasks(world)
    entered = threading.Semaphore(0)

    def until_stopped(call, execution):
        entered.release()
        if execution.stop.wait(10):
            raise errors.NodeFailure("stopped on request")

    world.handlers[Delay] = until_stopped

    async def main():
        client = new_client()
        try:
            running = asyncio.create_task(client.one(NODE, Delay(duration=9, request=RequestId("long"))))
            await asyncio.to_thread(entered.acquire)
            await client.cancel(NODE, RequestId("long"))
            with pytest.raises(errors.RpcError, match="stopped on request"):
                await running
        finally:
            await client.close()

    asyncio.run(main())


def test_long_call_whose_daemon_forgot_it_is_begun_again(world, new_client):
    _serve_tasks(world)
    begun = []
    world.handlers[Delay] = lambda call, execution: begun.append(1)
    world.handlers[TaskPoll] = lambda call, execution: (
        {"state": "unknown"} if len(begun) < 1 or forget() else world.requests.poll(call.request, call.wait)
    )
    left = [1]

    def forget() -> bool:
        return bool(left and left.pop())

    assert run(new_client(), Delay(duration=1, request=RequestId("long"))) == [None]
    assert begun == [1]  # the second start found it done


def test_long_calls_over_the_cap_wait_and_can_be_cancelled_there(tmp_path, new_client, world):
    busy = World(str(tmp_path / "busy"), pools=Pools(long_cap=1))
    _serve_tasks(busy)
    gate = Gate()

    def block(call, execution):
        gate.entered.release()
        gate.open.wait(10)

    busy.handlers[Delay] = block

    async def main():
        client = new_client(port=busy.server.port)
        try:
            first = asyncio.create_task(client.one(NODE, Delay(duration=9, request=RequestId("first"))))
            await asyncio.to_thread(gate.entered.acquire)
            second = asyncio.create_task(client.one(NODE, Delay(duration=9, request=RequestId("second"))))
            third = asyncio.create_task(client.one(NODE, Delay(duration=9, request=RequestId("third"))))
            await asyncio.sleep(0)  # both have begun
            await client.cancel(NODE, RequestId("second"))
            with pytest.raises(errors.RpcError, match="was stopped before it began"):
                await second
            gate.open.set()
            return await asyncio.gather(first, third)
        finally:
            gate.open.set()
            await client.close()

    try:
        assert asyncio.run(main()) == [None, None]
    finally:
        busy.close()


# load


def test_many_concurrent_posts_are_all_answered(world, new_client):
    world.handlers[InstanceList] = lambda call, execution: {"guests": [], "errors": {"n": call.hypervisors[0]}}

    async def main():
        client = new_client()
        try:
            answers = await asyncio.gather(
                *(client.one(NODE, InstanceList(hypervisors=(str(number),))) for number in range(200))
            )
            return [answer.errors["n"] for answer in answers]
        finally:
            await client.close()

    assert asyncio.run(main()) == [str(number) for number in range(200)]


def test_stop_lets_the_running_call_answer(world, new_client):
    gate = Gate()

    def block(call, execution):
        gate.entered.release()
        gate.open.wait(10)
        return VERSION

    world.handlers[NodeVersion] = block

    async def main():
        client = new_client()
        try:
            running = asyncio.create_task(client.one(NODE, NodeVersion()))
            await asyncio.to_thread(gate.entered.acquire)
            stopping = asyncio.create_task(asyncio.to_thread(world.server.stop))
            gate.open.set()
            reply = await running
            await stopping
            return reply
        finally:
            await client.close()

    assert asyncio.run(main()) == VERSION


def test_address_in_use_is_a_clear_error(world):
    from ganeti.rpc.server import NodeServer

    second = NodeServer(
        SERVER.address,
        world.server.port,
        adapter=world.adapter,
        answer=world.dispatcher.answer,
        accepts=world.trust.accepts,
        threads=4,
    )
    with pytest.raises(errors.PrereqError, match=r"cannot listen on 127\.0\.0\.1 port"):
        second.start()


def test_new_server_certificate_is_shown_after_reload(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: VERSION
    renewed = certificate(SERVER)
    files.write(world.paths, paths.NODE_CERT, renewed.bundle.encode())
    world.adapter.reload()
    assert run(new_client(), NodeVersion()) == [VERSION]
    context = ssl.create_default_context(cadata=AUTHORITY.certificate)
    files.write_atomic(world.paths.local("/bundle"), MASTER_PAIR.bundle.encode())
    context.load_cert_chain(world.paths.local("/bundle"))
    with (
        socket.create_connection((SERVER.address, world.server.port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname=SERVER.node) as stream,
    ):
        shown = ssl.DER_cert_to_PEM_cert(stream.getpeercert(binary_form=True))
    assert tls.digest(shown) == tls.digest(renewed.certificate) != tls.digest(SERVER_PAIR.certificate)


def test_warm_round_trip_is_fast(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: VERSION

    async def main():
        client = new_client()
        try:
            await client.one(NODE, NodeVersion())
            begun = time.perf_counter()
            for _ in range(50):
                await client.one(NODE, NodeVersion())
            return (time.perf_counter() - begun) / 50
        finally:
            await client.close()

    assert asyncio.run(main()) < 0.05


def test_a_node_that_lost_its_power_is_noticed_by_the_connection():
    with watched_socket(socket.AF_INET) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


#: one part ends at once, the other one never
AT_ONCE = 0.3


def time_limit_of(new_client, listening, limits):
    """What is said of the peer that listens there."""
    client = new_client(port=listening.getsockname()[1], limits=limits)
    began = time.monotonic()
    (error,) = run(client, NodeVersion())
    assert isinstance(error, errors.RpcError)
    assert error.kind == "unreachable"
    assert time.monotonic() - began < NodeVersion().time.value
    return error.message


def test_a_host_that_does_not_accept_is_given_up_after_the_limit_of_the_connection(new_client):
    with socket.create_server((SERVER.address, 0), backlog=0) as listening:
        # Linux drops the first packet of those for whom there is no place in the queue
        waiting = [socket.socket() for _ in range(4)]
        try:
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(listening.getsockname())
            said = time_limit_of(new_client, listening, Limits(connect_s=AT_ONCE, handshake_s=3600))
        finally:
            for each in waiting:
                each.close()
    assert "no connection to 127.0.0.1 within 0.3 s" in said


def test_a_host_that_accepts_and_says_nothing_is_given_up_after_the_limit_of_the_handshake(new_client):
    with socket.create_server((SERVER.address, 0), backlog=5) as listening:
        said = time_limit_of(new_client, listening, Limits(connect_s=3600, handshake_s=AT_ONCE))
    assert "the TLS handshake did not end within 0.3 s" in said


def test_a_handshake_may_take_longer_than_a_connection(world, new_client):
    assert DEFAULT_LIMITS.handshake_s > DEFAULT_LIMITS.connect_s
    world.handlers[NodeVersion] = lambda call, execution: VERSION

    def answer_late(listening):
        """Passes on what comes to the real daemon, after a while."""
        with listening.accept()[0] as near, socket.create_connection((SERVER.address, world.server.port)) as far:
            threading.Event().wait(3 * AT_ONCE)
            back = threading.Thread(target=_pass_on, args=(far, near))
            back.start()
            _pass_on(near, far)
            back.join()

    with socket.create_server((SERVER.address, 0)) as listening:
        late = threading.Thread(target=answer_late, args=(listening,))
        late.start()
        limits = Limits(connect_s=AT_ONCE, handshake_s=60)
        assert run(new_client(port=listening.getsockname()[1], limits=limits), NodeVersion()) == [VERSION]
        late.join()


class Impatient(NodeVersion, frozen=True, tag="node_version"):
    """The same call, with less time for its answer than its connection takes."""

    time = SimpleNamespace(value=2 * AT_ONCE, is_long=False)


def test_the_limit_of_a_call_begins_when_it_has_a_connection(world, new_client):
    world.handlers[NodeVersion] = lambda call, execution: VERSION

    def listen_late(listening):
        with listening.accept()[0] as near, socket.create_connection((SERVER.address, world.server.port)) as far:
            threading.Event().wait(4 * AT_ONCE)
            back = threading.Thread(target=_pass_on, args=(far, near))
            back.start()
            _pass_on(near, far)
            back.join()

    with socket.create_server((SERVER.address, 0)) as listening:
        late = threading.Thread(target=listen_late, args=(listening,))
        late.start()
        found = run(new_client(port=listening.getsockname()[1]), Impatient())
        late.join()
    assert found == [VERSION]


def test_a_limit_that_is_over_stays_over():
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0) as timer:
                try:
                    await asyncio.sleep(60)
                finally:
                    Deadline(timer, 60).begin()

    asyncio.run(main())


def _pass_on(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("days_off", [-2 * tls.AUTHORITY_DAYS, 30])
def test_cluster_whose_certificates_have_all_ended_or_not_begun_can_still_be_renewed(world, new_client, days_off):
    then = NOW + days_off * 86400
    authority = tls.make_authority("cluster.example.com", now=then)
    server, master = certificate(SERVER, authority, now=then), certificate(MASTER, authority, now=then)
    stranger = certificate(
        msgspec.structs.replace(MASTER, node="node3.example.com", uuid="uuid-3"), authority, now=then
    )
    files.write(world.paths, paths.CA_CERT, authority.certificate.encode())
    files.write(world.paths, paths.NODE_CERT, server.bundle.encode())
    world.adapter.reload()
    world.trust.replace(Trust(term=1, serial=2, digests={tls.digest(master.certificate): MASTER.node}))
    world.handlers[NodeVersion] = lambda call, execution: VERSION
    assert run(new_client(master, authority.certificate), NodeVersion()) == [VERSION]
    for pair, ours in (
        (stranger, authority.certificate),
        (MASTER_PAIR, authority.certificate),
        (master, AUTHORITY.certificate),
    ):
        (error,) = run(new_client(pair, ours), NodeVersion())
        assert error.kind == "refused"
