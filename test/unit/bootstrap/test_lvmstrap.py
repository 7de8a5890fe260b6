"""Which disks are taken for a volume group, and by which commands."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ganeti.bootstrap import lvmstrap
from ganeti.testing.script import Answer, Script

GIB = 1 << 30
LSBLK = "lsblk --json --bytes --output NAME,PATH,TYPE,SIZE,RM,RO,FSTYPE,MOUNTPOINT,PTTYPE"
VGS = ("vgs --noheadings -o vg_name", "  other\n")


def device(name: str, kind: str = "disk", **more: Any) -> dict[str, Any]:
    found = {"name": name, "path": f"/dev/{name}", "type": kind, "size": 100 * GIB, "rm": False, "ro": False}
    return {**found, "fstype": None, "mountpoint": None, "pttype": None, **more}


def listing(*devices: dict[str, Any]) -> str:
    return json.dumps({"blockdevices": devices})


MOUNTED = device("sda", pttype="dos", children=[device("sda1", "part", fstype="ext4", mountpoint="/")])
EVERY = (
    MOUNTED,
    device("sdb"),
    device("sdc", rm=True),
    device("sdd", fstype="swap", mountpoint="[SWAP]"),
    device("sde", pttype="gpt", children=[device("sde1", "part")]),
    device("sdf", fstype="LVM2_member"),
    device("sdg", fstype="xfs"),
    device("sdh", children=[device("md0", "raid1")]),
    device("sdi", ro=True),
    device("nvme0n1"),
    device("zram0"),
    device("sr0", "rom"),
)
MADE = (
    device("sdb", pttype="dos", children=[device("sdb1", "part")]),
    device("nvme0n1", pttype="dos", children=[device("nvme0n1p1", "part")]),
)


def run(script: Script, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    status = lvmstrap.main(arguments, script, out, err)
    return status, out.getvalue(), err.getvalue()


def test_diskinfo_tells_what_each_disk_is_used_for():
    status, out, _ = run(Script((LSBLK, listing(*EVERY))), "diskinfo")
    assert status == 0
    assert [line.split(maxsplit=3) for line in out.splitlines()[1:]] == [
        ["sda", "102400", "no", "/dev/sda1 is mounted on /"],
        ["sdb", "102400", "no", "unused"],
        ["sdc", "102400", "yes", "unused"],
        ["sdd", "102400", "no", "swap on /dev/sdd"],
        ["sde", "102400", "no", "partitions: sde1"],
        ["sdf", "102400", "no", "physical volume of LVM"],
        ["sdg", "102400", "no", "holds xfs"],
        ["sdh", "102400", "no", "used by md0"],
        ["sdi", "102400", "no", "unused"],
        ["nvme0n1", "102400", "no", "unused"],
    ]


def partitioning(disk: str) -> list[tuple[str, str]]:
    return [
        (f"dd if=/dev/zero of={disk} bs=512 count=1 conv=fsync", ""),
        (f"sfdisk --label dos {disk}", ""),
        ("udevadm settle --timeout=30", ""),
    ]


@pytest.mark.parametrize("disks", [("--alldisks",), ("-d", "sdb,/dev/nvme0n1,sdb")])
def test_a_group_is_made_of_one_partition_on_each_disk(disks):
    script = Script(
        VGS,
        (LSBLK, listing(*EVERY)),
        *partitioning("/dev/sdb"),
        *partitioning("/dev/nvme0n1"),
        (LSBLK, listing(*MADE)),
        (LSBLK, listing(*MADE)),
        ("pvcreate -yff /dev/sdb1", ""),
        ("pvcreate -yff /dev/nvme0n1p1", ""),
        ("vgcreate -s 64m data /dev/sdb1 /dev/nvme0n1p1", ""),
    )
    status, out, err = run(script, "create", "-g", "data", *disks)
    assert (status, err) == (0, "")
    assert "data is made of /dev/sdb1, /dev/nvme0n1p1" in out
    script.assert_finished()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "--alldisks"),
        (("--alldisks", "-d", "sdb"), "--alldisks"),
        (("-d", "sda"), "/dev/sda1 is mounted on /"),
        (("-d", "sdb,sdd"), "swap on /dev/sdd"),
        (("-d", "sde"), "partitions: sde1"),
        (("-d", "sdf"), "physical volume"),
        (("-d", "sdh"), "used by md0"),
        (("-d", "sdc"), "-r takes it"),
        (("-d", "sdi"), "cannot be written"),
        (("-d", "zram0"), "no disk 'zram0'"),
    ],
)
def test_what_may_hold_something_is_refused_before_anything_is_written(arguments, text):
    status, _, err = run(Script(VGS, (LSBLK, listing(*EVERY))), "create", *arguments)
    assert status == 1
    assert text in err


@pytest.mark.parametrize(("name", "text"), [("other", "other exists"), ("-x", "cannot be the name")])
def test_names_that_cannot_be_are_refused(name, text):
    script = Script(VGS)
    status, _, err = run(script, "create", "--alldisks", f"--vg-name={name}")
    assert status == 1
    assert text in err


def test_no_unused_disk_is_told():
    status, _, err = run(Script(VGS, (LSBLK, listing(MOUNTED))), "create", "--alldisks")
    assert (status, "there is no unused disk" in err) == (1, True)


def test_a_partition_that_does_not_come_and_a_command_that_fails_are_told():
    gone = Script(VGS, (LSBLK, listing(device("sdb"))), *partitioning("/dev/sdb"), (LSBLK, listing(device("sdb"))))
    assert "partition of /dev/sdb is not seen" in run(gone, "create", "-d", "sdb")[2]
    broken = Script((LSBLK, Answer(status=None, is_missing=True, why="not found")))
    assert run(broken, "diskinfo")[0] == 1


def test_verbose_shows_the_commands_and_other_words_are_refused():
    assert f"+ {LSBLK}" in run(Script((LSBLK, listing())), "-v", "diskinfo")[2]
    with pytest.raises(SystemExit):
        run(Script(), "destroy")
