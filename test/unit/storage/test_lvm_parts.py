"""Reports of LVM, names and tags, and where volumes go."""

import pytest

from ganeti import errors
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.storage.lvm import choice, names, parse
from ganeti.storage.lvm.names import Mark
from ganeti.storage.lvm.parse import Pv

LVS = """  xenvg|data1|128.00|-wi-a-----||4.00|1|/dev/vdb(0)
  xenvg|data2|64.00|owi-aos---|ganeti+i-1+d-1,other|4.00|2|/dev/vdb(32),/dev/vdc(0)
  xenvg|data2|64.00|owi-aos---|ganeti+i-1+d-1,other|4.00|1|/dev/vdd(48)
  xenvg|data2.snap|32.00|swi-a-s---||4.00|1|/dev/vdb(64)
  xenvg|lost|64.00|vwi-a-----||4.00|0|
"""


def test_volumes_are_read_with_marks_and_the_disks_they_lie_on():
    data1, data2, snap, lost = parse.lvs(LVS)
    assert (data1.size, data1.mark, data1.pvs, data1.is_open) == (128.0, None, ("/dev/vdb",), False)
    assert data2.mark == Mark(owner="i-1", disk="d-1")
    assert (data2.stripes, data2.pvs, data2.is_open) == (2, ("/dev/vdb", "/dev/vdc", "/dev/vdd"), True)
    assert snap.is_active
    assert lost.is_virtual


def test_physical_volumes_and_groups_are_read():
    (pv,) = parse.pvs("  /dev/vdb|xenvg|8188.00|8188.00|a--\n")
    assert (pv.name, pv.free, pv.is_allocatable, pv.is_missing) == ("/dev/vdb", 8188.0, True, False)
    (vg,) = parse.vgs("  xenvg|8188.00|7836.00|wz--n-|4.00|1|0\n")
    assert (vg.size, vg.free, vg.missing) == (8188.0, 7836.0, 0)


@pytest.mark.parametrize("line", ["xenvg|data1|128.00", "xenvg|d|much|-wi-a-----||4.00|1|", "a|b|1|x||4|1|"])
def test_a_line_that_cannot_be_understood_is_an_error(line):
    with pytest.raises(errors.StorageError, match="cannot be understood"):
        parse.lvs(line)


def test_a_tag_says_whose_it_is():
    tag = Mark(owner="i-1", disk="d-1").tag
    assert names.mark_of(f"originstname+web1,{tag}") == Mark(owner="i-1", disk="d-1")
    assert names.mark_of("originstname+web1") is None
    with pytest.raises(errors.StorageError):
        _ = Mark(owner="i 1", disk="d-1").tag


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("web1.example.com", "originstname+web1.example.com"),
        ("we b/1,x", "originstname+we_b_1_x"),
        ("x" * 200, "originstname+" + "x" * 115),
    ],
)
def test_the_tag_for_people_holds_what_lvm_takes_of_a_name(name, tag):
    assert names.origin_tag(name) == tag
    assert names.origin_of(("other", tag)) == tag.partition("+")[2]
    assert names.mark_of(tag) is None
    assert names.is_our_tag(tag)
    assert not names.is_our_tag("other")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-x", "a/b", "snapshot1", "pvmove0", "x_mlog", "x_rimage_0", "a" * 128]
)
def test_names_that_lvm_does_not_take_are_refused(name):
    with pytest.raises(errors.StorageError):
        names.place(Disk(uuid="d", template=DiskTemplate.PLAIN, size=1, logical_id=("xenvg", name)))


def pv(name, free, attr="a--", vg="xenvg"):
    return Pv(name=name, vg=vg, size=1000, free=free, attr=attr)


def first(pvs, **how):
    return choice.choose(pvs, "xenvg", **{"size": 100, "stripes": 1, "near": (), **how})[0]


def test_a_volume_goes_beside_the_others_of_its_instance():
    pvs = [pv("a", 900), pv("b", 200), pv("c", 500)]
    assert first(pvs).pvs == ("a",)
    assert first(pvs, near={"b"}).pvs == ("b",)
    assert first(pvs, near={"b"}, size=300).pvs == ("a",)


def test_the_first_of_several_goes_where_all_have_room():
    pvs = [pv("a", 400), pv("b", 300), pv("c", 900)]
    assert first(pvs, together=800).pvs == ("c",)
    assert first(pvs, near={"a"}, together=800).pvs == ("a",)


def test_stripes_are_as_many_as_there_is_room_for():
    pvs = [pv("a", 100), pv("b", 60), pv("c", 10)]
    ways = choice.choose(pvs, "xenvg", size=100, stripes=3, near=())
    assert [(way.stripes, way.pvs) for way in ways] == [(2, ("a", "b")), (1, ("a",)), (1, ("a", "b", "c"))]


def test_what_fits_on_no_single_disk_is_spread():
    ways = choice.choose([pv("a", 60), pv("b", 60)], "xenvg", size=100, stripes=1, near=())
    assert ways == (choice.Choice(stripes=1, pvs=("a", "b")),)


def test_too_little_space_and_none_at_all_are_told():
    pvs = [pv("a", 60), pv("x", 900, "u--"), pv("y", 900, "a-m"), pv("z", 900, vg="other")]
    with pytest.raises(errors.StorageError, match="required 100, available 60"):
        first(pvs)
    with pytest.raises(errors.StorageError, match="no physical volume"):
        first(pvs[1:])
