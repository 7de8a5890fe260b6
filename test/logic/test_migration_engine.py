"""Live migration on the engine, with faults at every step: afterwards each guest runs exactly once, nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.calls.instance import GuestState
from ganeti.model.jobs import Job, Status
from ganeti.testing.cluster import OS_NAME, SimulatedCluster, SimulatedNode

Body = Callable[[SimulatedCluster], Awaitable[None]]

#: the changing calls of a migration in their order, with the node that gets them
STEPS = {
    "migration_prepare": "node3",
    "migration_run": "node2",
    "migration_finish": "node3",
    "migration_source_done": "node2",
}
AFTER_THE_DECISION = ("migration_finish", "migration_source_done")


def on_cluster(tmp_path: Path, body: Body) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        await good(cluster, create())
        await body(cluster)

    asyncio.run(main())


def create(**more: object) -> dict[str, object]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": "web1",
        "os_type": OS_NAME,
        "disk_template": "sharedfile",
        "disks": [{"size": 64}],
        "pnode": "node2",
        "hypervisor": "fake",
        "ignore_ipolicy": True,
        **more,
    }


def migrate(**more: object) -> dict[str, object]:
    return {"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web1", "target_node": "node3", **more}


def cleanup() -> dict[str, object]:
    return {"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "web1", "cleanup": True}


async def good(cluster: SimulatedCluster, wire_op: dict[str, object]) -> Job:
    job = await cluster.run(wire_op)
    assert job.status is Status.SUCCESS, (job.ops[0].result, cluster.log_of(job.id))
    return job


async def refused(cluster: SimulatedCluster, wire_op: dict[str, object]) -> str:
    job = await cluster.run(wire_op)
    assert job.status is Status.ERROR
    assert job.ops[0].result[0] == "OpPrereqError", job.ops[0].result
    return str(job.ops[0].result[1])


def node_of(cluster: SimulatedCluster, name: str) -> SimulatedNode:
    return cluster.nodes[cluster.config.node(name).uuid]


def short(node: SimulatedNode) -> str:
    return node.name.partition(".")[0]


def running(cluster: SimulatedCluster) -> list[str]:
    return [
        short(node)
        for node in cluster.nodes.values()
        for guest in node.hypervisor.inner.list()
        if guest.state is GuestState.RUNNING
    ]


def leftovers(cluster: SimulatedCluster) -> list[str]:
    return [what for node in cluster.nodes.values() for what in node.hypervisor.inner.leftovers()]


def primary(cluster: SimulatedCluster) -> str:
    return cluster.config.nodes[cluster.config.instance("web1").primary_node].name.partition(".")[0]


def assert_clean(cluster: SimulatedCluster, where: str) -> None:
    """It runs there and only there, and nothing says otherwise."""
    assert running(cluster) == [where]
    assert primary(cluster) == where
    instance = cluster.config.instance("web1")
    assert (instance.moving, instance.blocked) == (None, "")
    assert leftovers(cluster) == []
    assert not cluster.state.debts
    assert not cluster.state.journal
    assert not cluster.locks.rows()
    assert not cluster.debris()


async def mark(cluster: SimulatedCluster, name: str, *, offline: bool) -> None:
    await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": name, "offline": offline, "force": True})


async def until_made(cluster: SimulatedCluster, call: str, *, gates: bool = True) -> None:
    """The call waits at its gate, or its reply does."""
    for _ in range(1000):
        await asyncio.sleep(0.002)
        made = [name for _, name in cluster.rpc.made]
        before = list(STEPS)[: list(STEPS).index(call)]
        if (call in made and not gates) or (gates and all(name in made for name in before)):
            if call in AFTER_THE_DECISION and primary(cluster) != "node3":
                continue
            await asyncio.sleep(0.01)
            return
    raise AssertionError(f"{call} was never made")


def test_migrate_then_it_runs_at_the_target_only(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await good(cluster, migrate())
        assert_clean(cluster, "node3")
        log = cluster.log_of(job.id)
        assert any("send web1 from node2.example.com to node3.example.com" in line for line in log)
        assert any("100 % sent" in line for line in log)
        assert [call for call in cluster.rpc.made if call[1] in STEPS] == [
            (f"{node}.example.com", call) for call, node in STEPS.items()
        ]
        await good(cluster, migrate(target_node="node2"))
        assert_clean(cluster, "node2")

    on_cluster(tmp_path, body)


def test_migrate_when_builtin_allocator_then_another_node(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, migrate(target_node=None, iallocator="builtin"))
        assert running(cluster) == [primary(cluster)]
        assert primary(cluster) != "node2"

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("how", ["fails", "reply is lost"])
@pytest.mark.parametrize("call", STEPS)
def test_migrate_when_a_step_goes_wrong_then_it_runs_once(tmp_path: Path, call: str, how: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        if how == "fails":
            cluster.rpc.fail[call] = errors.HypervisorError("told to fail")
        else:
            cluster.rpc.lose_reply.append(call)
        job = await cluster.run(migrate())
        if call in AFTER_THE_DECISION:
            assert job.status is Status.SUCCESS, cluster.log_of(job.id)
            assert_clean(cluster, "node3")
        else:
            assert job.status is Status.ERROR
            assert_clean(cluster, "node2")
        assert not cluster.rpc.fail
        assert not cluster.rpc.lose_reply

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("late", [False, True], ids=["never arrives", "arrives late"])
@pytest.mark.parametrize("call", STEPS)
def test_migrate_when_master_dies_before_a_call_then_it_runs_once(tmp_path: Path, call: str, late: bool) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        gate = cluster.rpc.gates[call] = asyncio.Event()
        job = await cluster.submit(migrate())
        await until_made(cluster, call)
        del cluster.rpc.gates[call]
        await cluster.restart()
        ended = await cluster.wait(job)
        where = "node3" if call in AFTER_THE_DECISION else "node2"
        assert ended.status is (Status.SUCCESS if where == "node3" else Status.ERROR), ended.ops[0].result
        assert_clean(cluster, where)
        if late:
            gate.set()
            await asyncio.sleep(0.02)
            assert_clean(cluster, where)
        await good(cluster, migrate(target_node="node1"))
        assert_clean(cluster, "node1")

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", STEPS)
def test_migrate_when_master_dies_after_a_call_then_it_runs_once(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.held_replies[call] = asyncio.Event()
        job = await cluster.submit(migrate())
        await until_made(cluster, call, gates=False)
        del cluster.rpc.held_replies[call]
        await cluster.restart()
        await cluster.wait(job)
        assert_clean(cluster, "node3" if call in AFTER_THE_DECISION else "node2")

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("commits", range(12))
def test_migrate_when_master_dies_at_any_commit_then_it_runs_once(tmp_path: Path, commits: int) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.submit(migrate())
        store = cluster.store
        limit = len(store.batches) + commits

        def die(batch: object) -> None:
            store.is_lost = len(store.batches) >= limit

        die(None)
        store.on_publish(die)
        for _ in range(300):
            await asyncio.sleep(0.002)
            if cluster.jobs.get(job).status.is_final:
                break
        await cluster.restart()
        ended = await cluster.wait(job)
        assert_clean(cluster, "node3" if ended.status is Status.SUCCESS else "node2")

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("back", ["returns", "is marked offline", "is marked offline and returns"])
@pytest.mark.parametrize("side", ["node2", "node3"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("call", STEPS)
def test_migrate_when_a_node_dies_then_it_never_runs_twice_and_can_be_cleaned_up(
    tmp_path: Path, call: str, moment: str, side: str, back: str
) -> None:
    """The node does not answer any more; what runs on it runs on, unseen, as on a node that is cut off."""

    async def body(cluster: SimulatedCluster) -> None:
        gates = cluster.rpc.gates if moment == "before" else cluster.rpc.held_replies
        gate = gates[call] = asyncio.Event()
        job = await cluster.submit(migrate())
        await until_made(cluster, call, gates=moment == "before")
        node = node_of(cluster, side)
        node.is_up = False
        del gates[call]
        gate.set()
        await cluster.wait(job)
        assert len(running(cluster)) <= 1
        if back.startswith("is marked offline"):
            await mark(cluster, side, offline=True)
        else:
            node.is_up = True
        if cluster.config.instance("web1").moving is not None:
            assert cluster.config.instance("web1").blocked
            await good(cluster, cleanup())
        instance = cluster.config.instance("web1")
        assert (instance.moving, instance.blocked) == (None, "")
        if side == "node3" and back.startswith("is marked offline") and running(cluster) == []:
            # nobody knows whether it went on there: it starts anew, as the watcher would see to
            assert primary(cluster) == "node2"
            await good(cluster, {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
        if back == "is marked offline and returns":
            node.is_up = True
            await mark(cluster, side, offline=False)
        if back == "is marked offline":
            lost = [] if primary(cluster) == side else [primary(cluster)]
            assert [place for place in running(cluster) if place != side] == lost
            return
        for owing in {debt.node for debt in cluster.state.debts.values()}:
            await cluster.debts.pay(owing)
        if running(cluster) == []:
            # it was given up as lost while its node was marked offline
            assert back == "is marked offline and returns"
            assert primary(cluster) == side
            return
        assert_clean(cluster, primary(cluster))

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", STEPS)
def test_migrate_when_the_job_is_killed_then_it_runs_once(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        gate = cluster.rpc.gates[call] = asyncio.Event()
        job = await cluster.submit(migrate())
        await until_made(cluster, call)
        assert (await cluster.engine.cancel(job, kill=True))[0]
        await asyncio.sleep(0.01)
        gate.set()
        ended = await cluster.wait(job)
        if call in AFTER_THE_DECISION:
            assert ended.status is Status.SUCCESS
            assert_clean(cluster, "node3")
        else:
            assert ended.status is Status.CANCELED
            assert_clean(cluster, "node2")

    on_cluster(tmp_path, body)


def test_source_that_dies_when_it_has_sent_all_owes_the_rest(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.held_replies["migration_run"] = asyncio.Event()
        job = await cluster.submit(migrate())
        await until_made(cluster, "migration_run", gates=False)
        node_of(cluster, "node2").is_up = False
        cluster.rpc.held_replies["migration_run"].set()
        del cluster.rpc.held_replies["migration_run"]
        # the commit goes through and the guest goes on; the source's half goes when that node is back
        assert (await cluster.wait(job)).status is Status.SUCCESS
        assert running(cluster) == ["node3"]
        assert [debt.node for debt in cluster.state.debts.values()] == [cluster.config.node("node2").uuid]

    on_cluster(tmp_path, body)


def test_blocked_when_target_dies_after_the_decision_then_only_cleanup_helps(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        gate = cluster.rpc.gates["migration_finish"] = asyncio.Event()
        job = await cluster.submit(migrate())
        await until_made(cluster, "migration_finish")
        node_of(cluster, "node3").is_up = False
        del cluster.rpc.gates["migration_finish"]
        gate.set()
        ended = await cluster.wait(job)
        assert ended.status is Status.ERROR
        assert any("gnt-instance migrate --cleanup web1" in line for line in cluster.log_of(job))
        assert running(cluster) == []
        for op in (
            {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"},
            {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"},
            {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"},
            {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "target_node": "node1"},
            {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "cleanup": True},
            migrate(target_node="node1"),
        ):
            assert "--cleanup web1" in await refused(cluster, op), op
        still = await cluster.run(cleanup())
        assert still.status is Status.ERROR
        assert "node3.example.com" in str(still.ops[0].result)
        node_of(cluster, "node3").is_up = True
        await good(cluster, cleanup())
        assert_clean(cluster, "node3")

    on_cluster(tmp_path, body)


def test_target_that_went_on_unseen_and_was_given_up_does_not_run_it_beside_the_source(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        gate = cluster.rpc.held_replies["migration_finish"] = asyncio.Event()
        cluster.rpc.lose_reply.append("migration_finish")
        job = await cluster.submit(migrate())
        await until_made(cluster, "migration_finish", gates=False)
        target = node_of(cluster, "node3")
        target.is_up = False
        del cluster.rpc.held_replies["migration_finish"]
        gate.set()
        assert (await cluster.wait(job)).status is Status.ERROR
        assert running(cluster) == ["node3"]  # cut off, and it writes to its disks
        await mark(cluster, "node3", offline=True)
        await good(cluster, cleanup())
        # the memory that the source had is older than the disks are now
        assert running(cluster) == ["node3"]
        assert primary(cluster) == "node2"
        await good(cluster, {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
        target.is_up = True
        await mark(cluster, "node3", offline=False)
        await cluster.debts.pay(target.uuid)
        assert_clean(cluster, "node2")

    on_cluster(tmp_path, body)


def test_target_that_lost_the_guest_after_the_decision_gives_it_back(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        gate = cluster.rpc.gates["migration_finish"] = asyncio.Event()
        job = await cluster.submit(migrate())
        await until_made(cluster, "migration_finish")
        target = node_of(cluster, "node3").hypervisor.inner
        (guest,) = target.list()
        target.stop(guest.name, guest.uuid, force=True)
        del cluster.rpc.gates["migration_finish"]
        gate.set()
        assert (await cluster.wait(job)).status is Status.ERROR
        # nothing is left that could tell whether it went on there
        assert (running(cluster), primary(cluster)) == ([], "node2")
        await good(cluster, {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"})
        assert_clean(cluster, "node2")

    on_cluster(tmp_path, body)


def test_cleanup_when_nothing_is_wrong_then_it_says_so(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await good(cluster, cleanup())
        assert any("nothing to clean up" in line for line in cluster.log_of(job.id))
        assert_clean(cluster, "node2")
        assert "takes no target" in await refused(cluster, migrate(cleanup=True))

    on_cluster(tmp_path, body)


def test_down_instance_is_refused_with_the_way_out_or_fails_over(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": "web1"})
        text = await refused(cluster, migrate())
        assert "is not running" in text
        assert "gnt-instance failover" in text
        await good(cluster, migrate(allow_failover=True))
        assert (primary(cluster), running(cluster)) == ("node3", [])

    on_cluster(tmp_path, body)


def test_offline_source_fails_over_when_that_is_allowed(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        node_of(cluster, "node2").is_up = False
        assert "node2" in await refused(cluster, migrate())
        await mark(cluster, "node2", offline=True)
        assert "gnt-instance failover" in await refused(cluster, migrate())
        await good(cluster, migrate(allow_failover=True))
        assert primary(cluster) == "node3"
        assert "node3" in running(cluster)

    on_cluster(tmp_path, body)


def test_refusals(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        assert "is the primary node" in await refused(cluster, migrate(target_node="node2"))
        assert "neither a node nor an allocator" in await refused(cluster, migrate(target_node=None))
        assert "both a node and an allocator" in await refused(cluster, migrate(iallocator="builtin"))
        assert "whether it is live" in await refused(cluster, migrate(live=False, mode="live"))
        await mark(cluster, "node3", offline=True)
        assert "node3.example.com is marked offline" in await refused(cluster, migrate())
        await good(cluster, create(instance_name="web2", disk_template="file"))
        text = await refused(cluster, migrate(instance_name="web2", target_node="node1"))
        assert "disk template is file" in text
        assert "sharedfile" in text

    on_cluster(tmp_path, body)


def test_target_with_something_of_that_name_is_refused(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        source, target = (node_of(cluster, name).hypervisor.inner for name in ("node2", "node3"))
        target.start(source.migration.departure("web1", "").spec, (), paused=True)
        assert "already something of a guest named web1" in await refused(cluster, migrate())

    on_cluster(tmp_path, body)


def test_dry_run_tells_the_steps_and_does_nothing(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await good(cluster, migrate(dry_run=True))
        told = "\n".join(cluster.log_of(job.id))
        for call in STEPS:
            assert call in told
        assert_clean(cluster, "node2")

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["migration_preflight", "migration_check"])
def test_migrate_when_a_look_before_it_fails_then_nothing_was_begun(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        job = await cluster.run(migrate())
        assert job.status is Status.ERROR
        assert "migration_prepare" not in [name for _, name in cluster.rpc.made]
        assert_clean(cluster, "node2")

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["migration_abort", "migration_state"])
def test_migrate_when_the_way_back_is_disturbed_then_cleanup_ends_it(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.fail["migration_run"] = errors.NodeFailure("told to fail")
        cluster.rpc.lose_reply.append(call)
        job = await cluster.run(migrate())
        assert job.status is Status.ERROR
        assert running(cluster) == ["node2"]
        if cluster.config.instance("web1").moving is not None:
            await good(cluster, cleanup())
        assert_clean(cluster, "node2")

    on_cluster(tmp_path, body)
