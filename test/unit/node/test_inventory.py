"""What LVM reports of a node's storage."""

import json

import pytest

from ganeti import errors
from ganeti.calls.inventory import LogicalVolume, StorageKind, StorageList, StorageUnit
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.node import inventory
from ganeti.node.base import Context, NodeEnv
from ganeti.paths import Paths
from ganeti.testing.script import Answer, Script


def reported(what, *rows):
    return json.dumps({"report": [{what: list(rows)}]})


def env(runner, root="/nonexistent"):
    return NodeEnv(paths=Paths(str(root)), runner=runner, clock=SystemClock(), hypervisors={}, storage={})


def ask(runner, kind, **more):
    return inventory.units(StorageList(kind=kind, **more), env(runner), Context())


def test_logical_volumes_are_ordered_by_device_and_have_a_line_for_each():
    text = reported(
        "lv",
        {"lv_name": "b", "lv_size": "2048.00", "devices": "/dev/sdb1(0),/dev/sda1(25)", "vg_name": "xenvg"},
        {"lv_name": "a", "lv_size": "512.00", "devices": "/dev/sda1(0)", "vg_name": "xenvg"},
        {"lv_name": "pool", "lv_size": "64.00", "devices": "", "vg_name": "xenvg"},
    )
    tools = Script(("lvs --reportformat=json --units=m --nosuffix -o lv_name,lv_size,devices,vg_name", text))
    assert inventory.logical_volumes(tools) == [
        LogicalVolume(device="", vg="xenvg", name="pool", size=64.0),
        LogicalVolume(device="/dev/sda1", vg="xenvg", name="a", size=512.0),
        LogicalVolume(device="/dev/sda1", vg="xenvg", name="b", size=2048.0),
        LogicalVolume(device="/dev/sdb1", vg="xenvg", name="b", size=2048.0),
    ]


def test_a_node_without_lvm_has_no_volumes():
    assert inventory.logical_volumes(Script(("lvs ...", Answer(status=None, is_missing=True)))) == []


@pytest.mark.parametrize("answer", [Answer(status=5, stderr="no"), Answer(status=None, why="no end within 60 s")])
def test_lvm_that_fails_is_told_of(answer):
    with pytest.raises(errors.StorageError, match="LVM cannot be asked"):
        inventory.logical_volumes(Script(("lvs ...", answer)))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"report": [{}]}', '{"report": 5}', '{"report": [{"lv": [5]}]}', '{"report": [{"lv": [{}]}]}']
)
def test_a_report_of_another_form_is_refused(text):
    with pytest.raises(errors.StorageError, match="cannot read what lvs reports"):
        inventory.parse(text, "lvs", ("lv_name",))


def test_physical_volumes():
    row = {"pv_name": "/dev/sda1", "pv_size": "100.00", "pv_used": "40.00", "pv_free": "60.00"}
    text = reported("pv", row | {"pv_attr": "a--"}, row | {"pv_name": "/dev/sdb1", "pv_attr": "u--"})
    found = ask(Script(("pvs ...", text)), StorageKind.LVM_PV)
    assert [(unit.name, unit.used, unit.allocatable) for unit in found] == [
        ("/dev/sda1", 40.0, True),
        ("/dev/sdb1", 40.0, False),
    ]


def test_sizes_of_the_physical_volumes_of_one_group():
    rows = [
        {"vg_name": vg, "pv_size": size} for vg, size in (("xenvg", "100.00"), ("other", "7.00"), ("xenvg", "50.00"))
    ]
    tools = Script(("pvs --reportformat=json --units=m --nosuffix -o vg_name,pv_size", reported("pv", *rows)))
    assert inventory.pv_sizes(tools, "xenvg") == (100.0, 50.0)


def test_one_volume_group():
    rows = [{"vg_name": name, "vg_size": "100.00", "vg_free": "30.00"} for name in ("vg0", "xenvg")]
    found = ask(Script(("vgs ...", reported("vg", *rows))), StorageKind.LVM_VG, name="xenvg")
    assert found == (StorageUnit(name="xenvg", size=100.0, used=70.0, free=30.0),)
    with pytest.raises(errors.StorageError, match="a size should be"):
        ask(Script(("vgs ...", reported("vg", rows[0] | {"vg_size": "big"}))), StorageKind.LVM_VG)


def test_directories(tmp_path):
    (tmp_path / "srv").mkdir()
    call = StorageList(kind=StorageKind.FILE, directories=("/srv",))
    (unit,) = inventory.units(call, env(Script(), tmp_path), Context())
    assert unit.name == "/srv"
    assert 0 < unit.free <= unit.size
    with pytest.raises(errors.StorageError, match="/gone"):
        inventory.units(StorageList(kind=StorageKind.FILE, directories=("/gone",)), env(Script(), tmp_path), Context())


def test_a_program_that_is_not_there_is_missing():
    with pytest.raises(errors.CommandFailed) as caught:
        HostRunner(Paths()).run(("/nonexistent/lvs",))
    assert caught.value.is_missing
