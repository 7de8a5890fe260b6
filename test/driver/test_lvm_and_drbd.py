"""The drivers that run tools: which commands come, in which order, and what is made of their answers."""

import threading
from pathlib import Path

import msgspec
import pytest

from ganeti import errors
from ganeti.calls.power import LostVolume, StorageLoss
from ganeti.host.run import HostRunner
from ganeti.model.objects import Disk, DiskTemplate, Link
from ganeti.paths import Paths
from ganeti.storage import wipe
from ganeti.storage.base import NotOurs, VolumeLost
from ganeti.storage.drbd8.driver import DrbdStorage
from ganeti.storage.drbd8.kernel import DrbdKernel
from ganeti.storage.drbd8.parse import Configured
from ganeti.storage.lvm import commands, repair
from ganeti.storage.lvm.driver import LvmStorage
from ganeti.storage.registry import drivers
from ganeti.testing.clock import SteppedClock
from ganeti.testing.script import Answer, Script

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
RECORDED = TRANSCRIPTS / "drbd-8.4.11"
TAG = "ganeti+i-1+d-1"
DISK = Disk(uuid="d-1", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "data1"))
LVS, PVS = "lvs ... xenvg", "pvs ..."
EMPTY = "  xenvg|other|64.00|-wi-a-----||4.00|1|/dev/vdb(0)\n"
PV = "  /dev/vdb|xenvg|8188.00|8188.00|a--\n"
SETTLE = ("udevadm settle ...", "")
NO_SUCH_GROUP = Answer(status=5, stderr='  Volume group "xenvg" not found\n')


def lv(size="128.00", tags=TAG, name="data1", attr="-wi-a-----"):
    return EMPTY + f"  xenvg|{name}|{size}|{attr}|{tags}|4.00|1|/dev/vdb(16)\n"


class Watch:
    def __init__(self):
        self.stop = threading.Event()
        self.progress = {}


def lvm(*steps):
    script = Script(*steps)
    return LvmStorage(script, SteppedClock()), script


def test_create_marks_the_volume_and_names_the_disk_it_goes_to():
    storage, tools = lvm(
        (LVS, EMPTY),
        (PVS, PV),
        (f"lvcreate --yes --wipesignatures n --size 128m --stripes 1 --name data1 --addtag {TAG} xenvg /dev/vdb", ""),
        SETTLE,
    )
    assert storage.create(DISK, "i-1").path == "/dev/xenvg/data1"
    tools.assert_finished()


def test_create_again_does_nothing_and_another_size_or_owner_is_refused():
    storage, tools = lvm((LVS, lv()), SETTLE, (LVS, lv("192.00")), (LVS, lv(tags="ganeti+i-2+d-1")), (LVS, lv(tags="")))
    assert storage.create(DISK, "i-1").size == 128
    with pytest.raises(errors.StorageError, match="192 MiB instead of 128"):
        storage.create(DISK, "i-1")
    with pytest.raises(NotOurs, match="belongs to disk d-1 of instance i-2"):
        storage.create(DISK, "i-1")
    with pytest.raises(NotOurs, match="no tag of ours"):
        storage.create(DISK, "i-1")
    tools.assert_finished()


def test_create_tries_fewer_stripes_and_tells_the_last_failure():
    full = Answer(status=5, stderr="  Insufficient suitable allocatable extents\n")
    two = PV + PV.replace("vdb", "vdc")
    storage, tools = lvm(
        (LVS, EMPTY), (PVS, two), ("lvcreate ... --stripes 2 ...", full), ("lvcreate ... --stripes 1 ...", full),
        ("lvcreate ... --stripes 1 ...", full),
    )  # fmt: skip
    with pytest.raises(errors.StorageError, match=r"cannot create logical volume xenvg/data1: .*Insufficient"):
        storage.create(msgspec.structs.replace(DISK, params={"stripes": 2}), "i-1")
    tools.assert_finished()


def test_remove_waits_for_one_that_is_busy_and_leaves_what_is_not_ours():
    busy = Answer(status=5, stderr="  Logical volume xenvg/data1 in use.\n")
    storage, tools = lvm(
        (LVS, lv()),
        ("lvremove --force --yes xenvg/data1", busy),
        ("lvremove ...", ""),
        (LVS, EMPTY),
        (LVS, lv(tags="")),
    )
    storage.remove(DISK, "i-1")
    storage.remove(DISK, "i-1")
    with pytest.raises(NotOurs):
        storage.remove(DISK, "i-1")
    tools.assert_finished()


class Slow(Script):
    """Each command takes 10 s."""

    def __init__(self, clock, *steps):
        super().__init__(*steps)
        self.clock = clock

    def run(self, argv, **how):
        self.clock.sleep(10)
        return super().run(argv, **how)


