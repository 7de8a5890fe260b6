"""Reports of LVM, names and tags, and where volumes go."""

import pytest

from ganeti import errors
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.storage.lvm import choice, names, parse
from ganeti.storage.lvm.choice import Company
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


def first(pvs, *, size=100, stripes=1, **company):
    company = {key: frozenset(value) if key in ("near", "mate") else value for key, value in company.items()}
    return choice.choose(pvs, "xenvg", size=size, stripes=stripes, company=Company(**company))[0]


def test_a_volume_goes_beside_the_others_of_its_instance():
    pvs = [pv("a", 900), pv("b", 200), pv("c", 500)]
    assert first(pvs).pvs == ("a",)
    assert first(pvs, near={"b"}).pvs == ("b",)
    assert first(pvs, near={"b"}, size=300).pvs == ("a",)


def test_the_first_of_several_goes_where_all_have_room():
    pvs = [pv("a", 400), pv("b", 300), pv("c", 900)]
    assert first(pvs, together=800).pvs == ("c",)
    assert first(pvs, near={"a"}, together=800).pvs == ("a",)


def test_the_two_volumes_of_a_mirror_stay_on_one_disk_before_anything_else():
    pvs = [pv("a", 900), pv("b", 200), pv("c", 500)]
    # the other one is to come: the disk of the instance that has no room for both is not taken
    assert first(pvs, near={"b"}, mate_size=128, together=228).pvs == ("a",)
    assert first(pvs, near={"b", "c"}, mate_size=128, together=228).pvs == ("c",)
    assert first([pv("b", 230), pv("d", 110)], near={"d"}, mate_size=128).pvs == ("b",)
    # it is there: beside it, not beside another one of the instance, though that has more room
    assert first(pvs, near={"a", "b"}, mate={"b"}).pvs == ("b",)
    assert first(pvs, near={"a", "b"}, mate={"b"}, size=300).pvs == ("a",)
    # over several disks the other one lies on one of them
    assert set(first(pvs, stripes=2, size=200, mate_size=128).pvs) == {"a", "c"}
    assert first(pvs, mate={"a", "c"}).pvs == ("a",)


def batch(free, disks):
    """Where the volumes of a new instance go, one after the other as mirrors are made."""
    together, held, where = sum(data + 128 for data in disks), set(), []
    for data in disks:
        for size, is_data in ((data, True), (128, False)):
            mate = {"mate_size": 128} if is_data else {"mate": {where[-1]}}
            pvs = [pv(name, left) for name, left in free.items()]
            (name,) = first(pvs, size=size, near=held, together=together, **mate).pvs
            free[name] -= size
            held.add(name)
            where.append(name)
    return "".join(where)


@pytest.mark.parametrize(
    ("free", "disks", "where"),
    [
        ({"a": 2000, "b": 5000, "c": 3000}, [1000, 1000], "bbbb"),
        ({"a": 1500, "b": 2600, "c": 1400}, [1000, 1000, 1000], "bbbbaa"),
        ({"a": 1150, "b": 1150, "c": 1000}, [1000, 1000], "aabb"),
    ],
)
def test_the_volumes_of_an_instance_lie_on_as_few_disks_as_there_is_room_on(free, disks, where):
    assert batch(free, disks) == where


def test_stripes_are_as_many_as_there_is_room_for():
    pvs = [pv("a", 100), pv("b", 60), pv("c", 10)]
    ways = choice.choose(pvs, "xenvg", size=100, stripes=3, company=Company())
    assert [(way.stripes, way.pvs) for way in ways] == [(2, ("a", "b")), (1, ("a",)), (1, ("a", "b", "c"))]


def test_what_fits_on_no_single_disk_is_spread():
    ways = choice.choose([pv("a", 60), pv("b", 60)], "xenvg", size=100, stripes=1, company=Company())
    assert ways == (choice.Choice(stripes=1, pvs=("a", "b")),)


def test_too_little_space_and_none_at_all_are_told():
    pvs = [pv("a", 60), pv("x", 900, "u--"), pv("y", 900, "a-m"), pv("z", 900, vg="other")]
    with pytest.raises(errors.StorageError, match="required 100, available 60"):
        first(pvs)
    with pytest.raises(errors.StorageError, match="no physical volume"):
        first(pvs[1:])
