"""Moves of instances with plain and file disks: what arrives, what is refused, what is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ganeti import errors
from ganeti.model.jobs import Job, Status
from ganeti.model.objects import AdminState, Instance
from ganeti.testing.cluster import OS_NAME, SimulatedCluster, SimulatedNode

Body = Callable[[SimulatedCluster], Awaitable[None]]
CONTENT = b"not only zeros" * 1000


def on_cluster(path: Path, body: Body) -> None:
    async def whole() -> None:
        await body(SimulatedCluster(str(path)))

    asyncio.run(whole())


def op(verb: str, **more: Any) -> dict[str, Any]:
    return {"OP_ID": f"OP_INSTANCE_{verb}", "instance_name": "web1", **more}


def move(**more: Any) -> dict[str, Any]:
    return op("MOVE", **{"target_node": "node3", **more})


def create(template: str = "plain", **more: Any) -> dict[str, Any]:
    base = {"os_type": OS_NAME, "hypervisor": "fake", "ignore_ipolicy": True, "disk_template": template}
    return op("CREATE", **{**base, "disks": [{"size": 8}, {"size": 4}], "pnode": "node2", **more})


async def good(cluster: SimulatedCluster, *ops: Any) -> Job:
    job = await cluster.run(*ops)
    assert job.status is Status.SUCCESS, (job.ops[-1].result, cluster.log_of(job.id))
    return job


async def bad(cluster: SimulatedCluster, *ops: Any) -> str:
    job = await cluster.run(*ops)
    assert job.status is Status.ERROR, cluster.log_of(job.id)
    return str(job.ops[-1].result)


def web1(cluster: SimulatedCluster) -> Instance:
    return cluster.config.instance("web1")


def node(cluster: SimulatedCluster, number: int) -> SimulatedNode:
    return list(cluster.nodes.values())[number - 1]


def disk(cluster: SimulatedCluster, number: int, index: int) -> Path:
    first, second = web1(cluster).disks[index].logical_id
    path = str(second) if first == "loop" else f"/var/lib/ganeti/fake-lvm/{first}/{second}"
    return Path(node(cluster, number).paths.local(path))


def write(path: Path, text: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(2 << 20)
        file.write(text)


def guests(cluster: SimulatedCluster) -> list[int]:
    """How many each node has."""
    return [len(each.hypervisor.list()) for each in cluster.nodes.values()]


@pytest.mark.parametrize("template", ["plain", "file"])
@pytest.mark.parametrize("compress", ["none", "gzip-fast"])
def test_it_runs_on_the_other_node_with_its_data(tmp_path: Path, template: str, compress: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(template))
        write(disk(cluster, 2, 1), CONTENT)
        old = [disk(cluster, 2, index).read_bytes() for index in (0, 1)]
        await good(cluster, move(compress=compress))
        assert web1(cluster).primary_node == node(cluster, 3).uuid
        assert guests(cluster) == [0, 0, 1]
        assert [disk(cluster, 3, index).read_bytes() for index in (0, 1)] == old
        assert node(cluster, 2).volumes() == ()
        assert not cluster.debris()
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_one_that_is_down_stays_so(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(start=False))
        write(disk(cluster, 2, 0), CONTENT)
        await good(cluster, move())
        assert (web1(cluster).primary_node, web1(cluster).admin_state) == (node(cluster, 3).uuid, AdminState.DOWN)
        assert not web1(cluster).disks_active
        assert CONTENT in disk(cluster, 3, 0).read_bytes()
        assert guests(cluster) == [0, 0, 0]
        assert node(cluster, 2).volumes() == ()

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(
    ("changes", "more", "text"),
    [
        ({}, {"target_node": "node2"}, "is on node node2.example.com already"),
        ({}, {"compress": "rot13"}, "no compression 'rot13'"),
        ({"disk_template": "drbd", "snode": "node3"}, {}, "gnt-instance failover takes it"),
        ({"disk_template": "diskless", "disks": []}, {}, "only plain and file disks"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changes: dict[str, Any], more: dict[str, Any], text: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(**changes))
        before = web1(cluster)
        assert text in await bad(cluster, move(**more))
        assert web1(cluster) == before

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(
    ("number", "flag", "text"),
    [(2, "offline", "node2.example.com is marked offline"), (3, "drained", "drained")],
)
def test_nodes_that_cannot_are_refused(tmp_path: Path, number: int, flag: str, text: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        await good(cluster, {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": f"node{number}", flag: True, "force": True})
        assert text in await bad(cluster, move())

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["instance_stop", "volume_create", "stream_listen", "stream_send"])
def test_a_move_that_fails_leaves_it_running_where_it_was(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(disk(cluster, 2, 0), CONTENT)
        cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        assert "told to fail" in await bad(cluster, move())
        assert web1(cluster).primary_node == node(cluster, 2).uuid
        assert guests(cluster) == [0, 1, 0]
        assert CONTENT in disk(cluster, 2, 0).read_bytes()
        assert node(cluster, 3).volumes() == ()
        assert not cluster.state.debts
        await good(cluster, move())
        assert CONTENT in disk(cluster, 3, 0).read_bytes()

    on_cluster(tmp_path, body)


def test_a_start_that_fails_leaves_it_on_the_new_node_alone(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        cluster.rpc.fail["instance_start"] = errors.NodeFailure("told to fail")
        assert "told to fail" in await bad(cluster, move())
        assert web1(cluster).primary_node == node(cluster, 3).uuid
        assert web1(cluster).admin_state is AdminState.UP
        assert node(cluster, 2).volumes() == ()
        assert not cluster.debris()

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("is_moved", [False, True])
def test_the_master_dies_in_the_middle(tmp_path: Path, is_moved: bool) -> None:
    """While the disks are sent it comes back; once it is moved the old disks go."""

    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(disk(cluster, 2, 0), CONTENT)
        call = "instance_start" if is_moved else "stream_send"
        cluster.rpc.gates[call] = asyncio.Event()
        job = await cluster.submit(move())
        title = "start web1" if is_moved else "send disk"
        await cluster.jobs.changed(job, lambda: title in cluster.jobs.get(job).ops[0].step_title, 20)
        cluster.rpc.gates.clear()
        await cluster.restart()
        await cluster.wait(job)
        there = 3 if is_moved else 2
        assert web1(cluster).primary_node == node(cluster, there).uuid
        assert guests(cluster)[there - 1] == 1
        assert sum(guests(cluster)) == 1
        assert CONTENT in disk(cluster, there, 0).read_bytes()
        assert node(cluster, 5 - there).volumes() == ()

    on_cluster(tmp_path, body)


def test_a_guest_that_could_not_be_stopped_is_ended_when_its_node_hears_again(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        cluster.rpc.fail["instance_stop"] = errors.NodeFailure("told to fail")
        await good(cluster, move(ignore_consistency=True))
        assert guests(cluster) == [0, 0, 1]
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_a_dry_run_shows_the_steps_and_changes_nothing(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        job = await good(cluster, move(dry_run=True))
        log = "\n".join(cluster.log_of(job.id))
        wanted = [
            "stop web1",
            "create disk 1 of web1 on node3",
            "send disk 1 of web1 from node2",
            "start web1 on node3",
        ]
        assert all(words in log for words in wanted), log
        assert web1(cluster).primary_node == node(cluster, 2).uuid
        assert node(cluster, 3).volumes() == ()

    on_cluster(tmp_path, body)