def test_a_volume_that_stays_busy_is_given_up_by_the_clock_however_slow_the_tools_are():
    busy = Answer(status=5, stderr="  Logical volume xenvg/data1 in use.\n")
    clock = SteppedClock()
    tools = Slow(clock, (LVS, lv()), *[("lvremove ...", busy)] * 3)
    with pytest.raises(errors.StorageError, match="in use"):
        LvmStorage(tools, clock).remove(DISK, "i-1")
    tools.assert_finished()
    assert clock.now <= 50


def test_open_activates_and_a_volume_that_is_gone_or_lost_is_told():
    storage, tools = lvm(
        (LVS, lv()), ("lvchange --yes --activate y xenvg/data1", ""), SETTLE,
        (LVS, EMPTY), (LVS, lv(attr="vwi-a-----")), (LVS, NO_SUCH_GROUP),
    )  # fmt: skip
    assert storage.open(DISK, "i-1").path == "/dev/xenvg/data1"
    with pytest.raises(errors.StorageError, match="is not there"):
        storage.open(DISK, "i-1")
    with pytest.raises(errors.StorageError, match="has lost the disk"):
        storage.open(DISK, "i-1")
    with pytest.raises(errors.StorageError, match='Volume group "xenvg" not found'):
        storage.open(DISK, "i-1")
    tools.assert_finished()


def test_rename_changes_name_and_tag_and_goes_on_where_it_was_interrupted():
    new = msgspec.structs.replace(DISK, uuid="d-2", logical_id=("xenvg", "kept"))
    after = f"lvchange --deltag {TAG} --addtag ganeti+i-1+d-2 xenvg/kept"
    opened = [(LVS, lv(tags="ganeti+i-1+d-2", name="kept")), ("lvchange --yes --activate ...", ""), SETTLE]
    storage, tools = lvm(
        (LVS, lv()), ("lvrename --yes xenvg data1 kept", ""), (after, ""), *opened,
        (LVS, lv(name="kept")), (after, ""), *opened,
        (LVS, lv(name="kept", tags="ganeti+i-1+d-2")), *opened,
        (LVS, lv(name="kept", tags="")),
    )  # fmt: skip
    for _ in range(3):
        assert storage.rename(DISK, new, "i-1").path == "/dev/xenvg/kept"
    with pytest.raises(NotOurs):
        storage.rename(DISK, new, "i-1")
    tools.assert_finished()


def test_a_new_volume_tells_people_the_name_of_its_instance():
    create = f"lvcreate ... --addtag {TAG} --addtag originstname+web1.example.com xenvg /dev/vdb"
    storage, tools = lvm((LVS, EMPTY), (PVS, PV), (create, ""), SETTLE)
    storage.create(DISK, "i-1", origin="web1.example.com")
    tools.assert_finished()


def test_a_volume_is_given_to_another_instance_and_back_and_a_repeat_changes_nothing():
    other = "ganeti+i-2+d-1"
    here, there = "originstname+web1", "originstname+db"
    storage, tools = lvm(
        (LVS, lv(tags=f"{TAG},originstname+web1,other")),
        (f"lvchange --deltag {TAG} --deltag {here} --addtag {other} --addtag {there} xenvg/data1", ""),
        (LVS, lv(tags=f"{other},originstname+db,other")),
        (LVS, lv(tags=f"{other},originstname+db,other")),
        (f"lvchange --deltag {other} --deltag {there} --addtag {TAG} --addtag {here} xenvg/data1", ""),
        (LVS, lv(tags="ganeti+i-3+d-1")), (LVS, EMPTY),
    )  # fmt: skip
    storage.give(DISK, "i-1", to="i-2", origin="db")
    storage.give(DISK, "i-1", to="i-2", origin="db")
    storage.give(DISK, "i-2", to="i-1", origin="web1")
    with pytest.raises(NotOurs, match="belongs to disk d-1 of instance i-3"):
        storage.give(DISK, "i-1", to="i-2", origin="db")
    with pytest.raises(errors.StorageError, match="is not there"):
        storage.give(DISK, "i-1", to="i-2", origin="db")
    tools.assert_finished()


def test_an_older_volume_gets_the_name_when_its_instance_is_renamed():
    storage, tools = lvm((LVS, lv()), ("lvchange --addtag originstname+web2 xenvg/data1", ""))
    storage.give(DISK, "i-1", to="i-1", origin="web2")
    tools.assert_finished()


def test_names_of_instances_are_told_of_our_volumes_only():
    theirs = "  xenvg|theirs|64.00|-wi-a-----|originstname+foreign|4.00|1|/dev/vdb(99)\n"
    storage, tools = lvm(("lvs ...", lv(tags=f"{TAG},originstname+web1") + theirs), ("lvs ...", lv()))
    assert storage.origins() == {"/dev/xenvg/data1": "web1"}
    assert storage.origins() == {}
    tools.assert_finished()


def test_grow_rounds_up_to_extents_and_tries_to_keep_it_together():
    full = Answer(status=5, stderr="  Insufficient suitable contiguous allocatable extents\n")
    storage, tools = lvm(
        (LVS, lv()),
        ("lvextend --yes --alloc contiguous --size 132m xenvg/data1", full),
        ("lvextend --yes --alloc cling --size 132m xenvg/data1", ""),
        (LVS, lv("132.00")),
        (LVS, lv("132.00")),
        (LVS, lv("132.00")),
    )
    assert storage.grow(DISK, "i-1", size=129).size == 132
    assert storage.grow(DISK, "i-1", size=129).size == 132
    tools.assert_finished()


