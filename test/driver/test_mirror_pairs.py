"""What two halves of a mirror have to do, whatever they are: virtual always, real DRBD on the testbed."""

import msgspec
import pytest
from driver import mirror_kit
from driver.mirror_kit import OWNER
from driver.volume_kit import MIB, Watch

from ganeti import errors
from ganeti.model.disks import snapshot_of
from ganeti.model.generations import Age, compare
from ganeti.storage.base import NotOurs


@pytest.fixture(params=mirror_kit.KINDS)
def pair(request, tmp_path):
    made = mirror_kit.make(request.param, tmp_path)
    yield made
    made.close()


def test_a_new_mirror_is_filled_from_its_primary_whatever_the_other_half_had(pair):
    pair.make_halves()
    for place, content in ((0, b"right"), (1, b"wrong")):
        pair.halves[place].put(pair.disk.children[0], content)
    pair.create()
    assert (pair.status(0).role, pair.status(0).connection) == ("Primary", "Connected")
    assert (pair.status(1).role, pair.status(1).problem) == ("Secondary", "")
    assert (pair.read(0), pair.read(1)) == (b"right", b"right")


def test_what_the_primary_writes_is_in_both_halves(pair):
    pair.create()
    pair.write(0, b"hello", offset=5 * MIB)
    assert (pair.read(0, offset=5 * MIB), pair.read(1, offset=5 * MIB)) == (b"hello", b"hello")
    assert pair.halves[0].size(pair.end(0)) == pair.disk.size * MIB


def test_a_half_that_was_never_filled_cannot_become_primary(pair):
    pair.make_halves()
    pair.assemble()
    for place in (0, 1):
        with pytest.raises(errors.StorageError, match="Need access to UpToDate data"):
            pair.mirrors[place].promote(pair.end(place), OWNER, force=False)


def test_two_primaries_only_when_both_allow_it(pair):
    pair.create()
    with pytest.raises(errors.StorageError, match="Multiple primaries"):
        pair.mirrors[1].promote(pair.end(1), OWNER, force=False)
    for _ in range(2):
        for place in (0, 1):
            pair.mirrors[place].two_primaries(pair.end(place), OWNER, allowed=True)
    pair.mirrors[1].promote(pair.end(1), OWNER, force=False)
    pair.write(1, b"by 1!")
    assert pair.read(0) == b"by 1!"
    with pytest.raises(errors.StorageError):
        pair.mirrors[0].two_primaries(pair.end(0), OWNER, allowed=False)
    pair.mirrors[0].demote(pair.end(0), OWNER)
    for _ in range(2):
        for place in (0, 1):
            pair.mirrors[place].two_primaries(pair.end(place), OWNER, allowed=False)
    assert (pair.status(0).role, pair.status(1).role) == ("Secondary", "Primary")
    with pytest.raises(errors.StorageError, match="Multiple primaries"):
        pair.mirrors[0].promote(pair.end(0), OWNER, force=False)


def test_a_half_that_was_parted_gets_what_it_missed(pair):
    pair.create()
    pair.write(0, b"first")
    pair.mirrors[1].disconnect(pair.end(1), OWNER)
    pair.until(lambda: pair.status(0).connection == "WFConnection")
    assert pair.status(1).connection == "StandAlone"
    assert pair.status(0).is_degraded
    pair.write(0, b"later")
    assert (pair.read(0), pair.read(1)) == (b"later", b"first")
    pair.assemble()
    pair.settle()
    assert (pair.read(0), pair.read(1)) == (b"later", b"later")


def test_the_other_half_goes_on_alone_and_fills_the_first_when_that_is_back(pair):
    pair.create()
    pair.write(0, b"first")
    pair.mirrors[0].demote(pair.end(0), OWNER)
    pair.mirrors[0].close(pair.end(0), OWNER)
    assert not pair.status(0).is_up
    pair.mirrors[1].open(pair.end(1), OWNER)
    pair.status(1)
    pair.write(1, b"after")
    assert pair.read(0) == b"first"
    pair.mirrors[0].assemble(pair.end(0), OWNER)
    pair.settle()
    assert (pair.read(0), pair.status(0).role, pair.status(1).role) == (b"after", "Secondary", "Primary")


