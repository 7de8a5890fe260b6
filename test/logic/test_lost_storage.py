"""Physical volumes that are missing: what may be dropped with them, by hand and by the cluster itself."""

from __future__ import annotations

import msgspec
import pytest
from logic.plan_env import (
    PlanEnv,
    effects,
    execute,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    plan,
    refused,
    shape,
    unit_of,
    up,
)

from ganeti import errors
from ganeti.calls.mirror import MirrorState, MirrorStatus
from ganeti.calls.power import LostVolume, StorageLoss, StorageLost, StorageRepair
from ganeti.calls.volume import Look, VolumeReply, VolumesLook
from ganeti.logic.steps import Commit
from ganeti.model.disks import Mirror
from ganeti.model.locks import LEVEL_NAMES
from ganeti.model.objects import Disk, DiskTemplate, Instance, Move
from ganeti.model.types import MiB, RequestId, Uuid
from ganeti.ops.cluster import OpClusterSetParams
from ganeti.ops.power import OpRepairNodeStorage
from ganeti.ops.upkeep import OpGroupVerifyDisks

GOOD = MirrorStatus(connection="Connected", role="Primary", disk="UpToDate", peer_disk="Diskless")
BY_HAND = OpRepairNodeStorage(node_name="node2", storage_type="lvm-vg", name="xenvg")
BY_ITSELF = OpRepairNodeStorage(node_name="node2", storage_type="lvm-vg", name="xenvg", unattended=True)
LOOK = OpGroupVerifyDisks(group_name="default")


def volume(name: str, size: MiB = 1024) -> Disk:
    return Disk(uuid=Uuid(f"uuid-{name}"), template=DiskTemplate.PLAIN, size=size, logical_id=("xenvg", name))


def mirrored(name: str = "m", minor: int = 0) -> Disk:
    ids = Mirror(nodes=(node_uuid(1), node_uuid(2)), minors=(minor, minor), port=11000 + minor, secret="s")
    children = (volume(f"{name}_data"), volume(f"{name}_meta", 128))
    return Disk(
        uuid=Uuid(f"uuid-{name}"),
        template=DiskTemplate.DRBD,
        size=1024,
        logical_id=ids.logical_id,
        children=children,
    )


def web(**changes: object) -> Instance:
    """On the first two nodes, with two disks; what runs, runs on the first."""
    return up(make_instance(disks=(mirrored("a", 0), mirrored("b", 1)), **changes))


def env_of(
    *instances: Instance, lost: tuple[str, ...] = ("a_data", "a_meta"), missing: int = 1, **cluster: object
) -> PlanEnv:
    """Node2 has lost physical volumes, and these volumes with them."""
    env = PlanEnv(make_config(*instances, volume_group_name="xenvg", **cluster))
    loss = StorageLoss(missing=missing, volumes=tuple(LostVolume(name=name) for name in lost))
    env.rpc.answers[StorageLost] = lambda node, call: loss if node == node_uuid(2) else StorageLoss()
    env.rpc.answers[MirrorState] = lambda node, call: (GOOD,) * len(call.disks)
    present = Look(volume=VolumeReply(path="", size=1024), mirror=GOOD)
    env.rpc.answers[VolumesLook] = lambda node, call: (present,) * len(call.disks)
    return env


def state(env: PlanEnv, found: MirrorStatus) -> None:
    """Of the first disk's half on node1."""
    env.rpc.answers[MirrorState] = lambda node, call: (found, GOOD)


def repairs(env: PlanEnv) -> list[StorageRepair]:
    return [call for _, call in env.rpc.calls if isinstance(call, StorageRepair)]


def test_halves_of_mirrors_go_when_the_others_are_good_and_drbd_lets_go_of_them_first():
    env = env_of(web())
    steps = plan(BY_HAND, env)
    assert shape(steps) == ["parallel mirror_detach", "storage_repair"]
    assert {effect.node for effect in effects(steps)} == {node_uuid(2)}
    assert effects(steps)[0].call.disk.uuid == "uuid-a"
    execute(BY_HAND, env)
    assert [(call.name, call.lost) for call in repairs(env)] == [("xenvg", ("a_data", "a_meta"))]
    assert any("replace-disks" not in text and "one half" in text for text in env.warnings)


def test_nothing_missing_is_nothing_to_do():
    env = env_of(web(), lost=(), missing=0)
    assert plan(BY_HAND, env) == []
    execute(BY_HAND, env)
    assert repairs(env) == []
    assert "misses nothing" in env.log[0]


def test_the_group_of_the_cluster_is_meant_when_none_is_named():
    env = env_of(web())
    execute(OpRepairNodeStorage(node_name="node2", storage_type="lvm-vg"), env)
    assert repairs(env)[0].name == "xenvg"
    nameless = PlanEnv(make_config())
    assert refused(OpRepairNodeStorage(node_name="node2", storage_type="lvm-vg"), nameless).code == "wrong_input"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (msgspec.structs.replace(GOOD, disk="Inconsistent"), "Inconsistent data"),
        (msgspec.structs.replace(GOOD, disk="Outdated"), "Outdated data"),
        (msgspec.structs.replace(GOOD, connection="WFConnection"), "waits for its peer"),
        (msgspec.structs.replace(GOOD, connection="StandAlone"), "split brain"),
        (msgspec.structs.replace(GOOD, disk="Diskless"), "has lost its own volume"),
        (MirrorStatus(is_up=False), "is not active"),
    ],
)
def test_what_may_be_the_only_good_half_is_kept(found, said):
    env = env_of(web())
    state(env, found)
    for op in (BY_HAND, BY_ITSELF):
        env.config = msgspec.structs.replace(
            env.config, cluster=msgspec.structs.replace(env.config.cluster, lvm_self_repair=True)
        )
        err = refused(op, env)
        assert err.code == "wrong_state"
        assert "disk 0 of web1.example.com: its half on node1.example.com" in str(err)
        assert said in str(err)
        assert "disk 1" not in str(err)