def test_a_snapshot_that_was_left_behind_is_made_anew():
    snap = Disk(uuid="d-9", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "data1.snap"))
    old = lv() + "  xenvg|data1.snap|128.00|swi-a-s---|ganeti+i-1+d-8|4.00|1|/dev/vdb(64)\n"
    storage, tools = lvm(
        (LVS, old), ("lvchange --yes --activate ...", ""), SETTLE, (LVS, old), ("lvremove ... xenvg/data1.snap", ""),
        ("lvcreate --yes --snapshot --size 132m --name data1.snap --addtag ganeti+i-1+d-9 xenvg/data1", ""), SETTLE,
    )  # fmt: skip
    assert storage.snapshot(DISK, snap, "i-1", Watch()).path == "/dev/xenvg/data1.snap"
    tools.assert_finished()


def test_a_snapshot_gets_less_room_where_there_is_no_more():
    snap = Disk(uuid="d-9", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "data1.snap"))
    full = Answer(status=5, stderr='  Volume group "xenvg" has insufficient free space\n')
    storage, tools = lvm(
        (LVS, lv()), ("lvchange --yes --activate ...", ""), SETTLE, (LVS, lv()),
        ("lvcreate --yes --snapshot --size 132m ...", full), ("lvcreate --yes --snapshot --size 128m ...", ""), SETTLE,
    )  # fmt: skip
    assert storage.snapshot(DISK, snap, "i-1", Watch()).size == 128
    tools.assert_finished()


def test_a_snapshot_is_as_large_as_its_source_and_one_that_overflew_is_lost_but_goes():
    listed = (TRANSCRIPTS / "lvm-2.03.16" / "lvs-snapshots").read_text()
    kept, full = (
        Disk(uuid=uuid, template=DiskTemplate.PLAIN, size=8, logical_id=("xenvg", name))
        for uuid, name in (("d-9", "data1.kept"), ("d-8", "data1.snap"))
    )
    storage, tools = lvm((LVS, listed), (LVS, listed), (LVS, listed), ("lvremove ... xenvg/data1.snap", ""))
    assert storage.info(kept, "i-1").size == 8
    with pytest.raises(VolumeLost, match="has lost its content: more was written to its source"):
        storage.open(full, "i-1")
    storage.remove(full, "i-1")
    tools.assert_finished()


def test_the_group_is_told_about_and_its_volumes_are_those_with_our_tag():
    vgs = "  xenvg|8188.00|7000.00|wz-pn-|4.00|2|1\n"
    storage, tools = lvm(
        ("vgs ...", vgs), ("vgs ...", vgs), ("vgs ...", vgs), ("lvs ...", lv()), ("lvs ... xenvg", lv())
    )
    assert (storage.space(vg="xenvg").total, storage.space(vg="xenvg").free) == (8188, 7000)
    assert storage.verify(vg="xenvg") == (
        "volume group xenvg is too small (20480 MiB required, 8188 found); "
        "volume group xenvg has lost 1 of its 2 physical volumes"
    )
    assert storage.volumes() == ("/dev/xenvg/data1",)
    assert storage.strays() == ()  # no group: nothing is asked
    assert storage.strays(vg="xenvg") == ("/dev/xenvg/other",)
    assert storage.verify().startswith("no volume group is set")
    tools.assert_finished()


WHOLE = "  xenvg|8188.00|7000.00|wz--n-|4.00|2|0\n"
TORN = "  xenvg|8188.00|7000.00|wz-pn-|4.00|2|1\n"
PARTIAL = "  xenvg|data2|64.00|-wi-----p-|ganeti+i-1+d-2|4.00|1|[unknown](0)\n"


def test_a_group_that_misses_nothing_is_left_as_it_is():
    tools = Script(("vgs ...", WHOLE), ("vgs ...", WHOLE), ("vgs ...", WHOLE))
    assert repair.lost(tools, "xenvg") == StorageLoss()
    assert repair.drop(tools, "xenvg", ()) == ""
    with pytest.raises(errors.StorageError, match="volume group other missing"):
        repair.lost(tools, "other")
    tools.assert_finished()


def test_what_went_with_a_physical_volume_is_named_with_its_marks():
    tools = Script(("vgs ...", TORN), (LVS, lv() + PARTIAL + lv(name="old", attr="vwi-------", tags="")))
    assert repair.lost(tools, "xenvg") == StorageLoss(
        missing=1, volumes=(LostVolume(name="data2", owner="i-1", disk="d-2"), LostVolume(name="old"))
    )
    tools.assert_finished()


