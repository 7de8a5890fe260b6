"""What is special about mirrors of virtual nodes: power, time, files. What all have to do: test_mirror_pairs."""

import os
import shutil

import pytest
from driver.mirror_kit import OWNER, VirtualPair

from ganeti.paths import FAKE_DRBD_DIR
from ganeti.storage.drbd8.virtual import POWERED_OFF


@pytest.fixture
def pair(tmp_path):
    return VirtualPair(tmp_path)


def power(pair, place, *, on):
    mark = pair.paths[place].root + POWERED_OFF
    if on:
        os.unlink(mark)
        shutil.rmtree(pair.paths[place].local(FAKE_DRBD_DIR))  # what the kernel had in memory
    else:
        with open(mark, "w"):
            pass


def test_a_large_one_takes_its_time_and_tells_it(tmp_path):
    pair = VirtualPair(tmp_path, size=2048)
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
    pair.settle()
    assert pair.status(1).connection == "Connected"
    assert pair.read(1) == b"later"


def test_a_survivor_goes_on_alone_and_fills_the_other_when_it_is_back(pair):
    pair.create()
    pair.write(0, b"first")
    power(pair, 0, on=False)
    assert pair.status(1).connection == "WFConnection"
    pair.mirrors[1].open(pair.end(1), OWNER)
    pair.status(1)
    pair.write(1, b"after")
    assert pair.read(0) == b"first"
    power(pair, 0, on=True)
    pair.mirrors[0].demote(pair.end(0), OWNER)
    pair.mirrors[0].close(pair.end(0), OWNER)
    pair.mirrors[0].assemble(pair.end(0), OWNER)
    pair.settle()
    assert pair.read(0) == b"after"


def test_where_the_content_is_found_is_told_as_long_as_there_is_some(pair):
    pair.create()
    local = pair.paths[0].local(pair.mirrors[0].info(pair.end(0), OWNER).path)
    assert local == pair.halves[0].volume(pair.disk.children[0])
    pair.mirrors[0].close(pair.end(0), OWNER)
    assert pair.mirrors[0].info(pair.end(0), OWNER).path == f"/dev/drbd{pair.end(0).link.minor}"
