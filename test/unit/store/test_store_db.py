"""One copy of the state on disk."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from ganeti import errors
from ganeti.host import faults
from ganeti.store import db, reading, sql
from ganeti.store.api import Batch, Note, Position, Write
from ganeti.store.batch import NOWHERE, chain, seal, unseal, unseal_all
from ganeti.store.db import Database, Retention
from ganeti.store.lock import InUseError
from ganeti.store.statements import Promise


def entry_after(position: Position, *writes: Write, term: int = 0, time: float = 1e9):
    return seal(Batch(term or max(position.term, 1), position.serial + 1, time, writes), position.hash)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state.db")


@pytest.fixture
def database(path):
    database = Database.open(path, owner="the test")
    yield database
    database.close()


def add(database: Database, *writes: Write, **kwargs) -> tuple[Write, ...]:
    return database.apply([entry_after(database.position, *writes)], **kwargs)


# Batches


def test_hash_depends_on_everything_before_and_in_the_batch():
    entry = entry_after(Position(1, 1, "ab"), Write("object", "a", "1"))
    assert entry.hash == chain("ab", 1, 2, entry.text)
    assert unseal(entry.text, "ab") == entry
    others = [chain("ac", 1, 2, entry.text), chain("ab", 2, 2, entry.text), chain("ab", 1, 3, entry.text)]
    assert len({entry.hash, *others, chain("ab", 1, 2, entry.text + " ")}) == 5


def test_a_batch_that_cannot_be_read_is_refused():
    with pytest.raises(errors.StoreError, match="cannot be read"):
        unseal('{"term":1}', "")
    with pytest.raises(errors.StoreError, match="unknown tables: strange"):
        unseal(entry_after(NOWHERE, Write("strange", "a", "1")).text, "")


# Writing and reading


def test_applied_batches_are_rows_and_history_and_stay(database, path):
    add(database, Write("object", "a", "1"), Write("object", "b", "2"), Write("job", "a", "3"))
    add(database, Write("object", "a", None), Write("archive", "x", "big"))
    position = database.position
    database.close()
    again = Database.open(path, owner="again")
    assert again.position == position
    assert again.rows("object") == [("b", "2")]
    assert again.all_rows() == [("job", "a", "3"), ("object", "b", "2")]
    assert again.hash_at(2) == position.hash
    assert again.hash_at(0) == ""
    assert again.hash_at(3) is None
    assert [batch.serial for batch in again.batches(0, 10)] == [1, 2]
    assert unseal_all(tuple(again.history(0)), "")[-1].position == position
    again.close()


def test_rows_by_prefix_are_ordered_by_key(database):
    add(database, *(Write("object", key, key) for key in ("node/b", "node/a", "nodes", "n", "node/é")))
    assert [key for key, _ in database.rows("object", prefix="node/")] == ["node/a", "node/b", "node/é"]


def test_apply_replies_the_old_values(database):
    add(database, Write("object", "a", "1"))
    old = add(database, Write("object", "a", "2"), Write("object", "b", "1"), Write("object", "a", None))
    assert old == (Write("object", "a", "1"), Write("object", "b", None), Write("object", "a", "2"))


def test_a_batch_off_the_chain_is_not_applied(database):
    add(database)
    position = database.position
    wrong = [
        seal(Batch(1, 2, 0.0, ()), "other"),
        seal(Batch(1, 3, 0.0, ()), position.hash),
        seal(Batch(0, 2, 0.0, ()), position.hash),
    ]
    for entry in wrong:
        with pytest.raises(ValueError, match="is not next after"):
            database.apply([entry])
    assert database.position == position
    assert len(database.history(0)) == 1


def test_history_replies_by_size_but_at_least_one(database):
    for _ in range(5):
        add(database, Write("object", "a", "x" * 1000))
    assert len(database.history(0, max_bytes=10)) == 1
    assert len(database.history(0, max_bytes=2500)) == 2
    assert len(database.history(1, limit=3)) == 3


def test_secrets_change_with_their_batch_and_are_not_in_it(database):
    add(database, secrets={"a": "1", "b": "2"})
    add(database, secrets={"a": None})
    assert database.secrets() == {"b": "2"}
    assert database.secret("a") is None
    assert not any("secret" in text or '"2"' in text for text in database.history(0))
    add(database, secrets={"c": "3"}, all_secrets=True)
    assert database.secrets() == {"c": "3"}


@pytest.mark.parametrize("strange", [1.0, 2e9], ids=["a clock that was slow", "a clock that was fast"])
def test_history_has_no_hole_when_a_clock_was_wrong_for_a_while(path, strange):
    database = Database.open(path, owner="the test", retention=Retention(batches=10**6, age_s=1000.0))
    for number in range(3 * db.PRUNE_EVERY):
        time = strange if number in (5, db.PRUNE_EVERY - 2) else 1e9 + number
        database.apply([entry_after(database.position, Write("object", "a", str(number)), time=time)])
    position = database.position
    database.close()
    assert reading.read_all(path, batches=10**6).position == position
    Database.open(path, owner="again").close()


def test_history_is_pruned_by_count_and_age_and_keeps_the_last(path):
    database = Database.open(path, owner="the test", retention=Retention(batches=50, age_s=100.0))
    entries, position = [], NOWHERE
    for number in range(db.PRUNE_EVERY):
        entries.append(entry_after(position, time=1e9 + number))
        position = entries[-1].position
    database.apply(entries)
    assert [batch.serial for batch in database.batches(0, 1000)] == list(range(207, 257))
    assert database.hash_at(0) is None
    entries = []
    for _ in range(db.PRUNE_EVERY):
        entries.append(entry_after(position, time=2e9))
        position = entries[-1].position
    database.apply(entries)
    database.close()
    again = Database.open(path, owner="again", retention=Retention(batches=50, age_s=100.0))
    assert len(again.history(0)) == 50
    again.close()


def test_promise_and_leadership_stay(database, path):
    database.keep_promise(Promise(7, "n1"))
    add(database, is_leader=True)
    database.close()
    again = Database.open(path, owner="again")
    assert again.promise == Promise(7, "n1")
    assert again.led == 1
    assert reading.look(path) == (again.position, Promise(7, "n1"))
    again.close()


# Snapshots


def test_snapshot_makes_an_equal_copy_in_parts(database, tmp_path):
    for number in range(20):
        add(database, Write("object", f"k{number}", "x" * 100), secrets={f"s{number}": "v"})
    os.mkdir(tmp_path / "b")
    other = Database.open(str(tmp_path / "b" / "state.db"), owner="other")
    add(other, Write("object", "old", "1"), secrets={"old": "1"})
    snapshot = reading.Snapshot(database.path)
    add(database, Write("object", "later", "1"))
    part = 0
    while rows := snapshot.part(500):
        other.stage(part, rows)
        part += 1
    assert part > 5
    assert other.rows("object") == [("old", "1")], "nothing changes before the end"
    other.replace(snapshot.position, secrets=snapshot.secrets, promise=Promise(3, "n0"))
    snapshot.close()
    assert other.position == snapshot.position
    assert other.secrets() == {f"s{number}": "v" for number in range(20)}
    assert len(other.rows("object")) == 20
    assert other.history(0) == database.history(0)[:-1]
    assert other.promise == Promise(3, "n0")
    other.apply(unseal_all(tuple(database.history(20)), other.position.hash))
    assert other.all_rows() == database.all_rows()
    other.close()


def test_incomplete_snapshot_is_refused_and_changes_nothing(database):
    add(database, Write("object", "a", "1"))
    before = database.position
    database.stage(0, [("object", "b", "2")])
    with pytest.raises(errors.StoreError, match="it should end in"):
        database.replace(Position(2, 9, "ff"), secrets={}, promise=Promise(2, "n0"))
    assert database.position == before
    assert database.rows("object") == [("a", "1")]


# Trouble


def test_second_writer_is_told_who_holds_the_state(database, path):
    with pytest.raises(InUseError, match=rf"the test \(process {os.getpid()}\)"):
        Database.open(path, owner="another", wait_s=0)
    assert reading.look(path)[0] == database.position, "looking is free"
    database.release()
    with pytest.raises(ValueError, match="without the writer lock"):
        add(database)
    database.hold()
    add(database)


def test_hold_sees_what_another_process_wrote(database, path):
    database.release()
    other = Database.open(path, owner="other")
    add(other, Write("object", "a", "1"))
    position = other.position
    other.close()
    database.hold()
    assert database.position == position


def test_full_disk_says_so_and_applies_nothing(path):
    database = Database.open(path, owner="the test", max_pages=30)
    add(database, Write("object", "a", "1"))
    position = database.position
    with pytest.raises(sql.DiskFullError, match=r"no space left .*state\.db"):
        add(database, *(Write("object", f"k{n}", "x" * 1000) for n in range(500)), secrets={"s": "1"})
    assert database.position == position
    assert database.rows("object") == [("a", "1")]
    assert database.secrets() == {}
    database.limit_pages(0)
    add(database, Write("object", "b", "1"))
    database.close()


def test_a_file_of_something_else_is_refused(path):
    with open(path, "w") as file:
        file.write("this is no database at all, but long enough to look like one\n" * 50)
    with pytest.raises(sql.DamagedError, match=r"damaged.*state\.db-wal.*aside"):
        Database.open(path, owner="the test")
    os.unlink(path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE strange (a)")
    connection.close()
    with pytest.raises(sql.DamagedError, match="something else"):
        Database.open(path, owner="the test")
    with pytest.raises(sql.DamagedError):
        reading.look(path)
    os.unlink(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id = {sql.APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(errors.StoreError, match="format 99"):
        Database.open(path, owner="the test")


def test_overwritten_pages_are_found_at_the_start(database, path):
    for number in range(20):
        add(database, Write("object", f"k{number}", "x" * 3000))
    database.close()
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(sql.DamagedError, match="gnt-cluster master-failover"):
        Database.open(path, owner="the test")


def test_changed_last_batch_is_found_at_the_start(database, path):
    add(database, Write("object", "a", "1"))
    add(database, Write("object", "a", "2"))
    database.close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE history SET batch = replace(batch, '\"2\"', '\"3\"')")
    connection.commit()
    connection.close()
    with pytest.raises(sql.DamagedError, match="batch 2 does not match its hash"):
        Database.open(path, owner="the test")


def test_missing_directory_says_what_to_check(tmp_path):
    with pytest.raises(errors.StoreError, match="check the directory"):
        Database.open(str(tmp_path / "nowhere" / "state.db"), owner="the test")


# The first state


def test_create_makes_the_first_batch(path):
    note = Note(actor="admin", reason="init")
    position = db.create(path, [Write("object", "a", "1")], voters=["n0"], now=5.0, note=note, secrets={"s": "1"})
    assert (position.term, position.serial) == (1, 1)
    database = Database.open(path)
    assert database.voters() == ("n0",)
    assert database.rows("object") == [("a", "1")]
    assert database.secret("s") == "1"
    assert database.batches(0, 10)[0].notes == (note,)
    assert database.promise == Promise(1, "n0")
    database.close()
    with pytest.raises(errors.StoreError, match="there is a state already"):
        db.create(path, [], voters=["n0"], now=5.0)


# Crashes

CRASHES = """
import os, sys
from ganeti.host import faults
from ganeti.store import db, reading
from ganeti.store.api import Batch, Write
from ganeti.store.batch import seal
from ganeti.store.statements import Promise
database = db.Database.open(sys.argv[1], owner="the victim")