def test_missing_physical_volumes_are_dropped_by_force_only_where_volumes_go_that_are_agreed_on():
    tools = Script(
        ("vgs ...", TORN), (LVS, lv()), ("vgreduce --yes --removemissing xenvg", ""),
        ("vgs ...", TORN), (LVS, lv() + PARTIAL), ("vgreduce --yes --removemissing --force xenvg", ""),
        ("vgs ...", TORN), (LVS, lv() + PARTIAL),
    )  # fmt: skip
    said = "1 missing physical volumes were taken out of volume group xenvg"
    assert [repair.drop(tools, "xenvg", ()), repair.drop(tools, "xenvg", ("data2", "x"))] == [said, said]
    with pytest.raises(errors.StorageError, match="would lose data2, too"):
        repair.drop(tools, "xenvg", ("data1",))
    tools.assert_finished()


def test_a_group_that_lost_a_real_disk():
    """Recorded: two physical volumes, one taken away; volumes on each and one across both."""
    recorded = (TRANSCRIPTS / "lvm-2.03.16").joinpath
    vgs, lvs = ("vgs ...", recorded("vgs-lost").read_text()), ("lvs ... lostvg", recorded("lvs-lost").read_text())
    # without force LVM takes nothing out as long as volumes lie there, and says so by its exit status
    partial = Answer(status=5, stderr=recorded("vgreduce-partial").read_text())
    tools = Script(
        vgs, lvs, vgs, lvs, ("vgreduce --yes --removemissing --force lostvg", recorded("vgreduce-forced").read_text()),
        ("vgs ...", recorded("vgs-reduced").read_text()), ("vgreduce ...", partial),
    )  # fmt: skip
    found = repair.lost(tools, "lostvg")
    assert (found.missing, [(volume.name, volume.owner) for volume in found.volumes]) == (
        1,
        [("both", "i-3"), ("two", "i-2")],
    )
    assert "1 missing" in repair.drop(tools, "lostvg", ("both", "two"))
    assert repair.lost(tools, "lostvg") == StorageLoss()
    with pytest.raises(errors.CommandFailed, match="still partial"):
        tools.run(commands.reduce_missing("lostvg", force=False), timeout_s=1)
    tools.assert_finished()


def test_a_volume_of_which_a_part_is_missing_is_not_activated():
    recorded = (TRANSCRIPTS / "lvm-2.03.16").joinpath
    volumes = recorded("lvs-lost").read_text().replace("lostvg", "xenvg").replace("|both|", "|data1|")
    storage, tools = lvm((LVS, volumes.replace("ganeti+i-3+d-3", TAG)))
    with pytest.raises(errors.StorageError, match="lost"):
        storage.open(DISK, "i-1")
    tools.assert_finished()


def test_a_repair_that_lvm_refuses_tells_what_it_said():
    busy = Answer(status=5, stderr="  Logical volume xenvg/data2 in use.\n")
    tools = Script(("vgs ...", TORN), (LVS, PARTIAL), ("vgreduce ...", busy), ("vgs ...", NO_SUCH_GROUP))
    with pytest.raises(errors.StorageError, match=r"cannot repair volume group xenvg: .*in use"):
        repair.drop(tools, "xenvg", ("data2",))
    with pytest.raises(errors.StorageError, match="cannot find out what volume group xenvg has lost"):
        repair.lost(tools, "xenvg")
    tools.assert_finished()


def test_wiping_is_done_in_pieces_and_never_makes_a_file_of_a_device():
    assert wipe.pieces(0, 2048) == [(place, min(204, 2048 - place)) for place in range(0, 2048, 204)]
    assert wipe.pieces(5, 7) == [(5, 1), (6, 1)]
    tools = Script(("dd if=/dev/zero of=/dev/x bs=1048576 seek=5 count=1 oflag=direct conv=nocreat,notrunc ...", ""))
    watch = Watch()
    wipe.wipe(tools, "/dev/x", offset=5, size=6, watch=watch)
    watch.stop.set()
    with pytest.raises(errors.StorageError, match="stopped on request"):
        wipe.wipe(tools, "/dev/x", offset=0, size=6, watch=watch)
    tools.assert_finished()


# Mirrors

LINK = Link(minor=0, peer_minor=0, port=11000, secret="s", address="10.97.1.11", peer_address="10.97.1.12")
MIRROR = Disk(
    uuid="m",
    template=DiskTemplate.DRBD,
    size=128,
    logical_id=("a", "b", 11000, 0, 0, "s"),
    children=(
        Disk(uuid="d-d", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "disk0_data")),
        Disk(uuid="d-m", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "disk0_meta")),
    ),
    link=LINK,
)
BOTH = "".join(
    f"  xenvg|disk0_{what}|128.00|-wi-a-----|ganeti+i-1+d-{what[0]}|4.00|1|/dev/vdb(16)\n" for what in ("data", "meta")
)
OPEN = [(LVS, BOTH), ("lvchange ...", ""), SETTLE] * 2
UNKNOWN = Answer(status=10, stderr="0: Failure: (127) Device minor not allocated\nunknown minor\n")
HELD = Answer(status=11, stderr="0: State change failed: (-12) Device is held open by someone\n")
SHOW = "drbdsetup show 0"
ENDS = "ipv4:10.97.1.11:11000 ipv4:10.97.1.12:11000"
ATTACH = [
    ("drbdmeta --force 0 v08 /dev/xenvg/disk0_meta 0 apply-al", ""),
    ("drbdsetup attach 0 /dev/xenvg/disk0_data /dev/xenvg/disk0_meta 0 --on-io-error=detach ...", ""),
]
CONNECT = (f"drbdsetup connect resource0 {ENDS} --protocol C ... --cram-hmac-alg=md5 --shared-secret=s", "")


