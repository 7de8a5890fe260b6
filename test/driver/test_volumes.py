"""What every storage driver of volumes has to do: on files and virtual LVM always, on real LVM on the testbed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from driver import volume_kit
from driver.volume_kit import MIB, OWNER, Watch

from ganeti import errors
from ganeti.model import disks
from ganeti.storage.base import NotOurs


@pytest.fixture(params=volume_kit.KINDS)
def node(request, tmp_path):
    made = volume_kit.make(request.param, tmp_path)
    yield made
    made.end()


def test_a_volume_has_exactly_its_size_and_is_listed(node):
    disk = node.disk(size=100)
    reply = node.storage.create(disk, OWNER)
    assert (reply.size, reply.exists) == (100, True)
    assert node.size(disk) == 100 * MIB
    assert node.storage.info(disk, OWNER).path == reply.path
    assert node.storage.open(disk, OWNER).path == reply.path
    assert node.volumes() == (node.path(disk),)
    assert node.strays() == ()


def test_disks_of_one_instance_are_made_at_the_same_time(node):
    for number in range(node.rounds):
        gate = threading.Barrier(node.at_once)
        wanted = [node.disk(f"web{number}.{each}", f"disk-{number}-{each}") for each in range(node.at_once)]

        def create(disk, gate=gate):
            gate.wait(10)
            return node.storage.create(disk, OWNER).exists

        with ThreadPoolExecutor(node.at_once) as pool:
            assert all(pool.map(create, wanted))
    assert len(node.volumes()) == node.rounds * node.at_once


def test_create_again_is_fine_and_keeps_the_content(node):
    disk = node.disk()
    first = node.storage.create(disk, OWNER)
    node.write(disk, b"precious")
    assert node.storage.create(disk, OWNER) == first
    assert node.read(disk) == b"precious"


def test_create_again_with_another_size_is_refused_and_keeps_the_volume(node):
    node.storage.create(node.disk(size=4), OWNER)
    for size in (8, 1024):
        with pytest.raises(errors.StorageError, match="instead of"):
            node.storage.create(node.disk(size=size), OWNER)
    assert node.storage.info(node.disk(size=4), OWNER).size == 4


def change_all(node, disk, owner):
    """Everything that a driver could do to a volume."""
    storage, other = node.storage, node.disk("web9", "disk-9")
    return [
        lambda: storage.create(disk, owner),
        lambda: storage.remove(disk, owner),
        lambda: storage.open(disk, owner),
        lambda: storage.info(disk, owner),
        lambda: storage.grow(disk, owner, size=64),
        lambda: storage.wipe(disk, owner, offset=0, watch=Watch()),
        lambda: storage.rename(disk, msgspec.structs.replace(other, uuid=disk.uuid), owner),
        lambda: storage.give(disk, owner, to="instance-3", origin="web3"),
        lambda: storage.snapshot(disk, disks.snapshot_of(disk, "disk-9"), owner, Watch()),
    ]


@pytest.mark.parametrize("change", [{"uuid": "disk-2"}, {}], ids=["disk", "owner"])
def test_a_volume_of_another_disk_or_owner_is_not_touched(node, change):
    disk = node.disk()
    node.storage.create(disk, OWNER)
    node.write(disk, b"precious")
    other, owner = msgspec.structs.replace(disk, **change), OWNER if change else "instance-2"
    for action in change_all(node, other, owner):
        with pytest.raises(NotOurs):
            action()
    assert (node.size(disk), node.read(disk)) == (disk.size * MIB, b"precious")
    assert node.storage.open(disk, OWNER).exists
    assert node.volumes() == (node.path(disk),)


def test_what_carries_no_mark_is_not_touched_and_is_a_stray(node):
    disk = node.disk()
    node.make_unmarked(disk)
    node.write(disk, b"precious")
    for action in change_all(node, disk, OWNER):
        with pytest.raises(NotOurs):
            action()
    assert (node.size(disk), node.read(disk)) == (disk.size * MIB, b"precious")
    assert node.volumes() == ()
    assert node.strays() == (node.path(disk),)


def test_remove_leaves_nothing_and_may_be_repeated(node):
    disk, other = node.disk(), node.disk("web2", "disk-2")
    for each in (disk, other):
        node.storage.create(each, OWNER)
    for _ in range(2):
        node.storage.remove(disk, OWNER)
    assert node.volumes() == (node.path(other),)
    node.storage.remove(other, OWNER)
    assert (node.volumes(), node.strays()) == ((), ())


def test_what_is_not_there_is_told_so(node):
    disk, other = node.disk(), node.disk("web2")
    node.storage.remove(disk, OWNER)
    node.storage.close(disk, OWNER)
    assert not node.storage.info(disk, OWNER).exists
    for action in (
        lambda: node.storage.open(disk, OWNER),
        lambda: node.storage.grow(disk, OWNER, size=8),
        lambda: node.storage.rename(disk, other, OWNER),
        lambda: node.storage.wipe(disk, OWNER, offset=0, watch=Watch()),
        lambda: node.storage.give(disk, OWNER, to="instance-2", origin="web2"),
        lambda: node.storage.snapshot(disk, disks.snapshot_of(disk, "disk-9"), OWNER, Watch()),
    ):
        with pytest.raises(errors.StorageError, match="is not there"):
            action()
    assert (node.volumes(), node.strays()) == ((), ())


def test_a_volume_that_is_smaller_than_the_disk_is_not_opened(node):
    node.storage.create(node.disk(size=4), OWNER)
    with pytest.raises(errors.StorageError, match="4 MiB instead of 8 MiB"):
        node.storage.open(node.disk(size=8), OWNER)


def test_an_id_of_another_kind_is_refused(node):
    disk = msgspec.structs.replace(node.disk(), logical_id=("xenvg", "lv", 3))
    for action in (node.storage.create, node.storage.remove, node.storage.info):
        with pytest.raises(errors.StorageError, match=r"which is not \("):
            action(disk, OWNER)


def test_rename_keeps_the_content_and_may_be_repeated_and_taken_back(node):
    old, new = node.disk(), node.disk("web2")
    node.storage.create(old, OWNER)
    node.write(old, b"precious")
    for before, after in ((old, new), (new, old)):
        for _ in range(2):
            path = node.storage.rename(before, after, OWNER).path
        assert path == node.storage.info(after, OWNER).path
        assert node.read(after) == b"precious"
        assert node.volumes() == (node.path(after),)
        assert not node.storage.info(before, OWNER).exists


def test_rename_makes_it_the_volume_of_another_disk(node):
    old, new = node.disk(), node.disk("web2", "disk-2")
    node.storage.create(old, OWNER)
    for _ in range(2):
        node.storage.rename(old, new, OWNER)
    with pytest.raises(NotOurs):
        node.storage.info(msgspec.structs.replace(new, uuid=old.uuid), OWNER)
    assert node.storage.open(new, OWNER).exists


def test_rename_does_not_overwrite(node):
    old, taken = node.disk(), node.disk("web2", "disk-2")
    node.storage.create(old, OWNER)
    node.storage.create(taken, "instance-2")
    with pytest.raises(NotOurs):
        node.storage.rename(old, msgspec.structs.replace(taken, uuid=old.uuid), OWNER)
    assert node.volumes() == (node.path(old), node.path(taken))
    node.make_unmarked(node.disk("web3"))
    with pytest.raises(NotOurs):
        node.storage.rename(old, node.disk("web3"), OWNER)
    assert node.storage.open(old, OWNER).exists


def test_grow_keeps_the_content_and_may_be_repeated(node):
    disk = node.disk(size=4)
    node.storage.create(disk, OWNER)
    node.write(disk, b"precious", offset=4 * MIB - 8)
    for _ in range(2):
        assert node.storage.grow(disk, OWNER, size=12).size == 12
    assert node.storage.grow(disk, OWNER, size=8).size == 12
    assert node.size(disk) == 12 * MIB
    assert node.read(disk, 4 * MIB - 8) == b"precious"
    node.write(disk, b"at its end", offset=12 * MIB - 10)


def test_a_volume_is_given_to_another_instance_and_back(node):
    disk = node.disk()
    node.storage.create(disk, OWNER, origin="web1")
    for _ in range(2):
        node.storage.give(disk, OWNER, to="instance-2", origin="web2")
    with pytest.raises(NotOurs):
        node.storage.info(disk, OWNER)
    with pytest.raises(NotOurs):
        node.storage.give(disk, OWNER, to="instance-3", origin="web3")
    assert node.storage.origins().get(node.path(disk), "web2") == "web2"
    node.storage.give(disk, "instance-2", to=OWNER, origin="web1")
    assert node.storage.info(disk, OWNER).exists


def test_a_snapshot_keeps_the_content_is_made_anew_and_goes_as_any_volume(node):
    disk = node.disk(size=8)
    kept = disks.snapshot_of(disk, "disk-2")
    node.storage.create(disk, OWNER)
    node.storage.wipe(disk, OWNER, offset=0, watch=Watch())
    for content in (b"first", b"later"):
        node.write(disk, content, offset=5 * MIB)
        assert node.storage.snapshot(disk, kept, OWNER, Watch()).size == 8
    node.write(disk, b"not in it")
    assert node.storage.open(kept, OWNER).exists
    assert (node.read(kept), node.read(kept, 5 * MIB, 5)) == (bytes(8), b"later")
    assert node.read(disk, 0, 9) == b"not in it"
    for _ in range(2):
        node.storage.remove(kept, OWNER)
    assert node.volumes() == (node.path(disk),)
    assert node.read(disk, 5 * MIB, 5) == b"later"


def test_a_snapshot_lasts_when_all_of_its_source_is_written_anew(node):
    disk = node.disk(size=8)
    kept = disks.snapshot_of(disk, "disk-2")
    node.storage.create(disk, OWNER)
    node.write(disk, b"old " * (2 * MIB))
    node.storage.snapshot(disk, kept, OWNER, Watch())
    node.write(disk, b"new " * (2 * MIB))
    assert node.storage.open(kept, OWNER).size == 8
    assert node.read(kept, 0, 8 * MIB) == b"old " * (2 * MIB)


def test_a_snapshot_never_replaces_what_is_not_ours(node):
    disk = node.disk()
    kept = disks.snapshot_of(disk, "disk-2")
    node.storage.create(disk, OWNER)
    node.make_unmarked(kept)
    node.write(kept, b"precious")
    with pytest.raises(NotOurs):
        node.storage.snapshot(disk, kept, OWNER, Watch())
    assert node.read(kept) == b"precious"


def test_wipe_writes_zeroes_from_its_offset_on_and_tells_how_far_it_is(node):
    disk, watch = node.disk(size=8), Watch()
    node.storage.create(disk, OWNER)
    node.write(disk, b"x" * (8 * MIB))
    node.storage.wipe(disk, OWNER, offset=3, watch=watch)
    assert node.read(disk, 0, 8 * MIB) == b"x" * (3 * MIB) + bytes(5 * MIB)
    assert watch.progress["text"] == "80% of 5 MiB"
    watch.stop.set()
    with pytest.raises(errors.StorageError, match="stopped on request"):
        node.storage.wipe(disk, OWNER, offset=0, watch=watch)
    assert node.read(disk) == b"x" * 8


def test_there_is_space_and_nothing_is_wrong_with_it(node):
    space = node.storage.space(vg=node.vg)
    assert 0 < space.free <= space.total
    assert node.storage.verify(vg=node.vg) == ""
    node.storage.create(node.disk(size=64), OWNER)
    assert node.storage.space(vg=node.vg).free <= space.free