def test_a_half_that_cannot_be_looked_at_is_not_known_to_be_good():
    env = env_of(web())
    env.rpc.fail(MirrorState, "unreachable")
    assert "cannot be looked at" in str(refused(BY_HAND, env))
    offline = [make_node(1), make_node(2), make_node(3)]
    offline[0] = make_node(1, offline=True)
    env.config = make_config(web(), nodes=offline, volume_group_name="xenvg")
    assert "marked offline" in str(refused(BY_HAND, env))


def test_an_instance_half_way_between_two_nodes_is_left_alone():
    move = Move(migration="m", source=node_uuid(1), target=node_uuid(2), prepare=RequestId("p"), run=RequestId("r"))
    for changes in ({"blocked": "who knows"}, {"moving": move}):
        assert "half-way" in str(refused(BY_HAND, env_of(web(**changes))))


def test_plain_and_unknown_volumes_are_named_and_go_only_when_they_are_given_up():
    plain = make_instance("db1.example.com", node=2, disks=(volume("p"),))
    env = env_of(web(), plain, lost=("p", "foreign", "a_data"))
    err = refused(BY_HAND, env)
    assert "xenvg/p is disk 0 of db1.example.com, of which there is no other copy" in str(err)
    assert "xenvg/foreign is no disk of an instance of this cluster" in str(err)
    assert "--ignore-consistency" in str(err)
    assert repairs(env) == []
    execute(msgspec.structs.replace(BY_HAND, ignore_consistency=True), env)
    assert repairs(env)[0].lost == ("p", "foreign", "a_data")
    assert sum("it is lost all the same" in text for text in env.warnings) == 2


def test_the_same_name_on_another_node_is_another_volume():
    elsewhere = make_instance("db1.example.com", node=3, disks=(volume("p"),))
    assert "no disk of an instance" in str(refused(BY_HAND, env_of(elsewhere, lost=("p",))))


def test_instances_of_the_node_are_held_while_it_is_looked_at_them():
    env = env_of(web())
    held = {
        (LEVEL_NAMES[key.level], key.name): value for key, value in unit_of(BY_HAND).locks(env.config).wanted.items()
    }
    assert held[("instance", "uuid-web1.example.com")] is False
    assert held[("node-res", node_uuid(2))] is True


# By itself


def test_the_cluster_repairs_only_when_it_may_and_only_its_own_group():
    env = env_of(web())
    assert "does not repair volume group xenvg by itself" in str(refused(BY_ITSELF, env))
    env = env_of(web(), lvm_self_repair=True)
    assert "does not repair" in str(refused(msgspec.structs.replace(BY_ITSELF, name="other"), env))


def test_it_is_recorded_before_it_is_done_and_not_done_twice_until_somebody_has_looked():
    env = env_of(web(), lvm_self_repair=True)
    steps = plan(BY_ITSELF, env)
    assert shape(steps) == ["commit put", "parallel mirror_detach", "storage_repair"]
    env.rpc.fail(StorageRepair)
    with pytest.raises(errors.RpcError):
        execute(BY_ITSELF, env)
    assert env.config.cluster.lvm_self_repaired.startswith("xenvg on node2.example.com at 1970-01-01 00:16:40 UTC")
    err = refused(BY_ITSELF, env)
    assert "already (xenvg on node2" in str(err)
    assert "--lvm-self-repair=yes" in str(err)
    execute(OpClusterSetParams(lvm_self_repair=True), env)
    assert env.config.cluster.lvm_self_repaired == ""
    assert isinstance(plan(BY_ITSELF, env)[0], Commit)


def test_by_itself_nothing_is_given_up_whatever_it_is_told():
    plain = make_instance("db1.example.com", node=2, disks=(volume("p"),))
    env = env_of(plain, lost=("p",), lvm_self_repair=True)
    assert "no other copy" in str(refused(msgspec.structs.replace(BY_ITSELF, ignore_consistency=True), env))


def test_the_look_at_the_disks_starts_one_repair_at_most():
    env = env_of(web(), lvm_self_repair=True)
    loss = StorageLoss(missing=1)
    env.rpc.answers[StorageLost] = lambda node, call: StorageLoss() if node == node_uuid(1) else loss
    execute(LOOK, env)
    assert env.submitted == [[msgspec.structs.replace(BY_ITSELF, node_name="node2.example.com")]]
    assert any("job 100 repairs it" in text for text in env.warnings)


def test_the_look_at_the_disks_asks_nobody_unless_the_cluster_may_repair():
    env = env_of(web())
    execute(LOOK, env)
    assert not any(isinstance(call, StorageLost) for _, call in env.rpc.calls)
    assert env.submitted == []


def test_the_look_at_the_disks_tells_why_nothing_is_repaired():
    env = env_of(web(), lvm_self_repair=True)
    state(env, msgspec.structs.replace(GOOD, disk="Inconsistent"))
    execute(LOOK, env)
    assert any("not repaired without an administrator" in text for text in env.warnings)
    used = env_of(web(), lvm_self_repair=True, lvm_self_repaired="xenvg on node9")
    execute(LOOK, used)
    assert any("already (xenvg on node9)" in text for text in used.warnings)
    silent = env_of(web(), lvm_self_repair=True)
    silent.rpc.fail(StorageLost)
    execute(LOOK, silent)
    assert any("does not tell" in text for text in silent.warnings)
    assert env.submitted == used.submitted == silent.submitted == []
