"""State files that somebody removes, replaces or damages while they are in use."""

from __future__ import annotations

import os
import shutil

import pytest
from unit.store.world import NOTE, World, put, run

from ganeti import errors
from ganeti.calls import store as calls
from ganeti.store import db, reading, sql
from ganeti.store.api import Batch, Write
from ganeti.store.batch import seal
from ganeti.store.db import Database
from ganeti.store.replica import Replica
from ganeti.store.statements import Promise


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "state.db")
    db.create(path, [Write("object", "a", "1")], voters=["n0", "n1", "n2"], now=1e9)
    return path


@pytest.fixture
def database(path):
    database = Database.open(path)
    yield database
    database.close()


def following(database: Database):
    at = database.position
    return seal(Batch(max(at.term, 1), at.serial + 1, 1e9, (Write("object", "b", "2"),)), at.hash)


def _replace(path):
    """The way an editor or a restore does it."""
    shutil.copy(path, path + ".new")
    os.replace(path + ".new", path)


@pytest.mark.parametrize(
    ("what", "act"),
    [
        ("state.db", os.unlink),
        ("state.db", lambda path: os.rename(path, path + ".away")),
        ("state.db", _replace),
        ("state.db-wal", os.unlink),
    ],
    ids=["unlinked", "moved", "replaced", "log unlinked"],
)
def test_nothing_is_written_to_a_file_that_is_gone(database, path, what, act):
    database.apply([following(database)])
    before = database.position
    act(os.path.join(os.path.dirname(path), what))
    with pytest.raises(sql.DamagedError, match="removed or replaced while it was in use") as caught:
        database.apply([following(database)])
    assert what in caught.value.message
    assert database.position == before
    with pytest.raises(sql.DamagedError):
        database.keep_promise(Promise(9, "n9"))


def test_a_file_removed_during_the_transaction_is_not_acknowledged(database, path):
    class Secrets(dict):
        def items(self):
            os.unlink(path)
            return super().items()

    with pytest.raises(sql.DamagedError, match="removed or replaced"):
        database.apply([following(database)], secrets=Secrets(s="1"))


def test_the_masters_content_is_rescued_and_the_old_log_is_not_taken_for_that_of_the_next_file(path):
    database = Database.open(path)
    database.apply([following(database)], is_leader=True)
    position = database.position
    shutil.copy(path, path + ".backup")  # without the log: an old state
    os.replace(path + ".backup", path)
    database.close()
    assert reading.read_all(path + ".rescued").position == position
    assert os.path.exists(path + "-wal.stale")
    opened = Database.open(path)
    assert opened.position.serial < position.serial
    opened.close()


def test_a_candidate_without_its_file_acknowledges_nothing_and_is_a_voter_without_copy(path):
    replica = Replica(path)
    at = replica.state()
    first = seal(Batch(1, at.serial + 1, 1e9, (Write("object", "b", "2"),)), at.hash)
    second = seal(Batch(1, at.serial + 2, 1e9, (Write("object", "c", "3"),)), first.hash)

    def append(previous, text):
        return replica.append(calls.StoreAppend(previous_hash=previous, batches=(text,), leader="n0", leader_term=1))

    assert append(at.hash, first.text).accepted
    os.unlink(path)
    reply = append(first.hash, second.text)
    assert (reply.accepted, reply.state.serial) == (False, 0)
    ask = calls.StorePromise(claim=5, claimant="n1", last_term=9, last_serial=99)
    assert replica.promise(ask).why_not == "it has no copy of the state"
    replica.close()


def test_a_candidate_whose_file_was_removed_gets_a_snapshot(tmp_path):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await leader.commit(put("a"), NOTE)
        await world.until_equal(world.nodes)
        os.unlink(world.path("n1"))
        world.down.add("n2")
        await leader.commit(put("b"), NOTE)
        assert world.position("n1") == world.position("n0")
        world.down.discard("n2")
        await world.until_equal(world.nodes)
        await world.close()

    run(scenario(World(str(tmp_path))))


def test_a_master_whose_file_was_removed_acknowledges_nothing_more_and_says_why(tmp_path):
    async def scenario(world: World) -> None:
        leader = await world.master("n0")
        await leader.commit(put("a"), NOTE)
        os.unlink(world.path("n0"))
        with pytest.raises(errors.GanetiError, match="removed or replaced while it was in use"):
            await leader.commit(put("b"), NOTE)
        assert leader.lost.is_set()
        with pytest.raises(errors.GanetiError, match="removed or replaced"):
            leader.check_quorum()
        with pytest.raises(errors.GanetiError, match="removed or replaced"):
            await leader.commit(put("c"), NOTE)
        await world.stop("n0")
        successor = await world.master(max("n1", "n2", key=world.position))
        assert ("a", "x") in await successor.rows("object")
        await world.close()

    run(scenario(World(str(tmp_path))))


def test_check_of_a_copy_names_its_damage(path):
    database = Database.open(path)
    for _ in range(3):
        entry = following(database)
        database.apply([entry], secrets={f"s{n}": "x" * 500 for n in range(100)})
    database.close()
    replica = Replica(path)
    assert replica.check().problem == ""
    with open(path, "r+b") as file:
        # not the first pages: position and promise can still be read
        file.seek(os.path.getsize(path) - 2 * 4096)
        file.write(b"\xa5" * 8192)
    replica.state()
    problem = replica.check().problem
    assert path in problem
    assert "damaged" in problem
    replica.close()


def test_a_claim_against_damaged_copies_names_them_and_starts_no_daemons(tmp_path):
    async def scenario(world: World) -> None:
        for node in ("n1", "n2"):
            world.replicas[node].close()
            os.unlink(world.path(node))
        with pytest.raises(errors.QuorumError, match=r"n1\.example\.com \(has no copy of the state\)") as caught:
            await world.master("n0")
        assert "start the node daemons" not in caught.value.hint
        assert "gnt-cluster master-failover --no-voting" in caught.value.hint
        world.down.add("n2")
        with pytest.raises(errors.QuorumError) as caught:
            await world.master("n0")
        assert "start the node daemons of n2.example.com;" in caught.value.hint
        await world.close()

    run(scenario(World(str(tmp_path))))
