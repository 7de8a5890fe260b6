"""Job filters set by a client, and what becomes of the jobs."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ganeti import errors
from ganeti.master.requests import Requests
from ganeti.model.jobs import Status
from ganeti.ops.test import OpTestDelay
from ganeti.testing.cluster import SimulatedCluster

DELAYS = [["opcode", ["==", "OP_ID", "OP_TEST_DELAY"]]]
TRAIL = [["gnt:user", "upgrade", 1]]


def requests(cluster):
    return Requests(
        state=cluster.state,
        jobs=cluster.jobs,
        engine=cluster.engine,
        committer=cluster.committer,
        leadership=cluster.store,
        queries=cluster.queries,
    )


def play(root, story):
    async def whole():
        cluster = SimulatedCluster(str(root))
        await cluster.engine.recover()
        await story(cluster, requests(cluster))

    asyncio.run(whole())


def delay(seconds=0.0, **more):
    return OpTestDelay(duration=seconds, **more)


def statuses(cluster, *jobs):
    return [cluster.jobs.get(job).status for job in jobs]


async def set_filter(client, action, predicates=DELAYS, uuid=None):
    return await client.handle("ReplaceFilter", [uuid, 0, predicates, action, TRAIL], {})


async def rows(client):
    return await client.handle("QueryFilters", [[], ["uuid", "watermark", "action", "reason_trail"]], {})


def test_paused_jobs_wait_say_why_and_start_when_the_filter_goes(tmp_path):
    async def story(cluster, client):
        uuid = await set_filter(client, "PAUSE")
        job = await cluster.submit(delay())
        other = await cluster.submit({"OP_ID": "OP_TAGS_GET", "kind": "cluster"})
        await cluster.wait(other)
        assert statuses(cluster, job, other) == [Status.QUEUED, Status.SUCCESS]
        assert [found.kind for found in cluster.engine.obstacles(job)] == ["filter"]
        await client.handle("DeleteFilter", [uuid], {})
        assert (await cluster.wait(job)).status is Status.SUCCESS
        assert await rows(client) == []

    play(tmp_path, story)


def test_filters_are_listed_in_order_and_replaced_with_a_new_watermark(tmp_path):
    async def story(cluster, client):
        uuid = await set_filter(client, "CONTINUE")
        assert await rows(client) == [[uuid, 0, "CONTINUE", TRAIL]]
        await cluster.run(delay())
        assert await set_filter(client, ["RATE_LIMIT", 3], uuid=uuid) == uuid
        assert await rows(client) == [[uuid, 1, ["RATE_LIMIT", 3], TRAIL]]
        found = await client.handle("QueryFilters", [[uuid], ["priority", "predicates"]], {})
        assert found == [[0, DELAYS]]

    play(tmp_path, story)


def test_a_rejecting_filter_refuses_new_jobs_and_cancels_queued_ones(tmp_path):
    async def story(cluster, client):
        pause = await set_filter(client, "PAUSE")
        job = await cluster.submit(delay())
        await set_filter(client, "REJECT", uuid=pause)
        assert (await cluster.wait(job)).status is Status.CANCELED
        with pytest.raises(errors.PrereqError, match="job filter refuses"):
            await cluster.submit(delay())

    play(tmp_path, story)


def test_a_rate_limit_lets_one_after_the_other_run(tmp_path):
    async def story(cluster, client):
        await set_filter(client, ["RATE_LIMIT", 1])
        jobs = [await cluster.submit(delay(0.01, no_locks=True)) for _ in range(3)]
        found = [await cluster.wait(job) for job in jobs]
        for earlier, later in itertools.pairwise(found):
            assert later.start_timestamp >= earlier.end_timestamp

    play(tmp_path, story)


def test_a_limit_in_the_reason_needs_no_filter(tmp_path):
    async def story(cluster, client):
        trail = (("gnt:user", "rate-limit:1:backup", 1),)
        jobs = [await cluster.submit(delay(0.01, no_locks=True, reason=trail)) for _ in range(2)]
        first, second = [await cluster.wait(job) for job in jobs]
        assert second.start_timestamp >= first.end_timestamp

    play(tmp_path, story)


def test_filters_outlive_the_master(tmp_path):
    async def story(cluster, client):
        uuid = await set_filter(client, "PAUSE")
        job = await cluster.submit(delay())
        await cluster.restart()
        again = requests(cluster)
        assert [found[0] for found in await rows(again)] == [uuid]
        assert statuses(cluster, job) == [Status.QUEUED]
        await again.handle("DeleteFilter", [uuid], {})
        assert (await cluster.wait(job)).status is Status.SUCCESS

    play(tmp_path, story)


def test_what_is_no_filter_is_refused(tmp_path):
    async def story(cluster, client):
        for method, args, code in (
            ("DeleteFilter", ["nosuch"], "unknown_entity"),
            ("QueryFilters", [["nosuch"], ["uuid"]], "unknown_entity"),
            ("ReplaceFilter", ["not-a-uuid", 0, [], "PAUSE", []], "wrong_input"),
            ("ReplaceFilter", [None, 0, [], "STOP", []], "wrong_input"),
        ):
            with pytest.raises(errors.PrereqError) as caught:
                await client.handle(method, args, {})
            assert caught.value.code == code

    play(tmp_path, story)
