"""Datagrams as they come: signed, unsigned, old, sent again by somebody else; the files that confd reads."""

import json

import pytest

from ganeti import paths
from ganeti.confd import protocol
from ganeti.confd.daemon import Knowledge, Responder
from ganeti.confd.protocol import BadDatagramError, Kind, Request
from ganeti.confd.replays import MAX_REQUESTS, Replays
from ganeti.host import files
from ganeti.model.objects import Cluster, Group, Node
from ganeti.node.confd import ConfdWriter
from ganeti.paths import Paths
from ganeti.store import db
from ganeti.store.api import Batch, Note, Write
from ganeti.store.batch import seal
from ganeti.wire import codec

KEY = b"0123abcd\n"
NOW = 1_800_000_000.0


class Clock:
    def time(self):
        return NOW

    def monotonic(self):
        return 0.0


def _write(obj):
    return Write("object", f"{obj.kind}/{obj.uuid}", codec.pack(obj).decode())


def _objects(*, candidate=True, master="n1"):
    return [
        Cluster(uuid="c", name="cluster.example", master_node=master, master_ip="192.0.2.9", master_netdev="lo"),
        Group(uuid="g", name="default"),
        Node(uuid="n1", name="node1.example", primary_ip="192.0.2.1", secondary_ip="192.0.2.1", group="g",
             master_candidate=candidate),
    ]  # fmt: skip


@pytest.fixture
def where(tmp_path):
    found = Paths(str(tmp_path), "node1.example")
    (tmp_path / "var/lib/ganeti/state").mkdir(parents=True)
    db.create(
        found.local(paths.STATE_DB),
        [_write(obj) for obj in _objects()],
        voters=["n1"],
        now=1.0,
        note=Note(),
        ids=(-1, -1),
    )
    with open(found.local(paths.CONFD_KEY), "wb") as file:
        file.write(KEY)
    return found


def _append(where, *writes):
    copy = db.Database.open(where.local(paths.STATE_DB))
    position = copy.position
    copy.apply([seal(Batch(position.term, position.serial + 1, 2.0, writes), position.hash)])
    copy.close()


@pytest.fixture
def responder(where):
    ConfdWriter(where, "n1").update()
    knowledge = Knowledge(where)
    knowledge.reload()
    return Responder(knowledge, Clock(), is_cut_off=lambda peer: False)


def _datagram(*, kind=Kind.MASTER, query=None, salt=str(int(NOW)), rsalt="r1", key=KEY):
    return protocol.pack(Request(protocol=1, type=kind, query=query, rsalt=rsalt), salt, key)


def _answer(responder, datagram, source="192.0.2.7"):
    raw = responder.answer(datagram, source)
    return protocol.read_reply(raw, KEY, rsalt="r1") if raw else None


def test_a_signed_request_is_answered_and_the_answer_is_signed(responder):
    reply = _answer(responder, _datagram())
    assert (reply.status, reply.answer) == (0, "node1.example")
    raw = responder.answer(_datagram(), "192.0.2.7")
    envelope = json.loads(raw[4:])
    assert (raw[:4], envelope["salt"], len(envelope["hmac"])) == (b"plj0", "r1", 40)
    with pytest.raises(BadDatagramError, match="signature"):
        protocol.read_reply(raw, b"another", rsalt="r1")
    with pytest.raises(BadDatagramError, match="another request"):
        protocol.read_reply(raw, KEY, rsalt="r2")


def test_a_signature_in_capitals_is_as_good(responder):
    envelope = json.loads(_datagram()[4:])
    envelope["hmac"] = envelope["hmac"].upper()
    assert _answer(responder, b"plj0" + json.dumps(envelope).encode()).answer == "node1.example"


@pytest.mark.parametrize(
    "untrusted",
    [
        b"",
        b"plj0",
        b"plj0{}",
        b"xxxx" + _datagram()[4:],
        b"plj0\xff\xfe",
        b"plj0" + b"[" * 50_000,
        b"plj0" + json.dumps({"msg": "{}", "salt": "1800000000", "hmac": "ä" * 40}).encode(),
        _datagram(key=b"wrong"),
        _datagram()[:-3],
        _datagram().replace(b'"type\\":3', b'"type\\":4'),
        _datagram(salt=str(int(NOW) - 301)),
        _datagram(salt=str(int(NOW) + 301)),
        _datagram(salt="nan"),
        _datagram(salt="now"),
        _datagram(rsalt="r" * 300),
        _datagram() + b" " * 70_000,
    ],
)
def test_what_is_no_signed_request_of_now_is_dropped(responder, untrusted):
    assert responder.answer(untrusted, "192.0.2.7") == b""


