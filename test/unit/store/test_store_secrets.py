"""What was a secret is nowhere in the files once it was deleted."""

from __future__ import annotations

from pathlib import Path

from ganeti.store import sql
from ganeti.store.api import Batch, Note, Write
from ganeti.store.batch import seal
from ganeti.store.db import Database, create

VALUE = "a-tulip-in-the-store"


def followed(database: Database, secrets: dict[str, str | None]) -> None:
    position = database.position
    batch = Batch(
        term=1,
        serial=position.serial + 1,
        time=1.0,
        writes=(Write("meta", "x", str(position.serial)),),
        notes=(Note(),),
    )
    database.apply([seal(batch, position.hash)], secrets=secrets, is_leader=True)


def on_disk(directory: Path) -> bool:
    return any(VALUE.encode() in path.read_bytes() for path in directory.iterdir() if path.is_file())


def opened(directory: Path) -> Database:
    path = str(directory / "state.db")
    create(path, [], voters=["n1"], now=1.0)
    return Database.open(path)


def test_deleted_secret_when_applied_then_not_in_file_nor_log(tmp_path: Path) -> None:
    database = opened(tmp_path)
    for number in range(50):
        followed(database, {f"s{number}": VALUE * 100})
    assert on_disk(tmp_path)
    followed(database, {f"s{number}": None for number in range(50)})
    assert not on_disk(tmp_path)
    database.close()


def test_deleted_secret_when_somebody_reads_then_it_goes_with_the_next_change(tmp_path: Path) -> None:
    database = opened(tmp_path)
    followed(database, {"s": VALUE})
    reader = sql.connect_read_only(database.path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM rows").fetchone()
    followed(database, {"s": None})
    assert on_disk(tmp_path)
    reader.close()
    followed(database, {})
    assert not on_disk(tmp_path)
    database.close()