source = reading.Snapshot(sys.argv[2])
faults.arm(lambda point: os.kill(os.getpid(), 9) if point == sys.argv[3] else None)
position = database.position
entry = seal(Batch(1, position.serial + 1, 1.0, (Write("object", "b", "2"),)), position.hash)
database.apply([entry], secrets={"s": "1"})
database.keep_promise(Promise(9, "n9"))
database.stage(0, source.part(1 << 30))
database.replace(source.position, secrets={}, promise=Promise(10, "n8"))
"""


@pytest.mark.parametrize(
    ("point", "serial", "promised"),
    [
        (db.BEFORE_APPLY, 1, 0), (db.AFTER_APPLY, 2, 0),
        (db.BEFORE_PROMISE, 2, 0), (db.AFTER_PROMISE, 2, 9),
        (db.BEFORE_STAGE, 2, 9), (db.AFTER_STAGE, 2, 9),
        (db.BEFORE_REPLACE, 2, 9), (db.AFTER_REPLACE, 3, 10),
    ],
)  # fmt: skip
def test_killed_at_a_durable_step_leaves_before_or_after(tmp_path, point: faults.Point, serial: int, promised: int):
    os.mkdir(tmp_path / "source")
    source = Database.open(str(tmp_path / "source" / "state.db"), owner="the source")
    for number in range(3):
        add(source, Write("object", f"k{number}", "1"))
    source.close()
    path = str(tmp_path / "state.db")
    victim = Database.open(path, owner="the test")
    add(victim, Write("object", "a", "1"))
    victim.close()
    done = subprocess.run([sys.executable, "-c", CRASHES, path, source.path, point], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    again = Database.open(path, owner="the test")
    assert (again.position.serial, again.promise.term) == (serial, promised)
    keys = {1: ["a"], 2: ["a", "b"], 3: ["k0", "k1", "k2"]}[serial]
    assert [key for key, _ in again.rows("object")] == keys
    assert again.secrets() == ({"s": "1"} if serial == 2 else {})
    assert len(again.history(0)) == serial
    again.close()
