"""The voter's rules, and the handlers of the node daemon."""

from __future__ import annotations

import os
import random
import sqlite3

import pytest

from ganeti.calls import store as calls
from ganeti.calls.base import encode
from ganeti.host.clock import SystemClock
from ganeti.node import store as handlers
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.paths import STATE_DB, Paths
from ganeti.store import db
from ganeti.store.api import Batch, Position, Write
from ganeti.store.batch import seal
from ganeti.store.db import Database
from ganeti.store.replica import Replica
from ganeti.wire import codec


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "state.db")
    db.create(path, [Write("object", "a", "1")], voters=["n0", "n1", "n2"], now=1e9)
    return path


@pytest.fixture
def replica(path):
    replica = Replica(path)
    yield replica
    replica.close()


def position(replica: Replica) -> Position:
    state = replica.state()
    return Position(state.term, state.serial, state.hash)


def append(replica: Replica, *, term: int = 1, leader: str = "n0", leader_term: int = 0, count: int = 1, **kwargs):
    """Batches that fit on what the replica has."""
    at = position(replica)
    texts, previous = [], at.hash
    for number in range(count):
        entry = seal(
            Batch(term, at.serial + 1 + number, 1e9, (Write("object", f"k{at.serial + number}", "1"),)), previous
        )
        texts.append(entry.text)
        previous = entry.hash
    arguments = {
        "previous_hash": at.hash,
        "batches": tuple(texts),
        "leader": leader,
        "leader_term": leader_term or term,
    }
    return calls.StoreAppend(**(arguments | kwargs))


def ask(replica: Replica, claim: int, claimant: str, at: Position | None = None):
    at = at or position(replica)
    return replica.promise(calls.StorePromise(claim=claim, claimant=claimant, last_term=at.term, last_serial=at.serial))


def test_append_on_top_is_accepted_and_survives(replica, path):
    reply = replica.append(append(replica, count=3, secrets={"s": "1"}))
    assert reply.accepted
    assert reply.state.serial == 4
    replica.close()
    assert Replica(path).state() == reply.state


def test_append_elsewhere_is_refused_with_the_position(replica):
    before = replica.state()
    reply = replica.append(append(replica, previous_hash="ff" * 32))
    assert (reply.accepted, reply.why_not, reply.state) == (False, "hash", before)
    gap = seal(Batch(1, 9, 1e9, ()), before.hash)
    reply = replica.append(append(replica, batches=(gap.text,)))
    assert (reply.accepted, reply.why_not, reply.state) == (False, "gap", before)


def test_append_twice_shows_by_the_position_that_it_arrived(replica):
    call = append(replica)
    state = replica.append(call).state
    again = replica.append(call)
    assert not again.accepted
    assert again.state == state


def test_promise_binds_appends_and_other_claimants(replica):
    late = append(replica, leader="n0", term=1)
    assert ask(replica, 2, "n1").granted
    assert replica.append(late).why_not == "term"
    assert ask(replica, 2, "n1").granted, "the reply may have been lost"
    refused = ask(replica, 2, "n2")
    assert not refused.granted
    assert "promised term 2 to node n1" in refused.why_not
    assert not ask(replica, 1, "n2").granted
    assert replica.append(append(replica, leader="n2", term=2)).why_not == "term"
    assert replica.append(append(replica, leader="n1", term=2)).accepted
    assert ask(replica, 3, "n2").granted


def test_append_of_a_higher_term_replaces_the_promise(replica):
    assert replica.append(append(replica, leader="n1", term=1, leader_term=5)).accepted
    state = replica.state()
    assert (state.promised_term, state.promised_to, state.term, state.seen_term) == (5, "n1", 1, 5)
    assert not ask(replica, 5, "n2").granted


def test_batches_newer_than_their_leader_are_refused(replica):
    assert replica.append(append(replica, term=7, leader_term=6, leader="n1")).why_not == "term"


def test_claimant_that_is_behind_is_refused(replica):
    old = position(replica)
    replica.append(append(replica))
    reply = ask(replica, 2, "n1", old)
    assert not reply.granted
    assert "ahead" in reply.why_not
    higher_term = Position(2, 1, "")
    assert ask(replica, 3, "n1", higher_term).granted, "the term counts first"


def test_copy_without_state_promises_nothing(tmp_path):
    replica = Replica(str(tmp_path / "state.db"))
    assert replica.state().serial == 0
    reply = ask(replica, 2, "n1", Position(1, 1, ""))
    assert not reply.granted
    assert "no copy" in reply.why_not
    replica.close()


