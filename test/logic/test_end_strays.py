"""Guests of no instance are ended; all others are left alone."""

from __future__ import annotations

import asyncio

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
from ganeti.calls.instance import Guest, GuestSpec, GuestsReply, GuestState, InstanceList, InstanceStop
from ganeti.model.jobs import Status
from ganeti.model.locks import LockPlan
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
    assert execute(OP, env) == [["node1.example.com", "old"], ["node2.example.com", "web1.example.com"]]
    assert unit_of(OP).locks(env.config) == LockPlan.of()


def test_what_is_not_known_is_no_stray():
    env = PlanEnv(make_config(nodes=[make_node(1), make_node(2)]))
    env.rpc.answers[InstanceList] = lambda node, call: (
        errors.RpcError("node2", "timeout", "silent")
        if node == node_uuid(2)
        else GuestsReply(guests=(), errors={"fake": "broken"})
    )
    assert execute(OP, env) == []
    assert not [call for _, call in env.rpc.calls if isinstance(call, InstanceStop)]
    assert any("node2" in text for text in env.warnings)


def test_an_instance_that_came_while_nodes_were_asked_is_no_stray():
    env = PlanEnv(make_config(nodes=[make_node(1)]))

    def answer(node, call):
        env.config = make_config(up(make_instance()), nodes=[make_node(1)])
        return GuestsReply(guests=(guest("web1.example.com", "uuid-web1.example.com"),))

    env.rpc.answers[InstanceList] = answer
    assert execute(OP, env) == []


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
        assert (job.status, job.ops[0].result) == (Status.SUCCESS, [["node2.example.com", "lost.example.com"]])
        assert [each.name for each in node.hypervisor.list()] == ["web1"]

    asyncio.run(story())
