"""Mirrors and plain volumes of virtual nodes: two halves, what they share, and what happens when they are parted."""

import os
import shutil
import threading

import msgspec
import pytest

from ganeti import errors
from ganeti.host.run import HostRunner
from ganeti.model.disks import snapshot_of
from ganeti.model.objects import Disk, DiskTemplate, Link
from ganeti.paths import FAKE_DRBD_DIR, FAKE_LVM_DIR, Paths
from ganeti.storage import registry
from ganeti.storage.base import NotOurs
from ganeti.storage.drbd8.virtual import POWERED_OFF
from ganeti.testing.clock import SteppedClock

OWNER = "i-1"
SHARED = "srv/ganeti/shared-file-storage"


class Watch:
    def __init__(self):
        self.stop = threading.Event()
        self.progress = {}


class Pair:
    """Two virtual nodes and a disk between them."""

    def __init__(self, directory, size=8):
        self.clock = SteppedClock(1000.0)
        (directory / "shared").mkdir()
        self.paths, self.drivers = [], []
        for name in ("one", "two", "three"):
            (directory / name / "srv" / "ganeti").mkdir(parents=True)
            (directory / name / SHARED).symlink_to(directory / "shared")
            paths = Paths(str(directory / name), name)
            self.paths.append(paths)
            self.drivers.append(registry.drivers(paths, HostRunner(paths), self.clock))
        self.mirrors = [each[DiskTemplate.DRBD] for each in self.drivers]
        self.disk = mirror(size)

    def end(self, place, disk=None, peer=None):
        """The disk as that node is told."""
        addresses = ("192.0.2.1", "192.0.2.2", "192.0.2.3")
        other = peer if peer is not None else 1 - place
        link = Link(
            minor=place,
            peer_minor=other,
            port=11000,
            secret="s",
            address=addresses[place],
            peer_address=addresses[other],
        )
        return msgspec.structs.replace(disk or self.disk, link=link)

    def create(self):
        """In sync, primary at the first."""
        for place in (0, 1):
            self.mirrors[place].create(self.end(place), OWNER)
        for place in (0, 1):
            self.mirrors[place].assemble(self.end(place), OWNER)
        self.mirrors[0].promote(self.end(0), OWNER, force=True)
        self.clock.sleep(10)

    def status(self, place):
        return self.mirrors[place].status(self.end(place), OWNER)

    def local(self, place, what="data"):
        return self.paths[place].local(f"{FAKE_LVM_DIR.path}/xenvg/m_{what}")

    def write(self, place, text):
        with open(self.local(place), "r+b") as file:
            file.write(text)

    def read(self, place, length=5):
        with open(self.local(place), "rb") as file:
            return file.read(length)

    def power(self, place, *, on):
        mark = self.paths[place].root + POWERED_OFF
        if on:
            os.unlink(mark)
            shutil.rmtree(self.paths[place].local(FAKE_DRBD_DIR))  # what the kernel had in memory
        else:
            with open(mark, "w"):
                pass


def mirror(size=8):
    return Disk(
        uuid="m",
        template=DiskTemplate.DRBD,
        size=size,
        logical_id=("a", "b", 11000, 0, 1, "s"),
        children=(
            Disk(uuid="m-d", template=DiskTemplate.PLAIN, size=size, logical_id=("xenvg", "m_data")),
            Disk(uuid="m-m", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "m_meta")),
        ),
    )


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path)


def test_a_new_mirror_is_filled_from_its_primary_and_shares_what_is_written(pair):
    pair.create()
    assert (pair.status(0).role, pair.status(0).connection) == ("Primary", "Connected")
    assert not pair.status(0).is_degraded
    assert not pair.status(1).is_degraded
    pair.write(0, b"hello")
    assert pair.read(1) == b"hello"