def test_a_synchronisation_can_wait_and_go_on(pair):
    pair.create()
    pair.mirrors[1].disconnect(pair.end(1), OWNER)
    pair.until(lambda: pair.status(0).connection == "WFConnection")
    pair.write(0, b"later")
    for _ in range(2):
        pair.mirrors[0].pause(pair.end(0), OWNER, paused=True)
    pair.assemble()
    pair.until(lambda: pair.status(1).connection == "PausedSyncT")
    assert (pair.status(0).connection, pair.status(0).peer_disk) == ("PausedSyncS", "Inconsistent")
    assert pair.status(0).is_syncing
    assert pair.read(1) == bytes(5)
    for _ in range(2):
        pair.mirrors[0].pause(pair.end(0), OWNER, paused=False)
    pair.settle()
    assert pair.read(1) == b"later"


def test_a_split_brain_is_named_at_both_ends_and_nothing_is_thrown_away(pair):
    pair.create()
    pair.mirrors[0].demote(pair.end(0), OWNER)
    for place in (0, 1):
        pair.mirrors[place].disconnect(pair.end(place), OWNER)
    for place, text in ((0, b"zero!"), (1, b"one!!")):
        pair.mirrors[place].promote(pair.end(place), OWNER, force=False)
        pair.status(place)
        pair.write(place, text)
        pair.mirrors[place].demote(pair.end(place), OWNER)
    pair.assemble()
    pair.until(lambda: all("split brain" in pair.status(place).problem for place in (0, 1)))
    assert (pair.read(0), pair.read(1)) == (b"zero!", b"one!!")
    assert ages(pair) == (Age.APART, Age.APART)
    pair.assemble()
    pair.until(lambda: all("split brain" in pair.status(place).problem for place in (0, 1)))
    assert (pair.read(0), pair.read(1)) == (b"zero!", b"one!!")


def ages(pair):
    """Of the two halves, each as compared with the other one."""
    first, second = (pair.mirrors[place].generation(pair.end(place), OWNER) for place in (0, 1))
    return compare(first, second), compare(second, first)


def close(pair, *places):
    for place in places:
        pair.mirrors[place].close(pair.end(place), OWNER)


def test_which_half_is_newer_is_told_whether_they_are_up_or_down(pair):
    pair.make_halves()
    assert not any(pair.mirrors[place].generation(pair.end(place), OWNER).is_consistent for place in (0, 1))
    pair.create()
    pair.write(0, b"first")
    assert ages(pair) == (Age.SAME, Age.SAME)
    close(pair, 0, 1)
    assert ages(pair) == (Age.SAME, Age.SAME)
    pair.assemble()
    pair.mirrors[0].open(pair.end(0), OWNER)
    pair.settle()
    assert ages(pair) == (Age.SAME, Age.SAME)
    pair.mirrors[1].disconnect(pair.end(1), OWNER)
    pair.until(lambda: pair.status(0).connection == "WFConnection")
    pair.write(0, b"later")
    assert ages(pair) == (Age.NEWER, Age.OLDER)
    close(pair, 0, 1)
    assert ages(pair) == (Age.NEWER, Age.OLDER)
    # real halves know that they are outdated, and lead by force only
    pair.mirrors[1].assemble(pair.end(1), OWNER)
    pair.mirrors[1].promote(pair.end(1), OWNER, force=True)
    pair.status(1)
    assert ages(pair) == (Age.APART, Age.APART)
    close(pair, 1)
    assert ages(pair) == (Age.APART, Age.APART)


def test_a_half_that_got_what_it_missed_is_the_same_again(pair):
    pair.create()
    pair.mirrors[1].disconnect(pair.end(1), OWNER)
    pair.until(lambda: pair.status(0).connection == "WFConnection")
    pair.write(0, b"later")
    pair.assemble()
    pair.settle()
    assert ages(pair) == (Age.SAME, Age.SAME)
    # the other one leads
    pair.mirrors[0].demote(pair.end(0), OWNER)
    close(pair, 0)
    pair.mirrors[1].open(pair.end(1), OWNER)
    pair.status(1)
    pair.write(1, b"after")
    assert ages(pair) == (Age.OLDER, Age.NEWER)


