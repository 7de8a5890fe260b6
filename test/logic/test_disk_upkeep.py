"""Looking at disks: what is missing, inactive or of another size than recorded."""

from __future__ import annotations

import msgspec
from logic.plan_env import PlanEnv, execute, file_disk, make_config, make_instance, make_node, node_uuid, unit_of, up

from ganeti import errors
from ganeti.calls.mirror import MirrorStatus
from ganeti.calls.volume import Look, VolumeReply, VolumesLook
from ganeti.model.locks import Level, LockKey
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import Uuid
from ganeti.ops.upkeep import OpClusterRepairDiskSizes, OpClusterVerifyDisks, OpGroupVerifyDisks

WEB1, WEB2 = "web1.example.com", "web2.example.com"
OP = OpGroupVerifyDisks(group_name="default")


def two_instances() -> PlanEnv:
    return PlanEnv(make_config(up(make_instance(WEB1)), up(make_instance(WEB2, node=2))))


def answer(env: PlanEnv, *, down: str = "", **by_owner: VolumeReply) -> None:
    """Volumes are as recorded but for these, by the first part of the instance's name."""

    def look(node: Uuid, call: VolumesLook) -> tuple[Look, ...]:
        found = []
        for disk, owner in zip(call.disks, call.owners, strict=True):
            short = env.config.instances[owner].name.partition(".")[0]
            usual = VolumeReply(path=str(disk.logical_id[1]), size=disk.size)
            mirror = MirrorStatus(is_up=short != down) if disk.template is DiskTemplate.DRBD else None
            found.append(Look(volume=by_owner.get(short, usual), mirror=mirror))
        return tuple(found)

    env.rpc.answers[VolumesLook] = look


def test_all_well_is_told_with_one_call_for_each_node():
    env = two_instances()
    answer(env)
    assert execute(OP, env) == [{}, [], {}]
    assert [node for node, _ in env.rpc.calls] == [node_uuid(1), node_uuid(2)]


def mirrored() -> Disk:
    """Between the first two nodes."""
    return Disk(
        uuid=Uuid("d"),
        template=DiskTemplate.DRBD,
        size=1024,
        logical_id=(node_uuid(1), node_uuid(2), 11000, 0, 0, "secret"),
    )


def test_missing_and_inactive_disks_are_told_apart():
    env = PlanEnv(make_config(up(make_instance(WEB1)), up(make_instance(WEB2, node=2, disks=(mirrored(),)))))
    answer(env, down="web2", web1=VolumeReply(path="", size=0, exists=False))
    path = "/srv/ganeti/file-storage/web1.example.com/disk0"
    assert execute(OP, env) == [{}, [WEB2], {WEB1: [["node1.example.com", path]]}]


def test_volumes_of_a_silent_node_are_not_missing():
    env = two_instances()
    env.rpc.answers[VolumesLook] = lambda node, call: errors.RpcError(
        "node2.example.com", "unreachable", "no connection"
    )
    problems, inactive, missing = execute(OP, env)
    assert (sorted(problems), inactive, missing) == (["node1.example.com", "node2.example.com"], [], {})


def test_offline_nodes_are_no_problem():
    nodes = [make_node(1), make_node(2, offline=True, master_candidate=False)]
    env = PlanEnv(make_config(up(make_instance(WEB1, node=2)), nodes=nodes))
    assert execute(OP, env) == [{}, [], {}]


def test_mirrors_are_looked_for_on_both_nodes_and_stopped_instances_not_at_all():
    env = PlanEnv(make_config(up(make_instance(WEB1, disks=(mirrored(),))), make_instance(WEB2)))
    answer(env, web1=VolumeReply(path="", size=0, exists=False))
    assert execute(OP, env)[2] == {WEB1: [["node1.example.com", "d"], ["node2.example.com", "d"]]}
    plan = unit_of(OP).locks(env.config)
    assert {key.name for key in plan.wanted if key.level is Level.NODE} == {node_uuid(1), node_uuid(2)}


def test_not_strict_leaves_out_those_that_somebody_works_on():
    env = two_instances()
    op = msgspec.structs.replace(OP, is_strict=False)
    assert LockKey(Level.INSTANCE, "uuid-" + WEB1) in unit_of(op).locks(env.config).optional
    env.locked[Level.INSTANCE] = ("uuid-" + WEB2,)
    answer(env, web1=VolumeReply(path="", size=0, exists=False))
    assert execute(op, env) == [{}, [], {}]


def test_one_job_for_each_group():
    env = two_instances()
    assert execute(OpClusterVerifyDisks(is_strict=False), env) == {"jobs": [[True, 100]]}
    assert env.submitted == [[OpGroupVerifyDisks(group_name="default", is_strict=False)]]


def test_sizes_become_what_they_are():
    child = file_disk("child", size=1024)
    disks = (msgspec.structs.replace(file_disk(WEB1), children=(child,)), file_disk(WEB1, 1))
    env = PlanEnv(make_config(make_instance(WEB1, disks=disks), make_instance(WEB2)))
    answer(env, web1=VolumeReply(path="x", size=2048))
    assert execute(OpClusterRepairDiskSizes(instances=("web1",)), env) == [
        (WEB1, 0, "size", 2048),
        (WEB1, 1, "size", 2048),
    ]
    first, second = env.config.instance(WEB1).disks
    assert (first.size, first.children[0].size, second.size) == (2048, 2048, 2048)
    assert execute(OpClusterRepairDiskSizes(instances=("web1",)), env) == []


def test_sizes_nobody_can_tell_stay():
    env = two_instances()
    env.rpc.answers[VolumesLook] = lambda node, call: tuple(
        Look(volume=VolumeReply(path="", size=0, exists=False), problem="no such storage") for _ in call.disks
    )
    assert execute(OpClusterRepairDiskSizes(), env) == []
    assert len(env.warnings) == 2
