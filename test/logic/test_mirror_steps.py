"""Steps on volumes and mirrors: where they are done, and how they are taken back."""

import asyncio

import pytest
from logic.plan_env import PlanEnv, effects, make_config, make_instance, node_uuid, shape

from ganeti import errors
from ganeti.calls.mirror import MirrorAssemble, MirrorDetach, MirrorState, MirrorStatus
from ganeti.calls.volume import VolumeGrow, VolumeRemove, VolumeSnapshot, VolumeWipe
from ganeti.logic import disk_activation, mirrors, volumes
from ganeti.logic.steps import OnFailure
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import Uuid

A, B = node_uuid(1), node_uuid(2)


def mirror(index: int = 0) -> Disk:
    name = f"web1.disk{index}"
    return Disk(
        uuid=Uuid(name),
        template=DiskTemplate.DRBD,
        size=1024,
        logical_id=(A, B, 11000 + index, index, index, "secret"),
        children=(
            Disk(
                uuid=Uuid(f"{name}_data"), template=DiskTemplate.PLAIN, size=1024, logical_id=("xenvg", f"{name}_data")
            ),
            Disk(
                uuid=Uuid(f"{name}_meta"), template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", f"{name}_meta")
            ),
        ),
    )


INSTANCE = make_instance(disks=(mirror(0), mirror(1)))
PLAIN_FILES = make_instance()


@pytest.fixture
def env():
    return PlanEnv(make_config(INSTANCE))


def test_other_disks_have_no_mirror_steps(env):
    assert mirrors.assemble(env.config, env, PLAIN_FILES, [A]) == []
    assert mirrors.two_primaries(env.config, env, PLAIN_FILES, [A]) == []
    assert mirrors.wait(env.config, PLAIN_FILES) == []


def test_assembling_is_done_on_each_node_for_each_disk(env):
    (step,) = mirrors.assemble(env.config, env, INSTANCE, [A, B], on_failure=OnFailure.WARN)
    assert [(effect.node, effect.call.disk.uuid) for effect in step.effects] == [
        (A, "web1.disk0"), (A, "web1.disk1"), (B, "web1.disk0"), (B, "web1.disk1"),
    ]  # fmt: skip
    assert {effect.on_failure for effect in step.effects} == {OnFailure.WARN}
    assert step.effects[3].title == "assemble disk 1 of web1.example.com on node2.example.com"


def test_the_primary_half_is_closed_before_the_other_one(env):
    # one that may still be written when its peer goes has newer data from then on, as DRBD sees it
    nodes, warn = INSTANCE.nodes, OnFailure.WARN
    after_use = disk_activation.closed(env.config, env, INSTANCE, INSTANCE.disks, nodes, on_failure=warn)
    after_a_script = volumes.close_all(env.config, env, INSTANCE)
    for steps in (after_use, after_a_script):
        assert [{effect.node for effect in step.effects} for step in steps] == [{A}, {B}]


def test_two_primaries_are_allowed_and_forbidden_on_both_nodes(env):
    made = effects(mirrors.two_primaries(env.config, env, INSTANCE, [A, B]))
    assert [(effect.node, effect.call.allowed) for effect in made] == [(A, True), (A, True), (B, True), (B, True)]
    assert all(not effect.call.allowed for effect in effects(mirrors.one_primary(env.config, env, INSTANCE, [A])))


def test_detaching_and_attaching_take_each_other_back(env):
    (disk, _) = INSTANCE.disks
    (away,) = effects(mirrors.detach(env.config, env, INSTANCE, [disk], B))
    (new,) = effects(mirrors.attach(env.config, env, INSTANCE, [disk], B))
    assert isinstance(away.undo, MirrorAssemble)
    assert isinstance(new.undo, MirrorDetach)
    assert (away.undo.undoes, new.undo.undoes) == (away.call.request, new.call.request)
    (cut,) = effects(mirrors.disconnect(env.config, env, make_instance(disks=(disk,)), B, back=INSTANCE))
    assert isinstance(cut.undo, MirrorAssemble)


def test_a_wait_asks_the_primary_node(env):
    steps = mirrors.wait(env.config, INSTANCE)
    assert shape(steps) == ["wait mirror_sync"]
    assert steps[0].node == A
    assert len(steps[0].call.disks) == 2


def test_pausing_is_taken_back_by_going_on(env):
    (first, _) = effects(mirrors.pause(env.config, env, INSTANCE, INSTANCE.disks, paused=True))
    assert first.call.paused
    assert not first.undo.paused
    (again, _) = effects(mirrors.pause(env.config, env, INSTANCE, INSTANCE.disks, paused=False))
    assert again.undo is None


def test_what_lies_below_grows_on_every_node_before_the_mirror_does(env):
    disk = INSTANCE.disks[1]
    below = volumes.grow(env.config, env, INSTANCE, disk, 2048)
    assert [(step.node, type(step.call), step.call.size) for step in below] == [
        (A, VolumeGrow, 2048),
        (B, VolumeGrow, 2048),
    ]
    (above,) = effects(mirrors.resize(env.config, env, INSTANCE, disk, 2048, on_failure=OnFailure.UNDO))
    assert above.node == A
    (alone,) = volumes.grow(env.config, env, PLAIN_FILES, PLAIN_FILES.disks[0], 2048)
    assert alone.node == A


def test_a_snapshot_is_taken_of_the_data_and_removed_when_it_fails(env):
    effect, made = volumes.snapshot(env.config, env, INSTANCE, INSTANCE.disks[0])
    assert isinstance(effect.call, VolumeSnapshot)
    assert isinstance(effect.undo, VolumeRemove)
    assert effect.undo.disk == made == effect.call.snapshot
    assert made.logical_id == ("xenvg", "web1.disk0_data.snap")


def test_each_disk_is_wiped_from_its_offset_on(env):
    steps = volumes.wipe(env, INSTANCE, [(INSTANCE.disks[0], 0), (INSTANCE.disks[1], 512)])
    assert [(type(step.call), step.call.offset) for step in steps] == [(VolumeWipe, 0), (VolumeWipe, 512)]


def test_promotion_of_a_new_mirror_is_by_force_and_on_the_primary_only(env):
    (step,) = mirrors.promote_new(env.config, env, INSTANCE, INSTANCE.disks[:1])
    (effect,) = step.effects
    assert (effect.node, effect.call.force) == (A, True)
    assert [e.node for e in effects(mirrors.demote(env.config, env, INSTANCE, [B], OnFailure.WARN))] == [B, B]


def test_halves_that_are_not_good_are_refused_by_name(env):
    good = MirrorStatus(connection="Connected", disk="UpToDate", peer_disk="UpToDate")
    bad = MirrorStatus(connection="StandAlone", disk="Inconsistent")
    env.rpc.answers[MirrorState] = (good, bad)
    with pytest.raises(errors.PrereqError, match=r"on node node2\.example\.com are not good: disk 1 stands alone"):
        asyncio.run(mirrors.check_good(env, INSTANCE, B))
    asyncio.run(mirrors.check_good(env, INSTANCE, B, ignore=True))
    assert "disk 1 stands alone" in env.warnings[0]
