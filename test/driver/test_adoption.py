"""Volumes that were there before: the commands that take them over and give them back, and deaths in between."""

import fcntl
import itertools
import os
import subprocess
import sys

import msgspec
import pytest

from ganeti import errors
from ganeti.calls.adoption import Candidate
from ganeti.host import faults
from ganeti.host.run import HostRunner
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.paths import Paths
from ganeti.storage import registry
from ganeti.storage.base import NotOurs
from ganeti.storage.file import adoption
from ganeti.storage.lvm.driver import LvmStorage
from ganeti.testing.clock import SteppedClock
from ganeti.testing.script import Answer, Script

TAG = "ganeti+i-1+d-1"
NEW = "originstname+web1"
OLDER = "originstname+was.example"
DISK = Disk(uuid="d-1", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "u.disk0"))
FOUND = Candidate(logical_id=("xenvg", "root"), size=128, labels=(OLDER,))
LVS = "lvs ... xenvg"


def row(name="root", tags=OLDER, attr="-wi-------", size="128.00", vg="xenvg"):
    return f"  {vg}|{name}|{size}|{attr}|{tags}|4.00|1|/dev/vdb(16)\n"


OTHER = row("other", tags="")


def lvm(*steps):
    script = Script(*steps)
    return LvmStorage(script, SteppedClock()).adoption, script


def adopt(driver):
    driver.adopt(DISK, "i-1", found=FOUND, origin="web1")


def give_back(driver):
    driver.give_back(DISK, "i-1", found=FOUND, origin="web1")


def test_look_tells_size_and_labels_of_volumes_in_any_group():
    driver, tools = lvm(
        ("lvs ... vg2", row(vg="vg2", tags="mine,theirs", size="12.00")),
        (LVS, OTHER + row()),
        ("lvs ... vg3", Answer(status=5, stderr='  Volume group "vg3" not found\n')),
    )
    ids = (("vg2", "root"), ("xenvg", "root"), ("vg2", "data"))
    other, found, none = driver.look(ids, ())
    assert found == FOUND
    assert other == Candidate(logical_id=("vg2", "root"), size=12)
    assert none.problem == "there is no such logical volume"
    with pytest.raises(errors.StorageError, match=r'of vg3: .*"vg3" not found'):
        driver.look((("vg3", "root"),), ())
    tools.assert_finished()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"tags": TAG}, "carries the tag of disk d-1 of instance i-1"),
        ({"attr": "-wi-ao----"}, "is in use"),
        ({"attr": "owi-a-----"}, "other volumes depend on it"),
        ({"attr": "swi-a-s---"}, "other volumes depend on it"),
        ({"attr": "twi-a-tz--"}, "other volumes depend on it"),
        ({"attr": "-wi-s-----"}, "no good state"),
        ({"attr": "-ri-a-----"}, "is read-only"),
        ({"attr": "-wi-a---p-"}, "has lost the disk"),
        ({"attr": "vwi-a-----"}, "has lost the disk"),
        ({"attr": "Vwi---tz-k"}, "is skipped when volumes are activated"),
        ({"size": "130.50"}, "is not a whole number of MiB"),
    ],
)
def test_what_must_not_be_taken_is_told_at_the_look_and_again_at_the_adoption(changes, text):
    driver, tools = lvm((LVS, row(**changes)), (LVS, row(**changes)))
    (found,) = driver.look((("xenvg", "root"),), ())
    assert text in found.problem
    if "tags" in changes:
        return  # its own tag is what an interrupted adoption leaves
    with pytest.raises(NotOurs, match=text):
        adopt(driver)
    tools.assert_finished()


def test_kinds_that_stand_alone_can_be_adopted():
    for attr in ("-wi-------", "mwi-a-m---", "rwi-a-r---", "Vwi-a-tz--", "Cwi-a-C---"):
        driver, _ = lvm((LVS, row(attr=attr)))
        assert not driver.look((("xenvg", "root"),), ())[0].problem


def test_adopt_tags_then_renames_and_goes_on_where_it_was_interrupted():
    renamed = row("u.disk0", tags=f"{TAG},{NEW}")
    driver, tools = lvm(
        (LVS, OTHER + row()),
        (f"lvchange --deltag {OLDER} --addtag {TAG} --addtag {NEW} xenvg/root", ""),
        ("lvrename --yes xenvg root u.disk0", ""),
        (LVS, row(tags=f"{TAG},{NEW}")), ("lvrename --yes xenvg root u.disk0", ""),
        (LVS, renamed),
    )  # fmt: skip
    for _ in range(3):
        adopt(driver)
    tools.assert_finished()


def test_give_back_renames_then_takes_the_tags_off_and_goes_on_where_it_was_interrupted():
    tags = f"{TAG},{NEW}"
    untagged = f"lvchange --deltag {TAG} --deltag {NEW} --addtag {OLDER} xenvg/root"
    driver, tools = lvm(
        (LVS, OTHER + row("u.disk0", tags=tags)), ("lvrename --yes xenvg u.disk0 root", ""), (untagged, ""),
        (LVS, row(tags=tags)), (untagged, ""),
        (LVS, row()),
        (LVS, OTHER),
    )  # fmt: skip
    for _ in range(4):
        give_back(driver)
    tools.assert_finished()