def recorded(name):
    return (RECORDED / name).read_text()


def shown(name):
    return (SHOW, recorded(f"show-{name}"))


def drbd(tmp_path, *steps, proc="none"):
    script, clock = Script(*steps), SteppedClock()
    place = tmp_path / "proc"
    place.write_text(recorded(f"proc-{proc}"))
    kernel = DrbdKernel(script, proc=str(place), helper=str(tmp_path / "none"), sendpage=str(tmp_path / "sendpage"))
    storage = DrbdStorage(LvmStorage(script, clock), kernel, clock, lambda *how: None)
    return storage, script, clock


def test_assemble_from_nothing_applies_the_log_before_it_attaches(tmp_path):
    storage, tools, _ = drbd(
        tmp_path, *OPEN, (SHOW, UNKNOWN), ("drbdsetup new-resource resource0", ""),
        ("drbdsetup new-minor resource0 0 0", ""), *ATTACH, CONNECT,
    )  # fmt: skip
    storage.assemble(MIRROR, "i-1")
    tools.assert_finished()


@pytest.mark.parametrize(
    ("state", "more"),
    [("connected", []), ("attached", [CONNECT]), ("diskless", ATTACH), ("minor-only", [*ATTACH, CONNECT])],
)
def test_assemble_completes_what_is_missing_and_nothing_else(tmp_path, state, more):
    storage, tools, _ = drbd(tmp_path, *OPEN, shown(state), *more)
    storage.assemble(MIRROR, "i-1")
    tools.assert_finished()


def test_assemble_connects_the_right_volumes_to_a_new_peer(tmp_path):
    moved = msgspec.structs.replace(MIRROR, link=msgspec.structs.replace(LINK, peer_address="10.97.1.13"))
    storage, tools, _ = drbd(
        tmp_path, *OPEN, shown("connected"), (f"drbdsetup disconnect {ENDS}", ""),
        ("drbdsetup connect resource0 ipv4:10.97.1.11:11000 ipv4:10.97.1.13:11000 ...", ""),
    )  # fmt: skip
    storage.assemble(moved, "i-1")
    tools.assert_finished()


def test_a_minor_that_serves_something_else_is_never_touched(tmp_path):
    other = recorded("show-connected").replace("disk0_", "disk7_")
    elsewhere = recorded("show-diskless").replace("10.97.1.12", "10.97.1.19")
    storage, tools, _ = drbd(
        tmp_path, *OPEN, (SHOW, other), *OPEN, (SHOW, elsewhere), (SHOW, other), (LVS, BOTH), (SHOW, other), (LVS, BOTH)
    )
    for _ in range(2):
        with pytest.raises(errors.StorageError, match="in use for something else"):
            storage.assemble(MIRROR, "i-1")
    with pytest.raises(errors.StorageError, match="in use for something else"):
        storage.detach(MIRROR, "i-1")
    storage.close(MIRROR, "i-1")
    tools.assert_finished()


def test_a_half_whose_volumes_are_lost_goes_on_by_its_peer(tmp_path):
    storage, tools, _ = drbd(tmp_path, (LVS, EMPTY), shown("diskless"))
    storage.assemble(MIRROR, "i-1")
    tools.assert_finished()


def test_a_half_lets_go_of_volumes_that_lie_on_a_missing_disk(tmp_path):
    """LVM still knows them, with `p` for partial; DRBD may have them open until their first error."""
    partial = BOTH.replace("-wi-a-----", "-wi-a---p-")
    assert partial != BOTH
    storage, tools, _ = drbd(
        tmp_path, shown("connected"), (LVS, partial), ("drbdsetup detach 0", ""),
        shown("connected"), (LVS, partial), ("drbdsetup down resource0", ""),
    )  # fmt: skip
    storage.detach(MIRROR, "i-1")
    storage.close(MIRROR, "i-1")
    tools.assert_finished()


def test_open_waits_for_the_peer_but_not_for_ever_and_never_forces(tmp_path):
    proc = "wfconnection-secondary-unknown-uptodate-dunknown"
    storage, tools, clock = drbd(tmp_path, *OPEN, shown("connected"), ("drbdsetup primary 0", ""), proc=proc)
    assert storage.open(MIRROR, "i-1").path == "/dev/drbd0"
    assert 3 < clock.now < 6
    tools.assert_finished()


