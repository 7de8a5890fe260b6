"""What is special about volumes that are files, and about disks without any. What all have to do: test_volumes."""

import os

import msgspec
import pytest

from ganeti import errors, settings
from ganeti.host import faults
from ganeti.host.run import HostRunner
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.paths import FILE_STORAGE_PATHS, Paths
from ganeti.storage import registry
from ganeti.storage.base import NotOurs
from ganeti.storage.file import places
from ganeti.testing.drivers import FailingStorage

OWNER = "instance-1"
HOMES = {
    DiskTemplate.FILE: settings.FILE_STORAGE_DIR,
    DiskTemplate.SHAREDFILE: settings.SHARED_FILE_STORAGE_DIR,
}


class Node:
    """One node with the storage of one template."""

    def __init__(self, template, root):
        self.template = template
        self.paths = Paths(str(root), "node1.example.com")
        self.storage = registry.drivers(self.paths, HostRunner(self.paths))[template]

    def disk(self, name="web1/disk0", uuid="disk-1", size=3):
        path = name if name.startswith("/") else f"{HOMES[self.template]}/{name}"
        return Disk(uuid=uuid, template=self.template, size=size, logical_id=("loop", path))

    def local(self, disk):
        return self.paths.local(disk.logical_id[1])

    def volumes(self):
        return self.storage.volumes()


@pytest.fixture(params=HOMES, ids=lambda template: template.value)
def node(request, tmp_path):
    return Node(request.param, tmp_path)


class Death(BaseException):
    """The process dies here."""


@pytest.fixture
def die_at():
    """Makes the process die at a fault point."""

    def arm(wanted):
        def action(point):
            if point == wanted:
                raise Death

        faults.arm(action)

    yield arm
    faults.arm(None)


def test_a_volume_takes_no_space_and_its_path_is_that_of_its_id(node):
    disk = node.disk(size=100)
    assert node.storage.create(disk, OWNER).path == disk.logical_id[1]
    assert os.stat(node.local(disk)).st_blocks == 0


def test_remove_takes_the_directory_when_nothing_is_in_it_any_more(node):
    disk, other = node.disk(), node.disk("web1/disk1", "disk-2")
    node.storage.create(disk, OWNER)
    node.storage.create(other, OWNER)
    node.storage.remove(disk, OWNER)
    assert node.volumes() == (other.logical_id[1],)
    node.storage.remove(other, OWNER)
    assert os.listdir(node.paths.local(HOMES[node.template])) == []


def test_open_refuses_a_volume_that_has_lost_its_end(node):
    disk = node.disk(size=4)
    node.storage.create(disk, OWNER)
    os.truncate(node.local(disk), 1024 * 1024)
    with pytest.raises(errors.StorageError, match="1 MiB instead of 4 MiB"):
        node.storage.open(disk, OWNER)


@pytest.mark.parametrize("point", ["storage.file.marked", "storage.file.created"])
def test_a_death_during_create_can_be_finished_or_taken_back(node, die_at, point):
    for again in (node.storage.create, node.storage.remove):
        disk = node.disk()
        die_at(point)
        with pytest.raises(Death):
            node.storage.create(disk, OWNER)
        faults.arm(None)
        again(disk, OWNER)
        if again == node.storage.create:
            assert node.storage.open(disk, OWNER).size == disk.size
            node.storage.remove(disk, OWNER)
        assert node.volumes() == ()


def test_a_death_during_remove_can_be_finished(node, die_at):
    disk = node.disk()
    node.storage.create(disk, OWNER)
    die_at("storage.file.removed")
    with pytest.raises(Death):
        node.storage.remove(disk, OWNER)
    faults.arm(None)
    assert not node.storage.info(disk, OWNER).exists
    node.storage.remove(disk, OWNER)
    assert node.volumes() == ()


def test_a_death_during_rename_can_be_finished_or_taken_back(node, die_at):
    old, new = node.disk(), node.disk("web2/disk0")
    node.storage.create(old, OWNER)
    for first, second in ((old, new), (new, old)):
        die_at("storage.file.renamed")
        with pytest.raises(Death):
            node.storage.rename(old, new, OWNER)
        faults.arm(None)
        node.storage.rename(first, second, OWNER)
        assert node.volumes() == (second.logical_id[1],)
        node.storage.rename(new, old, OWNER)


@pytest.mark.parametrize("path", ["/etc/disk0", "/srv/ganeti/disk0", "relative"])
def test_a_path_outside_the_allowed_directories_is_refused(node, path):
    disk = msgspec.structs.replace(node.disk(), logical_id=("loop", path))
    with pytest.raises(errors.StorageError, match=r"below an allowed directory|normalised"):
        node.storage.create(disk, OWNER)


