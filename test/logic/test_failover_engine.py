"""Failover and reinstall on the engine: dead nodes, dead masters, nodes that come back with an old guest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.model.jobs import Job, Status
from ganeti.model.objects import AdminState
from ganeti.testing.cluster import OS_NAME, SimulatedCluster, SimulatedNode

Body = Callable[[SimulatedCluster], Awaitable[None]]


def on_cluster(tmp_path: Path, body: Body) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        await good(
            cluster,
            {
                "OP_ID": "OP_INSTANCE_CREATE",
                "instance_name": "web1",
                "os_type": OS_NAME,
                "disk_template": "sharedfile",
                "disks": [{"size": 64}],
                "pnode": "node3",
                "hypervisor": "fake",
                "ignore_ipolicy": True,
            },
        )
        await body(cluster)

    asyncio.run(main())


async def good(cluster: SimulatedCluster, wire_op: dict[str, object]) -> Job:
    job = await cluster.run(wire_op)
    assert job.status is Status.SUCCESS, job.ops[0].result
    return job


def failover(**more: object) -> dict[str, object]:
    return {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "target_node": "node2", **more}


def node_of(cluster: SimulatedCluster, name: str) -> SimulatedNode:
    return cluster.nodes[cluster.config.node(name).uuid]


def places(cluster: SimulatedCluster) -> list[str]:
    """Short names of the nodes where a guest called web1 runs."""
    return [
        node.name.partition(".")[0]
        for node in cluster.nodes.values()
        if any(guest.name == "web1" for guest in node.hypervisor.list())
    ]


def primary(cluster: SimulatedCluster) -> str:
    return cluster.config.nodes[cluster.config.instance("web1").primary_node].name.partition(".")[0]


def is_settled(cluster: SimulatedCluster) -> bool:
    return not (cluster.state.journal or cluster.locks.rows() or cluster.debris())


async def mark(cluster: SimulatedCluster, *, offline: bool) -> Job:
    return await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node3", "offline": offline, "force": True})


async def move_away_from_dead_node3(cluster: SimulatedCluster) -> Job:
    """Its guest goes on running there, unseen."""
    node_of(cluster, "node3").is_up = False
    await mark(cluster, offline=True)
    return await good(cluster, failover(ignore_consistency=True))


def test_failover_when_all_is_well_then_it_runs_once_elsewhere(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        assert places(cluster) == ["node3"]
        await good(cluster, failover())
        assert (places(cluster), primary(cluster)) == (["node2"], "node2")
        assert cluster.config.instance("web1").disks_active
        assert not cluster.state.debts
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


def test_failover_when_node_is_silent_then_refused_and_after_offline_done(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        node_of(cluster, "node3").is_up = False
        refused = await cluster.run(failover())
        assert refused.status is Status.ERROR
        assert "--offline=yes node3.example.com" in refused.ops[0].result[1][0]
        await mark(cluster, offline=True)
        job = await good(cluster, failover(ignore_consistency=True))
        assert any("is not stopped there" in line for line in cluster.log_of(job.id))
        assert primary(cluster) == "node2"
        (debt,) = cluster.state.debts.values()
        assert debt.undo.title == "end what may still run of web1 on node3.example.com"

    on_cluster(tmp_path, body)


def test_dead_node_when_marked_online_again_then_its_old_guest_is_ended(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await move_away_from_dead_node3(cluster)
        assert places(cluster) == ["node2", "node3"]  # nobody could stop it
        node_of(cluster, "node3").is_up = True
        await mark(cluster, offline=False)
        assert places(cluster) == ["node2"]
        assert not cluster.state.debts
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


def test_dead_node_when_master_changed_meanwhile_then_debt_is_still_paid(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await move_away_from_dead_node3(cluster)
        await cluster.restart()
        node_of(cluster, "node3").is_up = True
        await mark(cluster, offline=False)
        assert places(cluster) == ["node2"]
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_dead_node_when_it_cannot_end_the_old_guest_then_it_does_not_get_the_instance_back(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await move_away_from_dead_node3(cluster)
        node3 = node_of(cluster, "node3")
        node3.is_up = True
        # tried when it is back, and again for the failover
        for _ in range(2):
            node3.hypervisor.fail_next("stop", errors.HypervisorError("it hangs"))
        job = await mark(cluster, offline=False)
        assert any("could not" in line and "web1" in line for line in cluster.log_of(job.id))
        back = await cluster.run(failover(target_node="node3"))
        assert back.status is Status.ERROR
        assert "has still to end" in back.ops[0].result[1][0]
        assert primary(cluster) == "node2"
        node3.hypervisor.assert_failed()
        # now it can: the old one is ended first, then the instance is started there
        await good(cluster, failover(target_node="node3"))
        assert (places(cluster), primary(cluster)) == (["node3"], "node3")
        assert not cluster.state.debts
        await cluster.debts.pay(node3.uuid)
        assert places(cluster) == ["node3"]

    on_cluster(tmp_path, body)


def test_two_failovers_from_a_dead_node_then_two_debts(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        again = {"instance_name": "web2", "disk_template": "sharedfile", "disks": [{"size": 64}], "pnode": "node3"}
        await good(
            cluster,
            {"OP_ID": "OP_INSTANCE_CREATE", "os_type": OS_NAME, "hypervisor": "fake", "ignore_ipolicy": True, **again},
        )
        node_of(cluster, "node3").is_up = False
        await mark(cluster, offline=True)
        first, second = await asyncio.gather(
            cluster.run(failover(ignore_consistency=True)),
            cluster.run(failover(ignore_consistency=True, instance_name="web2", target_node="node1")),
        )
        assert (first.status, second.status) == (Status.SUCCESS, Status.SUCCESS)
        assert len(cluster.state.debts) == 2
        node_of(cluster, "node3").is_up = True
        await mark(cluster, offline=False)
        assert not node_of(cluster, "node3").hypervisor.list()

    on_cluster(tmp_path, body)


def test_failover_when_stop_fails_then_it_stays_and_runs(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.fail["instance_stop"] = errors.NodeFailure("told to fail")
        job = await cluster.run(failover())
        assert job.status is Status.ERROR
        assert (places(cluster), primary(cluster)) == (["node3"], "node3")
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


def test_failover_when_reply_of_stop_is_lost_then_it_is_started_again(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.lose_reply.append("instance_stop")
        job = await cluster.run(failover())
        assert job.status is Status.ERROR
        assert any("started again on node3" in line for line in cluster.log_of(job.id))
        assert (places(cluster), primary(cluster)) == (["node3"], "node3")
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


def test_failover_when_start_fails_then_it_belongs_to_the_target_and_is_marked_up(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.fail["instance_start"] = errors.NodeFailure("told to fail")
        job = await cluster.run(failover())
        assert job.status is Status.ERROR
        assert primary(cluster) == "node2"
        assert cluster.config.instance("web1").admin_state is AdminState.UP
        assert len(places(cluster)) <= 1
        assert "node3" not in places(cluster)
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(("call", "where"), [("instance_stop", "node3"), ("instance_start", "node2")])
def test_failover_when_master_dies_before_a_step_then_it_runs_exactly_once(
    tmp_path: Path, call: str, where: str
) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.gates[call] = asyncio.Event()
        job = await cluster.submit(failover())
        before = len(cluster.state.journal)
        await cluster.jobs.changed(job, lambda: any(f"{call[9:]} web1" in line for line in cluster.log_of(job)), 5)
        assert before <= 1
        del cluster.rpc.gates[call]
        await cluster.restart()
        ended = await cluster.wait(job)
        assert ended.status is Status.ERROR
        assert (places(cluster), primary(cluster)) == ([where], where)
        assert is_settled(cluster)
        await good(cluster, failover(target_node="node1"))
        assert places(cluster) == ["node1"]

    on_cluster(tmp_path, body)


def test_failover_when_source_dies_while_it_stops_then_it_can_be_repeated_as_offline(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.gates["instance_stop"] = asyncio.Event()
        job = await cluster.submit(failover())
        await cluster.jobs.changed(job, lambda: any("stop web1" in line for line in cluster.log_of(job)), 5)
        node_of(cluster, "node3").is_up = False
        cluster.rpc.gates.pop("instance_stop").set()
        assert (await cluster.wait(job)).status is Status.ERROR
        assert primary(cluster) == "node3"
        await mark(cluster, offline=True)
        await good(cluster, failover(ignore_consistency=True))
        assert primary(cluster) == "node2"

    on_cluster(tmp_path, body)


def test_verify_when_old_guest_still_runs_then_it_is_found(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await move_away_from_dead_node3(cluster)
        node3 = node_of(cluster, "node3")
        node3.is_up = True
        for _ in range(4):
            node3.hypervisor.fail_next("stop", errors.HypervisorError("it hangs"))
        await mark(cluster, offline=False)
        job = await cluster.run({"OP_ID": "OP_CLUSTER_VERIFY_GROUP", "group_name": "default", "error_codes": True})
        assert any("EINSTANCEWRONGNODE" in line and "node3" in line for line in cluster.log_of(job.id))

    on_cluster(tmp_path, body)


def test_dry_run_tells_the_debt_and_does_nothing(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        node_of(cluster, "node3").is_up = False
        await mark(cluster, offline=True)
        job = await good(cluster, failover(ignore_consistency=True, dry_run=True))
        assert any("node3.example.com" in line and "is back" in line for line in cluster.log_of(job.id))
        assert primary(cluster) == "node3"
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def reinstall(**more: object) -> dict[str, object]:
    return {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": "web1", **more}


async def stop(cluster: SimulatedCluster) -> None:
    await good(cluster, {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"})


def test_reinstall_when_stopped_then_script_runs(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        assert (await cluster.run(reinstall())).status is Status.ERROR
        await stop(cluster)
        cluster.rpc.made.clear()
        await good(cluster, reinstall())
        changing = [name for _, name in cluster.rpc.made if name in ("os_create", "volume_close")]
        assert changing == ["os_create", "volume_close"]
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


def test_reinstall_when_script_fails_then_told_and_disks_are_closed(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await stop(cluster)
        cluster.rpc.made.clear()
        cluster.rpc.fail["os_create"] = errors.NodeFailure("no such archive")
        job = await cluster.run(reinstall())
        assert job.status is Status.ERROR
        assert "no such archive" in job.ops[0].result[1][0]
        assert [name for _, name in cluster.rpc.made if name in ("os_stop", "volume_close")] == [
            "os_stop",
            "volume_close",
        ]
        assert any("half written" in line for line in cluster.log_of(job.id))
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


def test_reinstall_when_master_dies_then_script_is_stopped(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await stop(cluster)
        cluster.rpc.gates["os_create"] = asyncio.Event()
        job = await cluster.submit(reinstall())
        # two from the beginning, one for the script
        await cluster.jobs.changed(job, lambda: len(cluster.state.journal.get(job, ())) == 3, 5)
        del cluster.rpc.gates["os_create"]
        cluster.rpc.made.clear()
        await cluster.restart()
        assert (await cluster.wait(job)).status is Status.ERROR
        assert [name for _, name in cluster.rpc.made if name in ("os_stop", "volume_close")] == [
            "os_stop",
            "volume_close",
        ]
        assert is_settled(cluster)

    on_cluster(tmp_path, body)


def test_debts_of_jobs_that_fail_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        node2 = node_of(cluster, "node2")
        cluster.rpc.gates["os_create"] = asyncio.Event()
        wanted = {"os_type": OS_NAME, "disk_template": "file", "disks": [{"size": 64}], "pnode": "node2"}
        jobs = [
            await cluster.submit(
                {"OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "hypervisor": "fake", "ignore_ipolicy": True}
                | wanted
            )
            for name in ("a1", "a2")
        ]
        await asyncio.sleep(0)
        await cluster.jobs.changed(jobs[0], lambda: bool(node2.volumes()), 5)
        node2.is_up = False
        cluster.rpc.gates.pop("os_create").set()
        for job in jobs:
            assert (await cluster.wait(job)).status is Status.ERROR
        kept = {(debt.job, debt.undo.title) for debt in cluster.state.debts.values()}
        assert len(kept) == len(cluster.state.debts)
        node2.is_up = True
        await cluster.debts.pay(node2.uuid)
        assert not cluster.debris()

    on_cluster(tmp_path, body)