def test_a_label_that_stays_the_same_is_not_touched():
    same = msgspec.structs.replace(FOUND, labels=(NEW,))
    driver, tools = lvm(
        (LVS, row(tags=NEW)), (f"lvchange --addtag {TAG} xenvg/root", ""), ("lvrename ...", ""),
        (LVS, row("u.disk0", tags=f"{NEW},{TAG}")), ("lvrename ...", ""), (f"lvchange --deltag {TAG} xenvg/root", ""),
    )  # fmt: skip
    driver.adopt(DISK, "i-1", found=same, origin="web1")
    driver.give_back(DISK, "i-1", found=same, origin="web1")
    tools.assert_finished()


def test_nothing_of_others_is_touched():
    taken = row("u.disk0", tags="ganeti+i-2+d-2")
    driver, tools = lvm(
        (LVS, row() + taken),
        (LVS, row(size="256.00")),
        (LVS, row(tags="")),
        (LVS, row() + taken),
        (LVS, row(tags="ganeti+i-2+d-2")),
        (LVS, row() + row("u.disk0", tags=TAG)),
    )
    with pytest.raises(NotOurs, match=r"u\.disk0 exists and is not"):
        adopt(driver)
    for _ in ("another size", "another label"):
        with pytest.raises(NotOurs, match="not as it was"):
            adopt(driver)
    give_back(driver)
    give_back(driver)
    with pytest.raises(errors.StorageError, match="another one has that name now"):
        give_back(driver)
    tools.assert_finished()


def test_another_group_and_a_failing_tool_are_told():
    driver, tools = lvm((LVS, row()), ("lvchange ...", Answer(status=5, stderr="  locked\n")))
    with pytest.raises(errors.StorageError, match="cannot become"):
        driver.adopt(DISK, "i-1", found=Candidate(logical_id=("vg2", "root"), size=128), origin="web1")
    with pytest.raises(errors.StorageError, match=r"cannot adopt logical volume xenvg/root: .*locked"):
        adopt(driver)
    tools.assert_finished()


# Files of virtual nodes


class Death(BaseException):
    """The process dies here."""


class Node:
    def __init__(self, root):
        self.paths = Paths(str(root), "node1.example.com")
        self.storage = registry.drivers(self.paths, HostRunner(self.paths))[DiskTemplate.PLAIN]
        self.home = root / "var/lib/ganeti/fake-lvm/xenvg"
        self.home.mkdir(parents=True)
        (self.home / "root").write_bytes(b"content".ljust(1 << 20, b"."))
        self.first = self.held()
        (self.found,) = self.look()
        self.disk = msgspec.structs.replace(DISK, size=1)

    def look(self):
        return self.storage.adoption.look((("xenvg", "root"),), ())

    def adopt(self):
        self.storage.adoption.adopt(self.disk, "i-1", found=self.found, origin="web1")

    def give_back(self):
        self.storage.adoption.give_back(self.disk, "i-1", found=self.found, origin="web1")

    def held(self):
        return {each.name: each.read_bytes() for each in self.home.iterdir()}


@pytest.fixture
def node(tmp_path):
    yield Node(tmp_path)
    faults.arm(None)


def die_at(wanted):
    def action(point):
        if point == wanted:
            raise Death

    faults.arm(action)


TO, BACK = (adoption.MARKED, adoption.RENAMED), (adoption.LINKED, adoption.RETURNED)


@pytest.mark.parametrize(("there", "back"), [*itertools.product((*TO, None), (*BACK, None))])
def test_dying_on_the_way_there_and_on_the_way_back_loses_nothing(node, there, back):
    die_at(there)
    if there is None:
        node.adopt()
        assert node.storage.open(node.disk, "i-1").size == 1
        assert node.held()["u.disk0"] == node.first["root"]
        assert "root" not in node.held()
    else:
        with pytest.raises(Death):
            node.adopt()
    die_at(back)
    if back is None or (there == adoption.MARKED and back == adoption.LINKED):
        node.give_back()
    else:
        with pytest.raises(Death):
            node.give_back()
    assert node.first["root"] in node.held().values()
    faults.arm(None)
    node.give_back()
    assert node.held() == node.first
    node.give_back()
    assert node.held() == node.first


@pytest.mark.parametrize("point", TO)
def test_an_adoption_goes_on_where_it_died(node, point):
    die_at(point)
    with pytest.raises(Death):
        node.adopt()
    faults.arm(None)
    node.adopt()
    assert sorted(node.held()) == ["u.disk0", "u.disk0.owner"]
    assert node.held()["u.disk0"] == node.first["root"]


def test_a_file_that_a_program_has_locked_is_in_use(node):
    keep = "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_SH); print(); input()"
    if hasattr(fcntl, "F_OFD_SETLK"):
        # as emulators do
        keep = keep.replace(
            "fcntl.lockf(f, fcntl.LOCK_SH)",
            "import struct; fcntl.fcntl(f, fcntl.F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_RDLCK, 0, 100, 1, 0))",
        )
    command = [sys.executable, "-c", keep, str(node.home / "root")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        program.stdout.readline()
        assert node.look()[0].problem == "it is in use"
        with pytest.raises(NotOurs, match="in use"):
            node.adopt()
        program.communicate(b"\n")
    assert not node.look()[0].problem
    node.adopt()


def test_a_volume_under_the_new_name_is_not_overwritten(node):
    (node.home / "u.disk0").write_bytes(b"somebody's")
    with pytest.raises(NotOurs, match="exists and is not"):
        node.adopt()
    node.give_back()
    assert node.held() == {**node.first, "u.disk0": b"somebody's"}


def test_what_cannot_be_read_is_told(node):
    os.rename(node.home, node.home.with_name("elsewhere"))
    node.home.write_text("no directory")
    with pytest.raises(errors.StorageError, match="cannot look at volume"):
        node.look()