def test_a_primary_without_good_data_is_refused_with_the_reason(tmp_path):
    refused = Answer(status=17, stderr="0: State change failed: (-2) Need access to UpToDate data\n")
    proc = "standalone-secondary-unknown-inconsistent-dunknown"
    storage, _, _ = drbd(tmp_path, ("drbdsetup primary 0", refused), proc=proc)
    with pytest.raises(errors.StorageError, match=r"cannot make minor 0 primary.*Need access to UpToDate data"):
        storage.promote(MIRROR, "i-1", force=False)


@pytest.mark.parametrize(
    ("proc", "is_forced"),
    [
        ("connected-secondary-secondary-inconsistent-inconsistent", True),
        ("standalone-secondary-unknown-inconsistent-dunknown", True),
        ("syncsource-primary-secondary-uptodate-inconsistent", True),
        ("synctarget-secondary-primary-inconsistent-uptodate", False),
        ("connected-primary-secondary-diskless-uptodate", False),
    ],
)
def test_force_never_overwrites_a_half_that_has_data(tmp_path, proc, is_forced):
    steps = [("drbdsetup primary 0 --force", "")] if is_forced else []
    storage, tools, _ = drbd(tmp_path, *steps, proc=proc)
    if is_forced:
        storage.promote(MIRROR, "i-1", force=True)
    else:
        with pytest.raises(errors.StorageError, match="the peer's would be overwritten"):
            storage.promote(MIRROR, "i-1", force=True)
    tools.assert_finished()


def test_both_volumes_of_a_half_are_given_to_another_instance(tmp_path):
    storage, tools, _ = drbd(
        tmp_path, (LVS, BOTH), ("lvchange ... --addtag originstname+db xenvg/disk0_data", ""),
        (LVS, BOTH), ("lvchange ... --addtag originstname+db xenvg/disk0_meta", ""),
    )  # fmt: skip
    storage.give(MIRROR, "i-1", to="i-2", origin="db")
    tools.assert_finished()


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([(SHOW, UNKNOWN)], ""),
        ([shown("connected"), ("lvs ...", BOTH), ("drbdsetup down resource0", "")], ""),
        ([shown("connected"), ("lvs ...", BOTH), ("drbdsetup down resource0", HELD)], "something has it open"),
        ([shown("connected"), ("lvs ...", EMPTY)], "/dev/xenvg/disk0_data does not carry our mark"),
    ],
)
def test_a_minor_of_no_disk_ends_if_it_is_ours_and_nobody_has_it_open(tmp_path, steps, why):
    storage, tools, clock = drbd(tmp_path, *steps)
    assert storage.mirror.end(0).endswith(why)
    assert clock.now == SteppedClock().now
    tools.assert_finished()


def test_closing_waits_until_nobody_has_it_open(tmp_path):
    storage, tools, clock = drbd(
        tmp_path, shown("connected"), (LVS, BOTH), ("drbdsetup down resource0", HELD),
        shown("connected"), (LVS, BOTH), ("drbdsetup down resource0", ""),
        (SHOW, UNKNOWN), shown("connected"), ("drbdsetup secondary 0", HELD), ("drbdsetup secondary 0", ""),
    )  # fmt: skip
    storage.close(MIRROR, "i-1")
    storage.close(MIRROR, "i-1")
    storage.demote(MIRROR, "i-1")
    assert clock.now == 1.0
    tools.assert_finished()


class Holding:
    """A kernel: minor 0 is held open, minor 1 is not. Nothing has volumes."""

    def __init__(self):
        self.downs = []

    def configured(self, minor):
        return Configured()

    def down(self, minor):
        self.downs.append(minor)
        if minor == 0:
            raise errors.CommandFailed(("drbdsetup",), 11, "Device is held open by someone")


class Meanwhile(SteppedClock):
    """Something happens in another thread while somebody sleeps."""

    def __init__(self, action):
        super().__init__()
        self.action = action
        self.is_done = False

    def sleep(self, seconds):
        super().sleep(seconds)
        if not self.is_done:
            thread = threading.Thread(target=self.action, daemon=True)
            thread.start()
            thread.join(10)
            self.is_done = True
            assert not thread.is_alive(), "it waits for the disk that is held open"


def test_a_disk_that_is_held_open_holds_up_no_other_and_is_given_up_in_time():
    kernel = Holding()
    other = msgspec.structs.replace(MIRROR, link=msgspec.structs.replace(LINK, minor=1))
    clock = Meanwhile(lambda: storage.close(other, "i-2"))
    storage = DrbdStorage(LvmStorage(Script(), clock), kernel, clock, lambda *how: None)
    with pytest.raises(errors.StorageError, match=r"cannot shut down minor 0: .*held open"):
        storage.close(MIRROR, "i-1")
    assert kernel.downs[:2] == [0, 1]
    assert clock.now == 30.0


