"""Guests of no instance are ended; all others are left alone."""

from __future__ import annotations

import asyncio

import msgspec
from logic.plan_env import (
    PlanEnv,
    effects,
    execute,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    plan,
    unit_of,
    up,
)

from ganeti import errors
from ganeti.calls.base import encode
from ganeti.calls.instance import Guest, GuestSpec, GuestsReply, GuestState, InstanceList, InstanceStop
from ganeti.calls.mirror import MirrorEnd, MirrorMinors
from ganeti.calls.volume import VolumeRemove
from ganeti.model.disks import Mirror
from ganeti.model.jobs import Status, Undo
from ganeti.model.locks import Level, LockPlan
from ganeti.model.objects import Disk, DiskTemplate, Link, Put
from ganeti.model.types import RequestId
from ganeti.ops.upkeep import OpGroupEndStrays
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

OP = OpGroupEndStrays(group_name="default")


def guest(name: str, uuid: str, state: GuestState = GuestState.RUNNING) -> Guest:
    return Guest(name=name, uuid=uuid, hypervisor="fake", state=state, memory=128, vcpus=1)


def test_guests_of_no_instance_are_ended_and_all_others_stay():
    nodes = [make_node(1), make_node(2), make_node(3, offline=True, master_candidate=False)]
    env = PlanEnv(make_config(up(make_instance()), nodes=nodes))
    here = {
        node_uuid(1): (guest("web1.example.com", "uuid-web1.example.com"), guest("old", "u-old", GuestState.SHUTDOWN)),
        # the instance belongs on node 1: which of the two is right is not known here
        node_uuid(2): (guest("web1.example.com", "uuid-web1.example.com"), guest("web1.example.com", "u-other")),
    }
    env.rpc.answers[InstanceList] = lambda node, call: GuestsReply(guests=here[node])
    stops = [(effect.node, effect.call.name, effect.call.uuid) for effect in effects(plan(OP, env))]
    assert stops == [(node_uuid(1), "old", "u-old"), (node_uuid(2), "web1.example.com", "u-other")]
    assert execute(OP, env) == [
        [["node1.example.com", "old"], ["node2.example.com", "web1.example.com"]],
        [],
    ]
    assert unit_of(OP).locks(env.config) == LockPlan.of()


def test_what_is_not_known_is_no_stray():
    env = PlanEnv(make_config(nodes=[make_node(1), make_node(2)]))
    env.rpc.answers[InstanceList] = lambda node, call: (
        errors.RpcError("node2", "timeout", "silent")
        if node == node_uuid(2)
        else GuestsReply(guests=(), errors={"fake": "broken"})
    )
    assert execute(OP, env) == [[], []]
    assert not [call for _, call in env.rpc.calls if isinstance(call, InstanceStop)]
    assert any("node2" in text for text in env.warnings)


def test_an_instance_that_came_while_nodes_were_asked_is_no_stray():
    env = PlanEnv(make_config(nodes=[make_node(1)]))

    def answer(node, call):
        env.config = make_config(up(make_instance()), nodes=[make_node(1)])
        return GuestsReply(guests=(guest("web1.example.com", "uuid-web1.example.com"),))

    env.rpc.answers[InstanceList] = answer
    assert execute(OP, env) == [[], []]


def with_mirrors(**replies):
    env = PlanEnv(make_config(enabled_disk_templates=TEMPLATES))
    env.rpc.answers[InstanceList] = lambda node, call: GuestsReply(guests=())
    env.rpc.answers[MirrorMinors] = lambda node, call: replies.get(f"node{node[-1]}", ())
    return env


TEMPLATES = (DiskTemplate.DRBD, DiskTemplate.PLAIN)


def ended(env):
    return execute(OP, env)[1]


def test_minors_of_no_disk_are_taken_down_where_no_job_works():
    env = with_mirrors(node1=(0, 3), node2=(1,))
    locks = unit_of(OP).locks(env.config)
    assert {key.name for key in locks.wanted if key.level is Level.NODE_RES} == {node_uuid(n) for n in (1, 2, 3)}
    assert all(locks.wanted[key] for key in locks.optional) and len(locks.optional) == 3
    assert ended(env) == [["node1.example.com", 0], ["node1.example.com", 3], ["node2.example.com", 1]]
    env.locked[Level.NODE_RES] = (node_uuid(2),)
    assert ended(env) == [["node2.example.com", 1]]
    env.debts = (Undo(node=node_uuid(2), call={}, effect=RequestId("r"), title="remove what it had"),)
    assert ended(env) == []


