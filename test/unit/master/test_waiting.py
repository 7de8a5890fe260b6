"""What a job waits for is named in its log."""

import asyncio

import pytest

from ganeti.master import waiting


def test_nothing_is_said_of_what_ends_soon():
    async def soon():
        return 5

    assert asyncio.run(waiting.named(soon(), {"make it": 60.0}, pytest.fail)) == 5


def test_what_is_still_waited_for_is_named_again_and_again_with_its_limit():
    lines = []
    still = {"remove disk 0 on node1": 300.0, "remove disk 0 on node2": 300.0}

    async def body():
        end = asyncio.Event()

        def report(line):
            lines.append(line)
            still.pop("remove disk 0 on node1", None)
            if len(lines) == 3:
                end.set()

        return await waiting.named(end.wait(), still, report, pauses_s=(0.001, 0.002))

    assert asyncio.run(body()) is True
    assert lines[0] == "  since 0 s, for at most 300 s: remove disk 0 on node1; remove disk 0 on node2"
    assert lines[1] == lines[2] == "  since 0 s, for at most 300 s: remove disk 0 on node2"


def test_many_are_counted():
    still = {f"disk {number}": 60.0 + number for number in range(8)}
    assert (
        waiting.line(still, 45.2) == "  since 45 s, for at most 67 s: disk 0; disk 1; disk 2; disk 3; disk 4 and 3 more"
    )


def test_what_calls_raise_is_raised_and_an_end_from_outside_ends_them():
    async def fails():
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(waiting.named(fails(), {}, pytest.fail))
    ended = []

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def body():
        task = asyncio.create_task(waiting.named(endless(), {}, pytest.fail))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())
    assert ended == [True]
