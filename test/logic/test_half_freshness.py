"""Halves of mirrors that lack what the other one has do not lead by mistake, and the better one is not given up."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from logic.test_disk_operations import content, lose_volumes, set_meta, set_state, spoil_metadata
from logic.test_mirrored_instances import bad, create, data, good, is_connected, node, on_cluster, op, web1, write

from ganeti.calls.mirror import Half
from ganeti.logic.freshness import judge
from ganeti.model.generations import Age, Generation, compare
from ganeti.model.jobs import Status
from ganeti.model.objects import Disk, DiskTemplate, Instance
from ganeti.testing.cluster import SimulatedCluster

OFFLINE = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node2", "offline": True}
FORCED = op("FAILOVER", ignore_consistency=True)


def generation(current: str, base: str = "", *history: str, **more: Any) -> Generation:
    return Generation(current=current, base=base, history=history, **{"is_consistent": True, **more})


# as the kernel wrote them down: in sync, one goes on alone, what it is after the other one has got that
IN_SYNC = generation("DA7C579DDF89B6B2", "", "57FA389513F685A6", "57F9389513F685A6")
ALONE = generation("2E4E981882B86EC4", "DA7C579DDF89B6B2", "57FA389513F685A6", "57F9389513F685A6")
ALONE_TOO = generation("21B54F2DDB867C98", "DA7C579DDF89B6B2", "57FA389513F685A6", "57F9389513F685A6")
LATER = generation("21B54F2DDB867C98", "", "DA7D579DDF89B6B2", "DA7C579DDF89B6B2")


@pytest.mark.parametrize(
    ("own", "other", "age"),
    [
        (IN_SYNC, IN_SYNC, Age.SAME),
        (ALONE, IN_SYNC, Age.NEWER),
        (LATER, IN_SYNC, Age.NEWER),
        (ALONE, ALONE_TOO, Age.APART),
        (IN_SYNC, generation(""), Age.NEWER),
        (generation(""), generation(""), Age.SAME),
        (IN_SYNC, msgspec.structs.replace(ALONE, is_consistent=False), Age.NEWER),
        (IN_SYNC, generation("0000000000000006"), Age.APART),
    ],
)
def test_the_age_of_a_half_is_what_drbd_says(own: Generation, other: Generation, age: Age) -> None:
    turned = {Age.NEWER: Age.OLDER}
    assert compare(own, other) is age
    assert compare(other, own) is turned.get(age, age)


def judged(half: Half, other: Half | None) -> tuple[int, int, int]:
    disk = Disk(uuid="d", template=DiskTemplate.DRBD, size=1, logical_id=())  # type: ignore[arg-type]
    found = judge([("disk 0", disk)], "n3", [half], "n2", None if other is None else [other])
    return len(found.lost), len(found.unknown), len(found.outdated)


@pytest.mark.parametrize(
    ("half", "other", "lost", "unknown", "outdated"),
    [
        (IN_SYNC, IN_SYNC, 0, 0, 0),
        (ALONE, IN_SYNC, 0, 0, 0),
        (IN_SYNC, ALONE, 1, 0, 0),
        (ALONE, ALONE_TOO, 0, 1, 0),
        (msgspec.structs.replace(IN_SYNC, is_consistent=False), None, 1, 0, 0),
        (IN_SYNC, None, 0, 0, 0),
        (msgspec.structs.replace(IN_SYNC, is_outdated=True), None, 0, 1, 1),
        (msgspec.structs.replace(IN_SYNC, is_outdated=True), IN_SYNC, 0, 0, 0),
    ],
)
def test_what_keeps_a_half_from_leading(
    half: Generation, other: Generation | None, lost: int, unknown: int, outdated: int
) -> None:
    counts = (lost, unknown, outdated)
    assert judged(Half(generation=half), None if other is None else Half(generation=other)) == counts


def test_a_half_of_which_nothing_is_known_is_a_doubt() -> None:
    assert judged(Half(problem="no metadata"), None) == (0, 1, 0)
    assert judged(Half(generation=IN_SYNC), Half(problem="lost")) == (0, 1, 0)


async def degraded(cluster: SimulatedCluster, **more: Any) -> None:
    """The guest has written on node2 while node3 was away; node3 is back, and nobody has told it."""
    await good(cluster, create(**more))
    node(cluster, 3).is_up = False
    assert not is_connected(cluster, 2)
    write(data(cluster, 2), b"newer")
    node(cluster, 3).is_up = True


async def stopped(cluster: SimulatedCluster) -> None:
    await degraded(cluster)
    await good(cluster, op("SHUTDOWN"))
    assert [content(cluster, number) for number in (2, 3)] != [b"newer", b"newer"]


def primary(cluster: SimulatedCluster) -> str:
    return cluster.nodes[web1(cluster).primary_node].name[:5]


@pytest.mark.parametrize("more", [{}, {"ignore_consistency": True}])
@pytest.mark.parametrize("before", [degraded, stopped])
def test_the_older_half_does_not_take_over_while_the_newer_one_can_be_reached(
    tmp_path: Path, before: Any, more: dict[str, Any]
) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await before(cluster)
        told = await bad(cluster, op("FAILOVER", **more))
        if more or before is stopped:
            assert "node2.example.com has newer data of disk 0 than node3.example.com" in told
        assert "activate-disks" in told
        assert primary(cluster) == "node2"
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True), op("FAILOVER"))
        assert primary(cluster) == "node3"
        assert content(cluster, 3) == b"newer"

    on_cluster(tmp_path, body)


def test_with_a_dead_primary_what_is_not_known_is_told(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await stopped(cluster)
        node(cluster, 2).is_up = False
        await good(cluster, OFFLINE)
        assert "marked offline" in await bad(cluster, op("FAILOVER"))
        job = await good(cluster, FORCED)
        assert "whether it has newer data of web1 than node3.example.com is not known" in " ".join(
            cluster.log_of(job.id)
        )
        await good(cluster, op("STARTUP"))
        # both were written: neither is thrown away
        node(cluster, 2).is_up = True
        await good(cluster, {**OFFLINE, "offline": False})
        await good(cluster, op("SHUTDOWN"))
        assert content(cluster, 2) == b"newer"
        assert "each data of disk 0 that the other lacks" in await bad(cluster, op("FAILOVER"))
        await good(cluster, FORCED)
        await good(cluster, op("STARTUP", force=True))
        assert content(cluster, 2) == b"newer"

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("is_dead", [False, True])
def test_an_incomplete_half_never_takes_over(tmp_path: Path, is_dead: bool) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(start=False))
        set_state(cluster, 3, "Inconsistent")
        if is_dead:
            node(cluster, 2).is_up = False
            await good(cluster, OFFLINE)
        assert "is incomplete" in await bad(cluster, FORCED)
        assert primary(cluster) == "node2"

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("is_up", [False, True])
def test_an_outdated_half_leads_by_the_administrators_word_only(tmp_path: Path, is_up: bool) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(start=is_up))
        write(data(cluster, 2), b"hello")
        node(cluster, 2).is_up = False
        await good(cluster, OFFLINE)
        node(cluster, 3).is_up = False
        node(cluster, 3).is_up = True
        set_state(cluster, 3, "Outdated")
        job = await good(cluster, FORCED)
        assert "is out of date" in " ".join(cluster.log_of(job.id))
        if not is_up:
            assert node(cluster, 3).minors() == ()
            await good(cluster, op("STARTUP"))
        assert [guest.name for guest in node(cluster, 3).hypervisor.list()] == ["web1"]

    on_cluster(tmp_path, body)


def test_a_half_that_cannot_be_looked_at_is_passed_over_by_word_only(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(start=False))
        spoil_metadata(cluster, 2)
        assert "whether node2.example.com has newer data" in await bad(cluster, op("FAILOVER"))
        await good(cluster, FORCED)

    on_cluster(tmp_path, body)


async def turned(cluster: SimulatedCluster) -> Instance:
    """Stopped, and failed over to the older half while the newer one was dead; that is back now."""
    await stopped(cluster)
    node(cluster, 2).is_up = False
    await good(cluster, OFFLINE, FORCED)
    node(cluster, 2).is_up = True
    await good(cluster, {**OFFLINE, "offline": False})
    return web1(cluster)


@pytest.mark.parametrize(
    "wanted",
    [
        op("REPLACE_DISKS", mode="replace_on_secondary"),
        op("REPLACE_DISKS", remote_node="node1"),
        op("FAILOVER", target_node="node1"),
        op("FAILOVER", target_node="node1", ignore_consistency=True),
    ],
    ids=["in-place", "elsewhere", "third-node", "third-node-ignoring"],
)
def test_the_newer_half_of_a_stopped_instance_is_not_given_up(tmp_path: Path, wanted: dict[str, Any]) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = await turned(cluster)
        assert "node2.example.com has newer data" in await bad(cluster, wanted)
        assert web1(cluster) == before
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True), op("DEACTIVATE_DISKS"), wanted)
        assert content(cluster, 3) == b"newer"

    on_cluster(tmp_path, body)


def test_new_volumes_on_the_newer_side_wait_for_the_other_one(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await stopped(cluster)
        await good(cluster, op("REPLACE_DISKS", mode="replace_on_primary"))
        assert [content(cluster, number) for number in (2, 3)] == [b"newer", b"newer"]

    on_cluster(tmp_path, body)


def test_what_is_lost_on_the_primary_does_not_hide_what_the_other_lacks(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await stopped(cluster)
        os.unlink(data(cluster, 2, 1))
        assert "node2.example.com has newer data of disk 0" in await bad(
            cluster, op("REPLACE_DISKS", mode="replace_on_primary")
        )
        assert content(cluster, 2) == b"newer"

    on_cluster(tmp_path, body)


def part(cluster: SimulatedCluster, other: int) -> None:
    """The halves do not reach each other any more; the guest goes on writing."""
    for minor in node(cluster, other).minors():
        node(cluster, other).storage[DiskTemplate.DRBD].inner._kernel.disconnect(minor, "", "")  # type: ignore[attr-defined]
    assert not is_connected(cluster, 2)
    write(data(cluster, 2), b"newer")


@pytest.mark.parametrize(
    ("wanted", "call", "mends"),
    [
        # for a moment both were open: each half may have been written
        (op("MIGRATE"), "migration_run", op("REPLACE_DISKS", mode="replace_on_secondary")),
        (op("FAILOVER"), "instance_stop", op("ACTIVATE_DISKS", wait_for_sync=True)),
        (op("FAILOVER", target_node="node1"), "instance_stop", op("ACTIVATE_DISKS", wait_for_sync=True)),
    ],
)
def test_a_mirror_that_parts_after_the_checks_keeps_the_guest_where_its_data_are(
    tmp_path: Path, wanted: dict[str, Any], call: str, mends: dict[str, Any]
) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create())
        gate = cluster.rpc.gates[call] = asyncio.Event()
        job = await cluster.submit(wanted)
        async with asyncio.timeout(60):
            while not cluster.rpc.at_gates:
                await asyncio.sleep(0)
        other = 1 if "target_node" in wanted else 3
        part(cluster, other)
        gate.set()
        done = await cluster.wait(job)
        assert done.status is Status.ERROR, cluster.log_of(job)
        assert primary(cluster) == "node2"
        assert (web1(cluster).moving, web1(cluster).blocked) == (None, "")
        assert [len(node(cluster, number).hypervisor.list()) for number in (2, other)] == [1, 0]
        assert content(cluster, 2) == b"newer"
        await good(cluster, mends, wanted)
        assert content(cluster, other) == b"newer"

    on_cluster(tmp_path, body)


DETACH = op("SET_PARAMS", disks=[["detach", 1, {}]], ignore_ipolicy=True)


@pytest.mark.parametrize("before", [degraded, stopped])
def test_a_degraded_mirror_is_not_taken_off(tmp_path: Path, before: Any) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await before(cluster)
        told = await bad(cluster, DETACH)
        assert "disk 1 of web1 is degraded" in told
        assert "--wait-for-sync" in told
        assert not cluster.config.disks
        await good(cluster, op("ACTIVATE_DISKS", wait_for_sync=True), DETACH)
        node(cluster, 3).is_up = False
        assert len(cluster.config.disks) == 1

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("problem", ["dead", "lost", "never filled"])
def test_a_mirror_with_a_half_that_cannot_be_judged_is_not_taken_off(tmp_path: Path, problem: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, create(start=False))
        match problem:
            case "dead":
                node(cluster, 3).is_up = False
                await good(cluster, {**OFFLINE, "node_name": "node3"})
            case "lost":
                lose_volumes(cluster, 3)
            case _:
                set_state(cluster, 3, "Inconsistent")
        assert "is degraded, so it cannot be taken off" in await bad(cluster, DETACH)
        assert len(web1(cluster).disks) == 2

    on_cluster(tmp_path, body)


def test_an_older_half_is_not_attached_as_the_primary_one(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        other = create(pnode="node3", snode="node2", start=False, disks=[{"size": 16}]) | {"instance_name": "web2"}
        await good(cluster, create(start=False), DETACH, other)
        ((uuid, detached),) = cluster.config.disks.items()
        set_meta(cluster, 2, detached.disk, is_alone=True)
        attach = op("SET_PARAMS", disks=[["attach", -1, {"uuid": uuid}]], ignore_ipolicy=True)
        told = await bad(cluster, attach | {"instance_name": "web2"})
        assert "node2.example.com has newer data" in told
        assert "whose primary node is node2.example.com" in told
        assert uuid in cluster.config.disks
        await good(cluster, attach)

    on_cluster(tmp_path, body)