def test_new_volumes_get_new_metadata_and_old_ones_are_used_as_they_are(tmp_path):
    create = ("drbdmeta --force /dev/drbd0 v08 /dev/xenvg/disk0_meta 0 create-md", "")
    storage, tools, _ = drbd(
        tmp_path, *OPEN, shown("diskless"), create, *ATTACH, *OPEN, shown("connected"), *OPEN, shown("internal")
    )
    storage.attach(MIRROR, "i-1")
    storage.attach(MIRROR, "i-1")
    with pytest.raises(errors.StorageError, match="has volumes already"):
        storage.attach(MIRROR, "i-1")
    tools.assert_finished()


def test_metadata_lie_on_the_disk_of_their_data_not_on_another_one_of_the_instance(tmp_path):
    create = ("drbdmeta --force /dev/drbd0 v08 /dev/xenvg/disk0_meta 0 create-md", "")
    data, meta = MIRROR.children
    pvs = "  /dev/vdb|xenvg|8188.00|200.00|a--\n  /dev/vdc|xenvg|8188.00|8000.00|a--\n"
    other = EMPTY + "  xenvg|disk9_data|64.00|-wi-a-----|ganeti+i-1+d-9|4.00|1|/dev/vdb(16)\n"
    made = other + f"  xenvg|disk0_data|{data.size}|-wi-a-----|ganeti+i-1+{data.uuid}|4.00|1|/dev/vdc(0)\n"
    storage, tools, _ = drbd(
        tmp_path, (LVS, other), (LVS, other), (PVS, pvs), ("lvcreate ... --name disk0_data ... xenvg /dev/vdc", ""),
        SETTLE, (LVS, made), (PVS, pvs), ("lvcreate ... --name disk0_meta ... xenvg /dev/vdc", ""), SETTLE,
        (SHOW, UNKNOWN), create,
    )  # fmt: skip
    assert data.size + meta.size > 200
    storage.create(MIRROR, "i-1")
    tools.assert_finished()


def test_create_makes_metadata_once(tmp_path):
    create = ("drbdmeta --force /dev/drbd0 v08 /dev/xenvg/disk0_meta 0 create-md", "")
    get_gi = "drbdmeta --force 0 v08 /dev/xenvg/disk0_meta 0 get-gi"
    missing = Answer(status=255, stderr="No valid meta data found\n")
    new = [(LVS, EMPTY), (PVS, PV), ("lvcreate ...", ""), SETTLE]
    there = [(LVS, BOTH), (LVS, BOTH), (LVS, BOTH), SETTLE, (LVS, BOTH), SETTLE]
    storage, tools, _ = drbd(
        tmp_path, (LVS, EMPTY), *new, *new, (SHOW, UNKNOWN), create,
        *there, (SHOW, UNKNOWN), (get_gi, "0:0:0:0"),
        *there, (SHOW, UNKNOWN), (get_gi, missing), create,
        *there, shown("connected"),
    )  # fmt: skip
    for _ in range(4):
        storage.create(MIRROR, "i-1")
    tools.assert_finished()


def test_two_primaries_are_allowed_on_a_live_connection_only_and_always_forbidden_again(tmp_path):
    options = f"drbdsetup net-options {ENDS} --allow-two-primaries="
    storage, tools, _ = drbd(
        tmp_path, shown("connected"), (options + "yes", ""), shown("two-primaries"), shown("attached"),
        shown("attached"), (SHOW, UNKNOWN), proc="connected-primary-secondary-uptodate-uptodate",
    )  # fmt: skip
    storage.two_primaries(MIRROR, "i-1", allowed=True)
    back = msgspec.structs.replace(
        MIRROR, link=msgspec.structs.replace(LINK, address="10.97.1.12", peer_address="10.97.1.11")
    )
    storage.two_primaries(back, "i-1", allowed=True)
    with pytest.raises(errors.StorageError, match="not connected"):
        storage.two_primaries(MIRROR, "i-1", allowed=True)
    storage.two_primaries(MIRROR, "i-1", allowed=False)
    storage.two_primaries(MIRROR, "i-1", allowed=False)
    tools.assert_finished()


def test_disconnecting_twice_and_pausing_twice_are_fine(tmp_path):
    again = Answer(status=10, stderr="??: Failure: (162) Invalid configuration request\nunknown connection\n")
    paused = Answer(status=10, stderr="0: Failure: (134) Sync-pause flag is already set\n")
    storage, tools, _ = drbd(
        tmp_path, shown("connected"), (f"drbdsetup disconnect {ENDS}", again), shown("attached"),
        ("drbdsetup pause-sync 0", ""), ("drbdsetup pause-sync 0", paused), ("drbdsetup resume-sync 0", ""),
    )  # fmt: skip
    storage.disconnect(MIRROR, "i-1")
    storage.disconnect(MIRROR, "i-1")
    for wanted in (True, True, False):
        storage.pause(MIRROR, "i-1", paused=wanted)
    tools.assert_finished()