def replace_volumes(pair, place):
    pair.mirrors[place].detach(pair.end(place), OWNER)
    for child in pair.disk.children:
        pair.plains[place].remove(child, OWNER)
        pair.plains[place].create(child, OWNER)
    pair.mirrors[place].attach(pair.end(place), OWNER)


def test_new_volumes_are_filled_from_the_other_half(pair):
    pair.create()
    pair.write(0, b"hello")
    for _ in range(2):
        pair.mirrors[1].detach(pair.end(1), OWNER)
    assert (pair.status(1).disk, pair.status(1).problem) == ("Diskless", "has lost its own volume")
    with pytest.raises(errors.StorageError, match="Need access"):
        pair.mirrors[0].detach(pair.end(0), OWNER)
    pair.write(0, b"later")
    replace_volumes(pair, 1)
    pair.settle()
    pair.mirrors[1].attach(pair.end(1), OWNER)
    assert (pair.read(0), pair.read(1)) == (b"later", b"later")


def test_force_does_not_overwrite_a_peer_that_has_the_content(pair):
    pair.create()
    pair.write(0, b"hello")
    pair.mirrors[0].demote(pair.end(0), OWNER)
    pair.mirrors[0].pause(pair.end(0), OWNER, paused=True)
    replace_volumes(pair, 1)
    pair.until(lambda: pair.status(1).disk == "Inconsistent")
    assert ages(pair) == (Age.NEWER, Age.OLDER)
    with pytest.raises(errors.StorageError, match="would be overwritten"):
        pair.mirrors[1].promote(pair.end(1), OWNER, force=True)
    pair.mirrors[0].pause(pair.end(0), OWNER, paused=False)
    pair.settle()
    assert (pair.read(0), pair.read(1)) == (b"hello", b"hello")


def test_a_half_is_replaced_by_one_at_another_place(pair):
    pair.create()
    pair.write(0, b"hello")
    third = pair.third()
    pair.mirrors[2].create(third, OWNER)
    pair.mirrors[1].close(pair.end(1), OWNER)
    for _ in range(2):
        pair.mirrors[2].assemble(third, OWNER)
        pair.mirrors[0].assemble(pair.end(0, peer=2), OWNER)
    pair.until(lambda: not pair.mirrors[2].status(third, OWNER).is_degraded)
    assert pair.halves[2].read(third.children[0], 0, 5) == b"hello"
    pair.mirrors[1].remove(pair.end(1), OWNER)
    assert not pair.mirrors[1].info(pair.end(1), OWNER).exists
    pair.write(0, b"later")
    assert pair.halves[2].read(third.children[0], 0, 5) == b"later"


def test_growing_is_done_below_first_and_both_have_the_new_space(pair):
    pair.create()
    pair.write(0, b"hello")
    for place in (0, 1):
        pair.mirrors[place].check_room(pair.end(place), OWNER, size=8)
        with pytest.raises(errors.StorageError, match="8 MiB, 12 MiB are wanted"):
            pair.mirrors[place].check_room(pair.end(place), OWNER, size=12)
    for _ in range(2):
        for place in (0, 1):
            assert pair.mirrors[place].grow(pair.end(place), OWNER, size=12).size == 12
            pair.mirrors[place].check_room(pair.end(place), OWNER, size=12)
    for _ in range(2):
        pair.mirrors[0].resize(pair.end(0), OWNER, size=12)
    pair.settle()
    bigger = pair.end(0, msgspec.structs.replace(pair.disk, size=12))
    assert pair.mirrors[0].info(bigger, OWNER).size == 12
    assert pair.halves[0].size(pair.end(0)) == 12 * MIB
    pair.write(0, b"there", offset=12 * MIB - 5)
    assert (pair.read(1), pair.read(1, offset=12 * MIB - 5)) == (b"hello", b"there")


def test_snapshots_are_plain_volumes_of_the_data(pair):
    pair.create()
    pair.write(0, b"hello")
    kept = snapshot_of(pair.disk, "d-9")
    pair.mirrors[0].snapshot(pair.end(0), kept, OWNER, Watch())
    pair.write(0, b"later")
    pair.plains[0].open(kept, OWNER)
    assert pair.halves[0].read(kept, 0, 5) == b"hello"
    pair.plains[0].remove(kept, OWNER)
    assert pair.read(1) == b"later"


