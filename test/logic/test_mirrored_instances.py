"""Instances with plain and mirrored disks, from their creation to their removal, on nodes that keep real state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ganeti import errors, paths
from ganeti.model.disks import Mirror
from ganeti.model.jobs import Job, Status
from ganeti.model.objects import DiskTemplate, Instance
from ganeti.testing.cluster import OS_NAME, SimulatedCluster, SimulatedNode

Body = Callable[[SimulatedCluster], Awaitable[None]]


def on_cluster(path: Path, body: Body) -> None:
    async def whole() -> None:
        await body(SimulatedCluster(str(path)))

    asyncio.run(whole())


def op(verb: str, **more: Any) -> dict[str, Any]:
    return {"OP_ID": f"OP_INSTANCE_{verb}", "instance_name": "web1", **more}


def create(**more: Any) -> dict[str, Any]:
    base = {"os_type": OS_NAME, "hypervisor": "fake", "ignore_ipolicy": True, "disk_template": "drbd"}
    where = {"disks": [{"size": 16}, {"size": 8}], "pnode": "node2", "snode": "node3"}
    return op("CREATE", **{**base, **where, **more})


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


def data(cluster: SimulatedCluster, number: int, index: int = 0) -> Path:
    vg, name = web1(cluster).disks[index].children[0].logical_id
    return Path(node(cluster, number).paths.local(f"/var/lib/ganeti/fake-lvm/{vg}/{name}"))


def write(path: Path, text: bytes) -> None:
    with path.open("r+b") as file:
        file.write(text)


def is_connected(cluster: SimulatedCluster, number: int) -> bool:
    mirror = node(cluster, number).storage[DiskTemplate.DRBD].mirror
    assert mirror is not None
    found = mirror.inner.minors()  # type: ignore[attr-defined]  # the driver inside
    return bool(found) and all(not state.is_degraded for state in mirror.inner._kernel.minors().values())  # type: ignore[attr-defined]


def test_a_mirrored_instance_is_made_in_sync_and_leaves_nothing(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await good(cluster, create())
        assert job.ops[0].result == ["node2.example.com", "node3.example.com"]
        instance = web1(cluster)
        mirrors = [Mirror.of(disk) for disk in instance.disks]
        assert [mirror.port for mirror in mirrors] == [11000, 11001]
        assert [mirror.minors for mirror in mirrors] == [(0, 0), (1, 1)]
        assert [child.size for child in instance.disks[0].children] == [16, 128]
        assert is_connected(cluster, 2)
        assert data(cluster, 2).samefile(data(cluster, 3))
        assert not cluster.debris()
        await good(cluster, op("REMOVE"))
        assert not cluster.debris()
        for each in cluster.nodes.values():
            assert each.volumes() == ()
            assert each.minors() == ()

    on_cluster(tmp_path, body)


def has_groups(cluster: SimulatedCluster, *names: str) -> None:
    place = Path(node(cluster, 2).paths.local(paths.FAKE_LVM_GROUPS))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("\n".join(names))


def test_a_plain_instance_lives_on_one_node(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        wanted = create(disk_template="plain", snode="", disks=[{"size": 16, "vg": "other"}, {"size": 8}])
        assert "volume group other missing" in await bad(cluster, wanted)
        has_groups(cluster, "xenvg", "other")
        await good(cluster, wanted)
        assert [disk.logical_id[0] for disk in web1(cluster).disks] == ["other", "xenvg"]
        assert len(node(cluster, 2).volumes()) == 2
        assert "lie on node node2" in await bad(cluster, op("FAILOVER", target_node="node3"))
        await good(cluster, op("SHUTDOWN"))
        await good(cluster, op("STARTUP"))
        await good(cluster, op("REMOVE"))
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_an_allocator_chooses_both_nodes(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(pnode="", snode="", iallocator="builtin"))
        assert len(set(web1(cluster).nodes)) == 2

    on_cluster(tmp_path, body)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"snode": ""}, "needs a secondary node"),
        ({"snode": "node2"}, "secondary of itself"),
        ({"disks": [{"size": 8, "vg": "-x"}]}, "cannot be the name of a volume group"),
    ],
)
def test_a_mirrored_instance_is_refused(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        assert text in await bad(cluster, create(**changes))
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_a_stopped_instance_has_no_mirrors_up_and_a_start_brings_both_up(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        await good(cluster, op("SHUTDOWN"))
        assert [node(cluster, number).minors() for number in (2, 3)] == [(), ()]
        await good(cluster, op("STARTUP"))
        assert is_connected(cluster, 3)
        await good(cluster, op("REBOOT", reboot_type="full"))
        assert is_connected(cluster, 2)

    on_cluster(tmp_path, body)


def test_a_start_needs_the_other_half_unless_it_is_forced(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(start=False))
        node(cluster, 3).storage[DiskTemplate.DRBD].fail_next("assemble", errors.StorageError("broken"))
        assert "broken" in await bad(cluster, op("STARTUP"))
        assert not node(cluster, 2).hypervisor.list()
        node(cluster, 3).storage[DiskTemplate.DRBD].fail_next("assemble", errors.StorageError("broken"))
        await good(cluster, op("STARTUP", force=True))
        assert len(node(cluster, 2).hypervisor.list()) == 1

    on_cluster(tmp_path, body)


def test_failover_turns_the_mirror_round(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        write(data(cluster, 2), b"hello")
        assert "no allocator is asked" in await bad(cluster, op("FAILOVER", iallocator="builtin"))
        await good(cluster, op("FAILOVER"))
        instance = web1(cluster)
        assert [cluster.nodes[uuid].name[:5] for uuid in instance.nodes] == ["node3", "node2"]
        assert len(node(cluster, 3).hypervisor.list()) == 1
        assert is_connected(cluster, 2)
        assert data(cluster, 3).read_bytes()[:5] == b"hello"
        await good(cluster, op("SHUTDOWN"))
        await good(cluster, op("FAILOVER"))
        assert web1(cluster).primary_node == node(cluster, 2).uuid

    on_cluster(tmp_path, body)


def test_failover_from_a_dead_node_and_its_return(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        node(cluster, 2).is_up = False
        offline = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": True}
        await good(cluster, offline)
        await good(cluster, op("FAILOVER", ignore_consistency=True))
        assert len(node(cluster, 3).hypervisor.list()) == 1
        write(data(cluster, 3), b"after")
        node(cluster, 2).is_up = True
        await good(cluster, {**offline, "offline": False})
        await good(cluster, op("STARTUP"))
        assert node(cluster, 2).minors() == ()

    on_cluster(tmp_path, body)


def test_a_degraded_mirror_does_not_fail_over_or_migrate(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        kernel = node(cluster, 3).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
        kernel.disconnect(0, "", "")
        assert "disk 0 stands alone" in await bad(cluster, op("FAILOVER"))
        assert "disk 0 waits for its peer" in await bad(cluster, op("MIGRATE"))
        assert len(node(cluster, 2).hypervisor.list()) == 1

    on_cluster(tmp_path, body)


def test_live_migration_has_two_primaries_for_a_moment_only(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        await good(cluster, op("MIGRATE"))
        assert web1(cluster).primary_node == node(cluster, 3).uuid
        assert len(node(cluster, 3).hypervisor.list()) == 1
        for number, role in ((2, "Secondary"), (3, "Primary")):
            kernel = node(cluster, number).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
            assert {state.role for state in kernel.minors().values()} == {role}
            assert {kernel.configured(minor).two_primaries for minor in (0, 1)} == {False}

    on_cluster(tmp_path, body)


def test_a_node_that_could_not_be_told_that_one_writes_is_told_later(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        gate = cluster.rpc.gates["migration_source_done"] = asyncio.Event()
        job = asyncio.create_task(cluster.run(op("MIGRATE")))
        async with asyncio.timeout(60):
            while "migration_finish" not in [call for _, call in cluster.rpc.made]:
                await asyncio.sleep(0)
        cluster.rpc.fail["mirror_two_primaries"] = errors.NodeFailure("told to fail")
        gate.set()
        done = await job
        assert done.status is Status.SUCCESS
        assert "told to fail" in str(cluster.log_of(done.id))
        ends = [node(cluster, number) for number in (2, 3)]
        kernels = [end.storage[DiskTemplate.DRBD].inner._kernel for end in ends]  # type: ignore[attr-defined]
        for end in ends:
            await cluster.debts.settle(end.uuid)
        assert not any(kernel.configured(minor).two_primaries for kernel in kernels for minor in (0, 1))
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("call", ["mirror_two_primaries", "migration_prepare", "migration_run"])
def test_a_migration_that_fails_leaves_one_primary(tmp_path: Path, call: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
        assert "told to fail" in await bad(cluster, op("MIGRATE"))
        assert web1(cluster).moving is None
        assert web1(cluster).primary_node == node(cluster, 2).uuid
        for number, role in ((2, "Primary"), (3, "Secondary")):
            kernel = node(cluster, number).storage[DiskTemplate.DRBD].inner._kernel  # type: ignore[attr-defined]
            assert {state.role for state in kernel.minors().values()} == {role}
            assert {kernel.configured(minor).two_primaries for minor in (0, 1)} == {False}
        assert not cluster.state.debts

    on_cluster(tmp_path, body)


def test_creation_that_fails_gives_everything_back(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        for call in ("volume_create", "mirror_assemble", "mirror_promote", "os_create"):
            cluster.rpc.fail[call] = errors.NodeFailure("told to fail")
            assert "told to fail" in await bad(cluster, create())
            assert not cluster.debris()
            assert [each.minors() for each in cluster.nodes.values()] == [(), (), ()]

    on_cluster(tmp_path, body)


def test_a_minor_that_a_dead_node_owes_is_not_given_again(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.rpc.fail["os_create"] = errors.NodeFailure("told to fail")

        async def dies() -> None:
            await cluster.rpc.gates["os_create"].wait()

        cluster.rpc.gates["os_create"] = asyncio.Event()
        job = await cluster.submit(create())
        await cluster.jobs.changed(job, lambda: "install" in cluster.jobs.get(job).ops[0].step_title, 60)
        node(cluster, 3).is_up = False
        cluster.rpc.gates["os_create"].set()
        await cluster.wait(job)
        assert len(cluster.state.debts) == 2
        del cluster.rpc.gates["os_create"]
        await good(cluster, create(pnode="node2", snode="node1", disks=[{"size": 8}]))
        mirror = Mirror.of(web1(cluster).disks[0])
        assert mirror.port == 11002
        assert cluster.engine._parts.reservations.new_minor(0, node(cluster, 3).uuid) == 2

    on_cluster(tmp_path, body)