def test_an_old_half_that_is_kept_keeps_its_own_minor_only():
    env = with_mirrors(node2=(1, 5))
    mirror = Mirror(nodes=(node_uuid(1), node_uuid(2)), minors=(3, 1), port=11000, secret="s")
    old = Disk(uuid="d", template=DiskTemplate.DRBD, size=8, logical_id=mirror.logical_id)
    instance = make_instance()
    remove = encode(VolumeRemove(disk=old, owner=instance.uuid, request=RequestId("r")))
    kept = Undo(node=node_uuid(2), call=remove, effect=RequestId("r"), title="remove", until_good=instance.uuid)
    env.debts = (kept,)
    # of an instance that is gone it is due, and nothing is known of what the node does meanwhile
    assert ended(env) == []
    env.config = env.config.apply([Put(instance)])
    assert ended(env) == [["node2.example.com", 5]]


def test_minors_of_disks_and_what_is_not_known_stay():
    mirror = Mirror(nodes=(node_uuid(1), node_uuid(2)), minors=(3, 1), port=11000, secret="s")
    disk = Disk(uuid="d", template=DiskTemplate.DRBD, size=8, logical_id=mirror.logical_id)
    env = with_mirrors(node1=(0, 3), node2=(1,), node3=errors.RpcError("node3", "failed", "broken"))
    env.config = env.config.apply([Put(make_instance(disks=(disk,)))])
    assert ended(env) == [["node1.example.com", 0]]
    assert any("broken" in text for text in env.warnings)


def test_a_minor_ends_on_the_engine_and_the_volumes_and_the_instance_stay(tmp_path):
    async def story():
        cluster = SimulatedCluster(str(tmp_path))
        wanted = {
            "OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web1", "os_type": OS_NAME, "disk_template": "drbd",
            "disks": [{"size": 8}], "pnode": "node2", "snode": "node3", "hypervisor": "fake", "ignore_ipolicy": True,
        }  # fmt: skip
        created = await cluster.run(wanted)
        assert created.status is Status.SUCCESS, created.ops[0].result
        node = cluster.nodes[cluster.config.node("node2").uuid]
        (minor,) = node.minors()
        driver = node.storage[DiskTemplate.DRBD]
        children = [msgspec.structs.replace(disk, uuid=f"lost{n}", logical_id=("xenvg", f"lost{n}"))
                    for n, disk in enumerate(cluster.config.instance("web1").disks[0].children)]  # fmt: skip
        lost = msgspec.structs.replace(
            cluster.config.instance("web1").disks[0],
            children=tuple(children),
            link=Link(minor=7, peer_minor=0, port=0, secret="s"),
        )
        driver.create(lost, "gone")
        driver.mirror.assemble(lost, "gone")
        assert node.minors() == (minor, 7)
        volumes = node.volumes()
        job = await cluster.run(OP)
        assert (job.status, job.ops[0].result) == (Status.SUCCESS, [[], [["node2.example.com", 7]]])
        assert (node.minors(), node.volumes()) == ((minor,), volumes)
        # minors that others made meanwhile, or that are gone, are no mishap
        assert await cluster.rpc.one(node_uuid(2), MirrorEnd(minor=7, request=RequestId("again"))) == ""

    asyncio.run(story())


def test_a_stray_ends_on_the_engine_and_the_rest_runs_on(tmp_path):
    async def story():
        cluster = SimulatedCluster(str(tmp_path))
        created = await cluster.run(
            {
                "OP_ID": "OP_INSTANCE_CREATE",
                "instance_name": "web1",
                "os_type": OS_NAME,
                "disk_template": "diskless",
                "pnode": "node2",
                "hypervisor": "fake",
                "ignore_ipolicy": True,
            }
        )
        assert created.status is Status.SUCCESS, created.ops[0].result
        node = cluster.nodes[cluster.config.node("node2").uuid]
        lost = make_instance("lost.example.com", node=2, disks=(), nics=())
        spec = GuestSpec(instance=lost, hvparams={}, beparams={"maxmem": 64, "vcpus": 1})
        node.hypervisor.start(spec, (), paused=False)
        assert [each.name for each in node.hypervisor.list()] == ["lost.example.com", "web1"]
        job = await cluster.run(OP)
        assert (job.status, job.ops[0].result) == (Status.SUCCESS, [[["node2.example.com", "lost.example.com"]], []])
        assert [each.name for each in node.hypervisor.list()] == ["web1"]

    asyncio.run(story())