def test_a_mirror_is_never_made_smaller_by_its_growth(tmp_path):
    # 250 MiB were wanted, and the volumes below have whole extents: the guest has 252 MiB already
    asked = ("blockdev --getsize64 /dev/drbd0", f"{252 << 20}\n")
    odd = ("blockdev --getsize64 /dev/drbd0", "")
    storage, tools, _ = drbd(tmp_path, asked, asked, asked, ("drbdsetup resize 0 --size=262144k", ""), odd)
    storage.resize(MIRROR, "i-1", size=251)
    storage.resize(MIRROR, "i-1", size=252)
    storage.resize(MIRROR, "i-1", size=256)
    with pytest.raises(errors.StorageError, match="size of minor 0 is not known"):
        storage.resize(MIRROR, "i-1", size=260)
    tools.assert_finished()


def test_the_volume_below_is_measured_before_a_mirror_uses_more_of_it(tmp_path):
    ours = (LVS, BOTH)
    has = ("blockdev --getsize64 /dev/xenvg/disk0_data", f"{252 << 20}\n")
    up = (shown("attached"), ours)
    storage, tools, _ = drbd(
        tmp_path, *up, has, *up, has, *up, ("blockdev --getsize64 /dev/xenvg/disk0_data", ""),
        (SHOW, UNKNOWN), shown("diskless"),
    )  # fmt: skip
    storage.check_room(MIRROR, "i-1", size=252)
    with pytest.raises(errors.StorageError, match="disk0_data below minor 0 has 252 MiB, 253 MiB are wanted"):
        storage.check_room(MIRROR, "i-1", size=253)
    with pytest.raises(errors.StorageError, match="size of volume /dev/xenvg/disk0_data is not known"):
        storage.check_room(MIRROR, "i-1", size=253)
    with pytest.raises(errors.StorageError, match="minor 0 is not active"):
        storage.check_room(MIRROR, "i-1", size=252)
    with pytest.raises(errors.StorageError, match="has lost its volume"):
        storage.check_room(MIRROR, "i-1", size=252)
    tools.assert_finished()


def test_which_data_a_half_has_is_read_from_the_kernel_or_from_its_metadata(tmp_path):
    down = ("drbdmeta --force 0 v08 /dev/xenvg/disk0_meta 0 get-gi", recorded("gi-down-primary"))
    up = ("drbdsetup get-gi 0", recorded("gi-connected-secondary"))
    foreign = (SHOW, recorded("show-attached").replace("disk0_data", "disk7_data"))
    none = ("drbdmeta --force 0 v08 /dev/xenvg/disk0_meta 0 get-gi", Answer(status=255, stderr="No valid meta data"))
    storage, tools, _ = drbd(
        tmp_path, *OPEN, (SHOW, UNKNOWN), down, *OPEN, shown("attached"), up, *OPEN, shown("diskless"), down,
        *OPEN, foreign, *OPEN, (SHOW, UNKNOWN), none,
    )  # fmt: skip
    alone = storage.generation(MIRROR, "i-1")
    connected = storage.generation(MIRROR, "i-1")
    # the same data; the lowest bit is of the role
    assert alone.current == connected.current == "1947192EC947068A"
    assert storage.generation(MIRROR, "i-1") == alone
    with pytest.raises(errors.StorageError, match="in use for something else"):
        storage.generation(MIRROR, "i-1")
    with pytest.raises(errors.StorageError, match="cannot read the metadata of minor 0"):
        storage.generation(MIRROR, "i-1")
    tools.assert_finished()


def test_pages_of_a_guest_are_not_left_to_a_connection(tmp_path):
    switch = tmp_path / "sendpage"
    switch.write_text("N\n")
    storage, tools, _ = drbd(
        tmp_path, *OPEN, (SHOW, UNKNOWN), ("drbdsetup new-resource resource0", ""),
        ("drbdsetup new-minor resource0 0 0", ""), *ATTACH, CONNECT,
    )  # fmt: skip
    storage.assemble(MIRROR, "i-1")
    tools.assert_finished()
    assert switch.read_text() == "Y"


def test_the_module_is_checked(tmp_path):
    storage, _, _ = drbd(tmp_path)
    (tmp_path / "none").write_text("/sbin/drbdadm\n")
    kernel = DrbdKernel(Script(), proc=str(tmp_path / "proc"), helper=str(tmp_path / "none"))
    assert "usermode_helper=/sbin/drbdadm" in kernel.problem()
    (tmp_path / "none").write_text("/bin/true\n")
    assert kernel.problem() == ""
    (tmp_path / "proc").write_text("version: 9.1.4 (api:2/proto:110-121)\n")
    assert "8.4 is needed" in kernel.problem()
    assert "not loaded" in DrbdKernel(Script(), proc=str(tmp_path / "nowhere")).problem()
    with pytest.raises(errors.StorageError, match="has no version line"):
        (tmp_path / "proc").write_text("")
        storage.status(MIRROR, "i-1")


def test_a_real_node_gets_the_real_drivers():
    made = drivers(Paths(), HostRunner(Paths()))
    assert isinstance(made[DiskTemplate.PLAIN], LvmStorage)
    assert isinstance(made[DiskTemplate.DRBD], DrbdStorage)