def test_a_large_one_takes_its_time_and_tells_it(tmp_path):
    pair = Pair(tmp_path, size=2048)
    pair.create()
    pair.status(0)
    pair.mirrors[0].disconnect(pair.end(0), OWNER)
    pair.write(0, b"later")
    pair.mirrors[0].assemble(pair.end(0), OWNER)
    begun = pair.status(0)
    assert (begun.connection, begun.peer_disk, begun.percent) == ("SyncSource", "Inconsistent", 0.0)
    pair.clock.sleep(0.5)
    assert 10 < pair.status(1).percent < 50
    assert pair.status(1).is_degraded
    pair.mirrors[0].pause(pair.end(0), OWNER, paused=True)
    pair.clock.sleep(100)
    assert pair.status(1).connection == "PausedSyncT"
    pair.mirrors[0].pause(pair.end(0), OWNER, paused=False)
    pair.clock.sleep(100)
    assert pair.status(1).connection == "Connected"
    assert pair.read(1) == b"later"


def test_two_primaries_only_when_both_allow_it(pair):
    pair.create()
    with pytest.raises(errors.StorageError, match="Multiple primaries"):
        pair.mirrors[1].promote(pair.end(1), OWNER, force=False)
    for place in (0, 1):
        pair.mirrors[place].two_primaries(pair.end(place), OWNER, allowed=True)
    pair.mirrors[1].promote(pair.end(1), OWNER, force=False)
    with pytest.raises(errors.StorageError, match="both halves are primary"):
        pair.mirrors[0].two_primaries(pair.end(0), OWNER, allowed=False)
    pair.mirrors[0].demote(pair.end(0), OWNER)
    for place in (0, 1):
        pair.mirrors[place].two_primaries(pair.end(place), OWNER, allowed=False)
    assert (pair.status(0).role, pair.status(1).role) == ("Secondary", "Primary")


def test_a_survivor_goes_on_alone_and_fills_the_other_when_it_is_back(pair):
    pair.create()
    pair.write(0, b"first")
    pair.power(0, on=False)
    assert pair.status(1).connection == "WFConnection"
    pair.mirrors[1].open(pair.end(1), OWNER)
    pair.status(1)
    pair.write(1, b"after")
    assert pair.read(0) == b"first"
    pair.power(0, on=True)
    pair.mirrors[0].demote(pair.end(0), OWNER)
    pair.mirrors[0].close(pair.end(0), OWNER)
    pair.mirrors[0].assemble(pair.end(0), OWNER)
    pair.clock.sleep(10)
    assert not pair.status(1).is_degraded
    assert pair.read(0) == b"after"


def test_a_split_brain_leaves_both_alone_and_throws_nothing_away(pair):
    pair.create()
    for place in (0, 1):
        pair.mirrors[place].disconnect(pair.end(place), OWNER)
    for place, text in ((0, b"zero!"), (1, b"one!!")):
        pair.mirrors[place].promote(pair.end(place), OWNER, force=False)
        pair.status(place)
        pair.write(place, text)
        pair.mirrors[place].demote(pair.end(place), OWNER)
    for place in (0, 1):
        pair.mirrors[place].assemble(pair.end(place), OWNER)
    pair.clock.sleep(100)
    for place in (0, 1):
        assert "split brain" in pair.status(place).problem
    assert (pair.read(0), pair.read(1)) == (b"zero!", b"one!!")


def test_a_half_that_was_never_filled_cannot_become_primary(pair):
    for place in (0, 1):
        pair.mirrors[place].create(pair.end(place), OWNER)
        pair.mirrors[place].assemble(pair.end(place), OWNER)
    with pytest.raises(errors.StorageError, match="Need access to UpToDate data"):
        pair.mirrors[0].promote(pair.end(0), OWNER, force=False)


def test_new_volumes_are_filled_from_the_other_half(pair):
    pair.create()
    pair.write(0, b"hello")
    lower = pair.drivers[1][DiskTemplate.PLAIN]
    pair.mirrors[1].detach(pair.end(1), OWNER)
    assert pair.status(1).disk == "Diskless"
    with pytest.raises(errors.StorageError, match="Need access"):
        pair.mirrors[0].detach(pair.end(0), OWNER)
    for child in pair.disk.children:
        lower.remove(child, OWNER)
        lower.create(child, OWNER)
    pair.mirrors[1].attach(pair.end(1), OWNER)
    pair.clock.sleep(10)
    assert not pair.status(0).is_degraded
    assert pair.read(1) == b"hello"