def test_a_symbolic_link_does_not_lead_out(node, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    home = node.paths.local(HOMES[node.template])
    os.makedirs(home)
    os.symlink(outside, f"{home}/web1")
    with pytest.raises(errors.StorageError, match="by a symbolic link"):
        node.storage.create(node.disk("web1/deep/disk0"), OWNER)
    assert list(outside.iterdir()) == []


def test_the_home_itself_may_be_a_link(node, tmp_path):
    outside = tmp_path / "shared"
    outside.mkdir()
    home = node.paths.local(HOMES[node.template])
    os.makedirs(os.path.dirname(home))
    os.symlink(outside, home)
    node.storage.create(node.disk(), OWNER)
    assert (outside / "web1" / "disk0").stat().st_size == 3 * 1024 * 1024


def test_a_link_in_a_volumes_place_is_not_followed(node, tmp_path):
    disk = node.disk()
    os.makedirs(os.path.dirname(node.local(disk)))
    os.symlink(tmp_path / "target", node.local(disk))
    with pytest.raises(NotOurs):
        node.storage.create(disk, OWNER)
    assert not (tmp_path / "target").exists()


def test_the_administrators_directories_are_used_but_not_created(node):
    list_file = node.paths.local(FILE_STORAGE_PATHS)
    os.makedirs(os.path.dirname(list_file))
    with open(list_file, "w") as file:
        file.write("/mnt/big\n/etc\n")
    disk = node.disk("/mnt/big/web1/disk0")
    with pytest.raises(errors.StorageError, match="/mnt/big does not exist; create or mount it"):
        node.storage.create(disk, OWNER)
    assert "directory /mnt/big does not exist" in node.storage.verify()
    os.makedirs(node.paths.local("/mnt/big"))
    node.storage.create(disk, OWNER)
    assert node.volumes() == (disk.logical_id[1],)


def test_a_full_or_broken_disk_is_told_with_the_systems_reason(node):
    home = node.paths.local(HOMES[node.template])
    os.makedirs(os.path.dirname(home))
    with open(home, "w"):
        pass
    with pytest.raises(errors.StorageError, match=r"cannot create volume .*(exists|Not a directory)"):
        node.storage.create(node.disk(), OWNER)
    assert "is not a directory" in node.storage.verify()


@pytest.mark.parametrize("size", [1 << 42, 1 << 60])
def test_a_size_beyond_what_the_file_system_can_hold_is_refused_and_can_be_taken_back(node, size):
    disk = node.disk(size=size)
    with pytest.raises(errors.StorageError, match="cannot create volume"):
        node.storage.create(disk, OWNER)
    node.storage.remove(disk, OWNER)
    assert node.volumes() == ()


def test_a_virtual_node_has_no_space_of_others_and_none_that_its_volumes_were_promised(node):
    before = node.storage.space()
    node.storage.create(node.disk(size=64), OWNER)
    after = node.storage.space()
    assert before.total == before.free
    assert after.total - after.free == 64


def test_diskless_has_nothing_to_remove_and_nothing_to_open(tmp_path):
    storage = registry.drivers(Paths(str(tmp_path)), HostRunner(Paths(str(tmp_path))))[DiskTemplate.DISKLESS]
    disk = Disk(uuid="d", template=DiskTemplate.DISKLESS, size=1, logical_id=())
    storage.remove(disk, OWNER)
    assert storage.volumes() == ()
    with pytest.raises(errors.StorageError):
        storage.open(disk, OWNER)


def test_a_failing_storage_fails_as_planned_before_or_after_the_effect(node):
    failing = FailingStorage(node.storage)
    failing.fail_next("create", errors.StorageError("before"))
    failing.fail_next("create", errors.StorageError("after"), after=True)
    with pytest.raises(errors.StorageError, match="before"):
        failing.create(node.disk(), OWNER)
    assert node.volumes() == ()
    with pytest.raises(errors.StorageError, match="after"):
        failing.create(node.disk(), OWNER)
    assert len(node.volumes()) == 1
    failing.assert_failed()
    assert failing.create(node.disk(), OWNER).exists
    with pytest.raises(AttributeError):
        failing.fail_next("creat", errors.StorageError("never"))


def test_what_lies_among_the_volumes_without_a_mark_is_a_stray(node):
    disk = node.disk()
    assert node.storage.strays() == ()
    node.storage.create(disk, OWNER)
    assert node.storage.strays() == ()
    stray = node.local(disk) + ".old"
    with open(stray, "w", encoding="ascii"):
        pass
    hidden = os.path.join(os.path.dirname(os.path.dirname(stray)), ".mirrors")
    os.mkdir(hidden)
    with open(os.path.join(hidden, "lock"), "w", encoding="ascii"):
        pass
    os.symlink("/etc/passwd", os.path.join(os.path.dirname(os.path.dirname(stray)), "link"))
    with open(node.local(disk) + places.MARK, "rb") as file:
        being_written = file.read()
    with open(os.path.join(os.path.dirname(stray), f".disk1{places.MARK}.a8_x7"), "wb") as file:
        file.write(being_written)
    os.mkdir(os.path.dirname(stray) + "/.snapshot")
    with open(os.path.dirname(stray) + "/.snapshot/disk0", "wb"):
        pass
    logical = disk.logical_id[1]
    home = logical.rsplit("/", 2)[0]
    assert node.storage.strays() == (f"{home}/link", f"{logical}.old")
    os.unlink(node.local(disk) + places.MARK)
    assert logical in node.storage.strays()
    assert os.path.exists(stray)