def test_a_signed_message_that_is_no_request_is_dropped(responder):
    for text in ("[]", "nonsense", '{"protocol":1}', '{"protocol":1,"type":"x","rsalt":"r1"}'):
        envelope = {"msg": text, "salt": str(int(NOW)), "hmac": protocol.sign(KEY, str(int(NOW)), text)}
        assert responder.answer(b"plj0" + json.dumps(envelope).encode(), "192.0.2.7") == b""


def test_a_request_that_somebody_else_sends_again_is_dropped(responder):
    assert _answer(responder, _datagram(), "192.0.2.7").status == 0
    assert _answer(responder, _datagram(), "192.0.2.8") is None
    assert _answer(responder, _datagram(), "192.0.2.7").status == 0  # its answer was lost


def test_replays_are_remembered_for_a_while_and_in_bounds():
    replays = Replays(keep_s=10)
    assert not replays.is_replay("a", "one", now=0.0)
    assert replays.is_replay("a", "two", now=9.0)
    assert not replays.is_replay("a", "two", now=11.0)
    for number in range(MAX_REQUESTS + 10):
        replays.is_replay(str(number), "one", now=12.0)
    assert not replays.is_replay("0", "two", now=12.0)


def test_an_answer_that_is_too_long_is_an_error(where):
    nodes = [
        Node(uuid=f"n{i}", name="x" * 200 + str(i), primary_ip="192.0.2.1", secondary_ip="", group="g")
        for i in range(2, 400)
    ]
    _append(where, *(_write(node) for node in nodes))
    ConfdWriter(where, "n1").update()
    knowledge = Knowledge(where)
    knowledge.reload()
    responder = Responder(knowledge, Clock(), is_cut_off=lambda peer: False)
    reply = _answer(responder, _datagram(kind=Kind.CONFIG, query=""))
    assert (reply.status, reply.answer) == (1, 1)


# The files


def _serial(where):
    return json.loads(files.read_text(where.local(paths.CONFD_DATA)))["cluster"]["serial_no"]


def test_the_file_follows_the_configuration_and_not_the_jobs(where):
    writer = ConfdWriter(where, "n1")
    assert writer.update()
    first = _serial(where)
    assert not writer.update()
    _append(where, Write("job", "000000000001", "{}"))
    assert not writer.update()
    assert _serial(where) == first
    _append(where, *(_write(obj) for obj in _objects(master="n2")))
    assert writer.update()
    assert _serial(where) == first + 2


def test_a_second_writer_finds_the_same_serial(where):
    ConfdWriter(where, "n1").update()
    first = _serial(where)
    _append(where, Write("job", "000000000001", "{}"))
    ConfdWriter(where, "n1").update()
    assert _serial(where) == first


def test_a_node_that_is_no_candidate_any_more_is_silent(where, responder):
    writer = ConfdWriter(where, "n1")
    writer.update()
    _append(where, *(_write(obj) for obj in _objects(candidate=False)))
    assert writer.update()
    knowledge = Knowledge(where)
    knowledge.reload()
    assert knowledge.answers is None
    assert Responder(knowledge, Clock(), is_cut_off=lambda peer: False).answer(_datagram(), "192.0.2.7") == b""


def test_without_a_key_nothing_is_answered(where):
    ConfdWriter(where, "n1").update()
    files.write_atomic(where.local(paths.CONFD_KEY), b"")
    knowledge = Knowledge(where)
    knowledge.reload()
    responder = Responder(knowledge, Clock(), is_cut_off=lambda peer: False)
    assert responder.answer(_datagram(key=b""), "192.0.2.7") == b""


def test_a_broken_file_silences_until_it_is_written_anew(where):
    knowledge = Knowledge(where)
    with open(where.local(paths.CONFD_DATA), "wb") as file:
        file.write(b'{"cluster": 7')
    knowledge.reload()
    assert knowledge.answers is None
    ConfdWriter(where, "n1").update()
    knowledge.reload()
    assert knowledge.answers is not None