def test_while_the_master_daemon_has_the_file_only_the_position_is_answered(replica, path):
    append_call = append(replica)
    master = Database.open(path)
    state = replica.state()
    assert state.serial == 1
    assert replica.append(append_call).why_not == "in use"
    reply = ask(replica, 2, "n1")
    assert not reply.granted
    assert "ganeti-masterd" in reply.why_not
    master.close()
    assert replica.append(append_call).accepted


def test_fetch_answers_what_follows_a_known_position(replica):
    at = position(replica)
    replica.append(append(replica, count=2, secrets={"s": "1"}))
    reply = replica.fetch(calls.StoreFetch(serial=at.serial, hash=at.hash))
    assert reply.is_known
    assert len(reply.batches) == 2
    assert reply.secrets == {"s": "1"}
    assert not replica.fetch(calls.StoreFetch(serial=at.serial, hash="other")).is_known


def test_snapshot_parts_out_of_order_are_refused(replica):
    part = calls.StoreSnapshot(
        transfer="t", part=1, is_last=True, rows=(), term=2, serial=9, hash="x", leader="n1", leader_term=2
    )
    assert replica.snapshot(part).why_not == "gap"
    assert replica.snapshot(part_of(part, part=0, leader_term=0)).why_not == "term"


def part_of(call: calls.StoreSnapshot, **changes):
    return calls.StoreSnapshot(**({name: getattr(call, name) for name in call.__struct_fields__} | changes))


def test_drop_puts_the_copy_aside_and_keeps_the_promise(replica, path):
    ask(replica, 4, "n1")
    replica.drop(calls.StoreDrop())
    state = replica.state()
    assert (state.serial, state.promised_term, state.promised_to) == (0, 4, "n1")
    aside = Database.open(path + ".dropped")
    assert aside.position.serial == 1
    aside.close()
    replica.drop(calls.StoreDrop())


def test_drop_leaves_no_secret_in_any_file(replica, path, tmp_path):
    replica.append(append(replica, count=2, secrets={"s": "a-tulip-in-the-store"}))

    def holders():
        return [file.name for file in tmp_path.iterdir() if b"a-tulip-in-the-store" in file.read_bytes()]

    assert holders()
    replica.drop(calls.StoreDrop())
    assert holders() == []
    # as after a kill in between
    with sqlite3.connect(path + ".dropped") as connection:
        connection.execute("INSERT INTO secrets VALUES ('s', 'a-tulip-in-the-store')")
    connection.close()
    replica.drop(calls.StoreDrop())
    assert holders() == []


def test_late_drop_does_nothing(replica):
    replica.append(append(replica))
    replica.drop(calls.StoreDrop(serial=1, leader="n0", leader_term=1))
    assert replica.state().serial == 2
    ask(replica, 5, "n1")
    replica.drop(calls.StoreDrop(serial=2, leader="n0", leader_term=1))
    assert replica.state().serial == 2


def test_file_that_was_put_aside_by_hand_is_noticed(replica, path):
    replica.append(append(replica))
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.rename(path + suffix, f"{path}.old{suffix}")
    assert replica.append(append(replica, leader_term=1)).state.serial == 1
    assert replica.state().serial == 1


def test_handlers_serve_every_call_of_the_store(tmp_path):
    env = NodeEnv(paths=Paths(str(tmp_path), "n1"), runner=None, clock=SystemClock(), hypervisors={}, storage={})
    os.makedirs(os.path.dirname(env.paths.local(STATE_DB)))
    db.create(env.paths.local(STATE_DB), [], voters=["n1"], now=1.0)
    replica = handlers.replica_of(env)
    assert handlers.replica_of(env) is replica
    every = [
        calls.StoreState(),
        calls.StorePromise(claim=3, claimant="n1", last_term=1, last_serial=1),
        append(replica, leader="n1", leader_term=3),
        calls.StoreFetch(serial=1, hash="x"),
        calls.StoreSnapshot(transfer="t", part=1, is_last=False, rows=(), term=1, serial=1, hash=""),
        calls.StoreDrop(),
    ]
    random.Random(1).shuffle(every)
    for call in every:
        reply = HANDLERS[type(call)](call, env, Context())
        if call.reply is not None:
            assert codec.convert(codec.to_builtins(reply), call.reply) == reply
        assert encode(call)["call"] == call.call_name
    replica.close()
