"""What only real LVM does: whole extents, volumes that are in use, tags, groups that are full. On the testbed alone."""

import os
import threading
import time

import msgspec
import pytest
from driver import testbed, volume_kit
from driver.volume_kit import MIB, OWNER, LvmNode, tool

from ganeti import errors
from ganeti.host.run import HostRunner
from ganeti.model import disks
from ganeti.storage.lvm.driver import LvmStorage
from ganeti.testing.clock import SteppedClock

pytestmark = pytest.mark.skipif(not testbed.VG, reason="not on a node of the testbed")


@pytest.fixture(params=testbed.only_there("lvm"))
def node(request, tmp_path):
    made = volume_kit.make(request.param, tmp_path)
    yield made
    made.end()


def test_whole_extents_are_taken_and_are_fine_later(node: LvmNode):
    disk = node.disk(size=5)
    for _ in range(2):
        assert node.storage.create(disk, OWNER).exists
    assert node.size(disk) == 8 * MIB
    assert (node.storage.open(disk, OWNER).size, node.storage.info(disk, OWNER).size) == (8, 8)
    assert node.storage.grow(disk, OWNER, size=7).size == 8
    assert node.storage.grow(disk, OWNER, size=9).size == 12


class Hasty(SteppedClock):
    """lvremove waits for some seconds by itself: two tries are enough."""

    def sleep(self, seconds):
        super().sleep(8 * seconds)


def test_one_that_is_in_use_stays_and_goes_when_it_is_let_go(node):
    disk = node.disk()
    node.storage.create(disk, OWNER)
    impatient = LvmStorage(HostRunner(node.paths), Hasty())
    handle = os.open(node.local(disk), os.O_RDWR)
    try:
        with pytest.raises(errors.StorageError, match="in use"):
            impatient.remove(disk, OWNER)
        assert node.storage.open(disk, OWNER).exists
        release = threading.Timer(4, os.close, (handle,))
        release.start()
    except BaseException:
        os.close(handle)
        raise
    begun = time.monotonic()
    node.storage.remove(disk, OWNER)
    release.join()
    assert node.volumes() == ()
    assert time.monotonic() - begun < 120


def test_more_stripes_than_disks_are_as_many_as_there_are(node):
    disk = node.disk(size=8)
    striped = msgspec.structs.replace(disk, params={"stripes": 3})
    node.storage.create(striped, OWNER)
    physical = tool("vgs", "--noheadings", "-o", "pv_count", node.vg).strip()
    stripes = tool("lvs", "--noheadings", "-o", "stripes", f"{node.vg}/{disk.logical_id[1]}").strip()
    assert int(stripes) == min(3, int(physical))


def test_what_does_not_fit_is_told_and_leaves_nothing(node):
    with pytest.raises(errors.StorageError, match="not enough free space in volume group"):
        node.storage.create(node.disk(size=1 << 30), OWNER)
    disk = node.disk()
    node.storage.create(disk, OWNER)
    with pytest.raises(errors.StorageError, match="cannot grow logical volume"):
        node.storage.grow(disk, OWNER, size=1 << 30)
    assert node.size(disk) == disk.size * MIB
    node.storage.remove(disk, OWNER)
    assert (node.volumes(), node.strays()) == ((), ())


def test_the_instance_s_name_is_found_at_its_volumes(node):
    disk = node.disk()
    node.storage.create(disk, OWNER, origin="web1.example.com")
    assert node.storage.origins()[node.path(disk)] == "web1.example.com"
    node.storage.give(disk, OWNER, to="instance-2", origin="web2.example.com")
    assert node.storage.origins()[node.path(disk)] == "web2.example.com"
    tags = tool("lvs", "--noheadings", "-o", "lv_tags", f"{node.vg}/{disk.logical_id[1]}").strip()
    assert "instance-2" in tags
    assert OWNER not in tags


def test_a_snapshot_that_overflew_is_told_and_can_be_removed(node):
    disk = node.disk(size=8)
    kept = disks.snapshot_of(disk, "disk-2")
    node.storage.create(disk, OWNER)
    name = f"{node.vg}/{disk.logical_id[1]}"
    tool(
        "lvcreate", "-qq", "-y", "-s", "-L", "4m", "-n", kept.logical_id[1], "--addtag", f"ganeti+{OWNER}+disk-2", name
    )
    node.write(disk, os.urandom(8 * MIB))
    with pytest.raises(errors.StorageError, match="has lost its content"):
        node.storage.open(kept, OWNER)
    node.storage.remove(kept, OWNER)
    assert node.volumes() == (node.path(disk),)


def test_a_volume_that_was_there_is_adopted_and_given_back(node):
    disk = node.disk("new", size=4)
    found = node.disk("old", size=4)
    node.make_unmarked(found)
    tool("lvchange", "--addtag", "somebody", f"{node.vg}/{found.logical_id[1]}")
    node.write(found, b"precious")
    adoption = node.storage.adoption
    (seen,) = adoption.look((found.logical_id,), ())
    assert (seen.size, seen.problem) == (4, "")
    for _ in range(2):
        adoption.adopt(disk, OWNER, found=seen, origin="web1")
    assert node.read(disk) == b"precious"
    assert node.storage.open(disk, OWNER).exists
    (again,) = adoption.look((disk.logical_id,), ())
    assert "carries the tag" in again.problem
    for _ in range(2):
        adoption.give_back(disk, OWNER, found=seen, origin="web1")
    assert (node.volumes(), node.read(found)) == ((), b"precious")
    assert adoption.look((found.logical_id,), ()) == (seen,)
    assert tool("lvs", "--noheadings", "-o", "lv_tags", f"{node.vg}/{found.logical_id[1]}").strip() == "somebody"


def test_what_is_in_use_is_not_adopted(node):
    found = node.disk("old")
    node.make_unmarked(found)
    handle = os.open(node.local(found), os.O_RDONLY)
    try:
        (seen,) = node.storage.adoption.look((found.logical_id,), ())
    finally:
        os.close(handle)
    assert "it is in use" in seen.problem