def test_wipe_reaches_both_halves(pair):
    pair.create()
    pair.write(0, b"hello", offset=6 * MIB)
    pair.mirrors[0].wipe(pair.end(0), OWNER, offset=0, watch=Watch())
    assert [pair.read(place, 8 * MIB) for place in (0, 1)] == [bytes(8 * MIB)] * 2


def test_it_is_given_to_another_instance_and_back_while_it_is_up(pair):
    pair.create()
    for _ in range(2):
        pair.mirrors[0].give(pair.end(0), OWNER, to="i-2", origin="web2")
    with pytest.raises(NotOurs):
        pair.mirrors[0].assemble(pair.end(0), OWNER)
    pair.mirrors[0].assemble(pair.end(0), "i-2")
    pair.mirrors[0].give(pair.end(0), "i-2", to=OWNER, origin="web1")
    pair.mirrors[0].assemble(pair.end(0), OWNER)
    assert not pair.status(0).is_degraded


def test_a_minor_that_serves_another_disk_is_left_alone(pair):
    pair.create()
    pair.write(0, b"hello")
    other = pair.end(0, mirror_kit.mirror("other", vg=pair.vg))
    with pytest.raises(errors.StorageError, match="in use for something else"):
        pair.mirrors[0].create(other, OWNER)
    with pytest.raises(errors.StorageError, match="in use for something else"):
        pair.mirrors[0].assemble(other, OWNER)
    for action in (pair.mirrors[0].detach, pair.mirrors[0].attach):
        with pytest.raises(errors.StorageError):
            action(other, OWNER)
    pair.mirrors[0].close(other, OWNER)
    pair.mirrors[0].remove(other, OWNER)
    assert not pair.status(0).is_degraded
    assert (pair.status(0).role, pair.read(1)) == ("Primary", b"hello")


def test_a_minor_without_an_instance_is_ended_and_its_volumes_stay(pair):
    pair.create()
    pair.write(0, b"hello")
    (minor,) = pair.halves[0].minors()
    for _ in range(2):
        assert pair.mirrors[0].end(minor) == ""
    assert not pair.status(0).is_up
    assert pair.halves[0].minors() == ()
    assert pair.read(0) == b"hello"
    pair.mirrors[0].open(pair.end(0), OWNER)
    pair.settle()


def test_everything_may_be_repeated_and_removal_leaves_nothing(pair):
    for _ in range(2):
        pair.create()
        pair.mirrors[0].open(pair.end(0), OWNER)
    assert pair.halves[0].minors() == (pair.end(0).link.minor,)
    with pytest.raises(NotOurs):
        pair.mirrors[0].create(pair.end(0), "i-2")
    for _ in range(2):
        for place in (0, 1):
            pair.mirrors[place].close(pair.end(place), OWNER)
            pair.mirrors[place].demote(pair.end(place), OWNER)
            pair.mirrors[place].disconnect(pair.end(place), OWNER)
            pair.mirrors[place].detach(pair.end(place), OWNER)
    for _ in range(2):
        for place in (0, 1):
            pair.mirrors[place].remove(pair.end(place), OWNER)
    assert [half.volumes() for half in pair.halves[:2]] == [(), ()]
    assert [half.minors() for half in pair.halves[:2]] == [(), ()]
    assert pair.mirrors[0].info(pair.end(0), OWNER).exists is False
    assert not pair.status(0).is_up


def test_a_node_that_is_no_end_of_it_is_told_so(pair):
    with pytest.raises(errors.StorageError, match="none of the two ends"):
        pair.mirrors[0].assemble(pair.disk, OWNER)
    with pytest.raises(errors.StorageError, match="no name of its own"):
        pair.mirrors[0].rename(pair.disk, msgspec.structs.replace(pair.disk, children=()), OWNER)


def test_nothing_is_wrong_with_the_node(pair):
    assert pair.mirrors[0].verify(vg=pair.vg) == ""
    assert pair.mirrors[1].verify(vg=pair.vg) == ""