def test_a_mirror_moves_to_a_third_node(pair):
    pair.create()
    pair.write(0, b"hello")
    third = pair.end(2, peer=0)
    pair.mirrors[2].create(third, OWNER)
    pair.mirrors[1].close(pair.end(1), OWNER)
    pair.mirrors[2].assemble(third, OWNER)
    pair.mirrors[0].assemble(pair.end(0, peer=2), OWNER)
    pair.clock.sleep(10)
    assert not pair.mirrors[2].status(third, OWNER).is_degraded
    assert pair.read(2) == b"hello"
    pair.mirrors[1].remove(pair.end(1), OWNER)
    assert pair.mirrors[1].volumes() == ()
    assert pair.mirrors[1].minors() == ()


def test_growing_is_done_below_first(pair):
    pair.create()
    for place in (0, 1):
        assert pair.mirrors[place].grow(pair.end(place), OWNER, size=12).size == 12
    pair.mirrors[0].resize(pair.end(0), OWNER, size=12)
    assert os.stat(pair.local(1)).st_size == 12 << 20
    bigger = msgspec.structs.replace(pair.disk, size=12)
    assert pair.mirrors[0].info(pair.end(0, bigger), OWNER).size == 12


def test_snapshots_are_plain_volumes_of_the_data(pair):
    pair.create()
    pair.write(0, b"hello")
    kept = snapshot_of(pair.disk, "d-9")
    lower = pair.drivers[0][DiskTemplate.PLAIN]
    pair.mirrors[0].snapshot(pair.end(0), kept, OWNER, Watch())
    pair.write(0, b"later")
    with open(pair.paths[0].local(lower.open(kept, OWNER).path), "rb") as file:
        assert file.read(5) == b"hello"
    lower.remove(kept, OWNER)
    pair.mirrors[0].wipe(pair.end(0), OWNER, offset=0, watch=Watch())
    assert pair.read(1) == bytes(5)


def test_everything_may_be_repeated_and_removal_leaves_nothing(pair):
    for _ in range(2):
        pair.create()
        pair.mirrors[0].open(pair.end(0), OWNER)
    assert pair.mirrors[0].minors() == (0,)
    with pytest.raises(NotOurs):
        pair.mirrors[0].create(pair.end(0), "i-2")
    for _ in range(2):
        for place in (0, 1):
            pair.mirrors[place].close(pair.end(place), OWNER)
            pair.mirrors[place].demote(pair.end(place), OWNER)
            pair.mirrors[place].disconnect(pair.end(place), OWNER)
            pair.mirrors[place].detach(pair.end(place), OWNER)
    for _ in range(2):
        for place in (0, 1):
            pair.mirrors[place].remove(pair.end(place), OWNER)
    assert [each.volumes() for each in pair.mirrors[:2]] == [(), ()]
    assert [each.minors() for each in pair.mirrors[:2]] == [(), ()]
    assert pair.mirrors[0].info(pair.end(0), OWNER).exists is False
    assert not pair.status(0).is_up


def test_a_node_that_is_no_end_of_it_is_told_so(pair):
    with pytest.raises(errors.StorageError, match="none of the two ends"):
        pair.mirrors[0].assemble(pair.disk, OWNER)
    with pytest.raises(errors.StorageError, match="no name of its own"):
        pair.mirrors[0].rename(pair.disk, msgspec.structs.replace(pair.disk, children=()), OWNER)


def test_where_the_content_is_found_is_told_as_long_as_there_is_some(pair):
    pair.create()
    assert pair.mirrors[0].info(pair.end(0), OWNER).path == f"{FAKE_LVM_DIR.path}/xenvg/m_data"
    pair.mirrors[0].close(pair.end(0), OWNER)
    assert pair.mirrors[0].info(pair.end(0), OWNER).path == "/dev/drbd0"
