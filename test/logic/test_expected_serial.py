"""An operation that depends on what its client has seen, and keys of repeated submissions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.master.processor import check_expected
from ganeti.model.jobs import Status
from ganeti.ops.base import Expected
from ganeti.testing.cluster import SimulatedCluster


def tag(name: str, **more: object) -> dict[str, object]:
    return {"OP_ID": "OP_TAGS_SET", "kind": "node", "name": "node1", "tags": [name], **more}


def test_second_change_of_the_same_state_fails_and_changes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        node = cluster.state.config.node("node1")
        expected = {"kind": "node", "name": "node1", "serial": node.serial_no, "uuid": node.uuid[:8]}
        first, second = await asyncio.gather(
            cluster.run(tag("a", expected=expected)), cluster.run(tag("b", expected=expected))
        )
        assert {first.status, second.status} == {Status.SUCCESS, Status.ERROR}
        failed = first if first.status is Status.ERROR else second
        assert errors.SERIAL_MISMATCH in str(failed.ops[0].result)
        assert len(cluster.state.config.node("node1").tags) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Expected("node", "node1", 99), errors.SERIAL_MISMATCH),
        (Expected("node", "node1", 1, "other"), errors.SERIAL_MISMATCH),
        (Expected("instance", "gone", 1), "unknown_entity"),
        (Expected("cluster", "", 99), errors.SERIAL_MISMATCH),
    ],
)
def test_other_state_is_refused(tmp_path: Path, wanted: Expected, code: str) -> None:
    async def main() -> None:
        config = SimulatedCluster(str(tmp_path)).state.config
        check_expected(Expected("node", "node1", config.node("node1").serial_no), config)
        with pytest.raises(errors.PrereqError) as caught:
            check_expected(wanted, config)
        assert caught.value.code == code

    asyncio.run(main())


def test_key_stands_for_what_is_asked_not_for_when(tmp_path: Path) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        first = await cluster.submit(tag("a", reason=[["me", "", 1]]), key="k")
        assert await cluster.submit(tag("a", reason=[["me", "", 2]]), key="k") == first
        with pytest.raises(errors.PrereqError):
            await cluster.submit(tag("b", reason=[["me", "", 1]]), key="k")

    asyncio.run(main())
