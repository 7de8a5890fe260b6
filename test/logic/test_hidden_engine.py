"""Private and secret OS parameters: the scripts get them, and nobody else."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ganeti import errors
from ganeti.model.jobs import Status
from ganeti.ops.hidden import REDACTED
from ganeti.testing.cluster import OS_NAME, SimulatedCluster
from ganeti.wire import codec

NAME = "web1.example.com"
KEPT, ONCE, CLUSTERS = "kept-rose", "once-tulip", "clusters-lily"


def on_cluster(tmp_path: Path, body: Callable[[SimulatedCluster], Awaitable[None]]) -> None:
    async def main() -> None:
        await body(SimulatedCluster(str(tmp_path)))

    asyncio.run(main())


def create(**more: object) -> dict[str, object]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": NAME,
        "os_type": OS_NAME,
        "disk_template": "file",
        "disks": [{"size": 128}],
        "pnode": "node2",
        "hypervisor": "fake",
        "ignore_ipolicy": True,
        "start": False,
        "osparams": {"size": "big"},
        "osparams_private": {"key": KEPT},
        "osparams_secret": {"password": ONCE},
        **more,
    }


def reinstall(**more: object) -> dict[str, object]:
    return {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": NAME, **more}


def modify(**more: object) -> dict[str, object]:
    return {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": NAME, **more}


def script(cluster: SimulatedCluster, name: str, text: str) -> None:
    for node in cluster.nodes.values():
        path = Path(node.paths.local(f"{node.paths.os_search_path[0]}/{OS_NAME}/{name}"))
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


def said(cluster: SimulatedCluster, logs: str = "add-*") -> str:
    """What the scripts of the node have written, the newest last."""
    (node,) = [node for node in cluster.nodes.values() if node.name.startswith("node2")]
    found = sorted(Path(node.paths.local("/var/log/ganeti/os")).glob(logs), key=os.path.getmtime)
    return "".join(path.read_text() for path in found)


def stored(cluster: SimulatedCluster) -> str:
    """Everything that the store keeps but its table of secrets, and all that was ever in it."""
    return codec.dumps([[key, value] for key, value in cluster.store.table.items()]) + codec.dumps(
        cluster.store.batches
    )


def assert_hidden(cluster: SimulatedCluster, *values: str) -> None:
    text = stored(cluster) + codec.dumps(list(cluster.state.jobs.values())) + codec.dumps(cluster.state.logs)
    assert not re.findall("|".join(values), text)


def test_scripts_get_them_and_nothing_is_stored_of_them(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        script(cluster, "create", "env | grep ^OSP_ | sort")
        job = await cluster.run(create())
        assert job.status is Status.SUCCESS, job.ops[0].result
        assert said(cluster) == f"OSP_KEY={KEPT}\nOSP_PASSWORD={ONCE}\nOSP_SIZE=big\n"
        assert job.ops[0].input["osparams_secret"] == {"password": REDACTED}
        assert job.ops[0].input["osparams"] == {"size": "big"}
        assert_hidden(cluster, KEPT, ONCE)
        instance = cluster.config.instance(NAME)
        assert instance.osparams_private == {"key": KEPT}
        # only what the instance keeps is still there
        assert cluster.store.secrets == {f"instance/{instance.uuid}": codec.dumps({"key": KEPT})}

    on_cluster(tmp_path, body)


def test_private_ones_live_as_long_as_the_instance_and_in_the_next_master(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        script(cluster, "create", "env | grep ^OSP_ | sort")
        await cluster.run(create())
        await cluster.restart()
        assert cluster.config.instance(NAME).osparams_private == {"key": KEPT}
        job = await cluster.run(modify(osparams_private={"size": "hidden-size"}))
        assert job.ops[0].result == [["os_private/size", REDACTED]]
        # one that becomes private is public no more
        assert cluster.config.instance(NAME).osparams == {}
        await cluster.run(modify(beparams={"vcpus": 2}))
        job = await cluster.run(reinstall(osparams_secret={"password": ONCE}))
        assert job.status is Status.SUCCESS, job.ops[0].result
        assert said(cluster).endswith(f"OSP_KEY={KEPT}\nOSP_PASSWORD={ONCE}\nOSP_SIZE=hidden-size\n")
        assert_hidden(cluster, KEPT, ONCE, "hidden-size")
        job = await cluster.run(modify(osparams_private={"key": "default", "size": "default"}))
        assert (cluster.config.instance(NAME).osparams_private, cluster.store.secrets) == ({}, {})
        await cluster.run(modify(osparams_private={"key": KEPT}))
        await cluster.run({"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": NAME})
        assert cluster.store.secrets == {}

    on_cluster(tmp_path, body)


def test_those_of_the_cluster_are_for_every_instance_with_the_os(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        script(cluster, "create", "env | grep ^OSP_ | sort")
        change = {"OP_ID": "OP_CLUSTER_SET_PARAMS", "osparams_private_cluster": {OS_NAME: {"license": CLUSTERS}}}
        assert (await cluster.run(change)).status is Status.SUCCESS
        await cluster.restart()
        job = await cluster.run(create(osparams_private={}))
        assert said(cluster) == f"OSP_LICENSE={CLUSTERS}\nOSP_PASSWORD={ONCE}\nOSP_SIZE=big\n", job.ops[0].result
        assert_hidden(cluster, CLUSTERS, ONCE)

    on_cluster(tmp_path, body)


def test_a_job_that_waits_keeps_them_over_a_restart(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        script(cluster, "create", "env | grep ^OSP_ | sort")
        first = await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 100})
        job = await cluster.submit({**create(), "depends": [[first, []]]})
        await cluster.restart()
        await cluster.engine.cancel(first, kill=True)
        ended = await cluster.wait(job)
        assert ended.status is Status.SUCCESS, ended.ops[0].result
        assert ONCE in said(cluster)

    on_cluster(tmp_path, body)


def test_a_job_whose_values_are_lost_says_so_and_changes_nothing(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        first = await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 100})
        job = await cluster.submit({**create(), "depends": [[first, []]]})
        cluster.store.secrets.clear()
        await cluster.restart()
        await cluster.engine.cancel(first, kill=True)
        ended = await cluster.wait(job)
        assert ended.status is Status.ERROR
        assert "are not there any more" in str(ended.ops[0].result)
        assert NAME not in cluster.config.instance_names

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("ending", ["error", "canceled"])
def test_they_go_with_the_job_however_it_ends(tmp_path: Path, ending: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        script(cluster, "create", "exit 1")
        first = await cluster.submit({"OP_ID": "OP_TEST_DELAY", "duration": 0.2})
        job = await cluster.submit({**create(), "depends": [[first, []]]})
        assert cluster.store.secrets
        if ending == "canceled":
            await cluster.engine.cancel(job, kill=False)
        assert (await cluster.wait(job)).status.value == ending
        assert cluster.store.secrets == {}
        assert_hidden(cluster, KEPT, ONCE)

    on_cluster(tmp_path, body)


def test_a_value_that_is_lost_stops_the_script_before_it_runs(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await cluster.run(create())
        cluster.store.secrets.clear()
        await cluster.restart()
        job = await cluster.run(reinstall())
        assert "the private OS parameter 'key' is lost" in str(job.ops[0].result)
        await cluster.run(modify(osparams_private={"key": "new"}))
        assert (await cluster.run(reinstall())).status is Status.SUCCESS

    on_cluster(tmp_path, body)


def test_a_submission_key_does_not_help_to_guess_them(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        first = await cluster.submit(create(), key="k")
        assert await cluster.submit(create(osparams_secret={"password": "guess"}), key="k") == first
        await cluster.wait(first)

    on_cluster(tmp_path, body)


def test_the_verify_script_sees_all_of_them_and_can_refuse(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        script(
            cluster,
            "verify",
            '[ "$*" = parameters ] || exit 9\n'
            '[ -z "$INSTANCE_NAME" ] || exit 8\n'
            '[ "$OSP_SIZE" = big ] || { echo "no such size"; exit 3; }',
        )
        job = await cluster.run(create(osparams={"size": "odd"}))
        text = str(job.ops[0].result)
        assert job.status is Status.ERROR
        assert "its verify script ended with exit status 3: no such size" in text
        assert (await cluster.run(create())).status is Status.SUCCESS
        refusing = [
            modify(osparams={"size": "odd"}),
            reinstall(osparams={"size": "odd"}),
            {"OP_ID": "OP_CLUSTER_SET_PARAMS", "osparams": {OS_NAME: {"size": "odd"}}},
        ]
        for op in refusing:
            assert "no such size" in str((await cluster.run(op)).ops[0].result), op
        assert (await cluster.run(modify(osparams={"size": "odd"}, force=True))).status is Status.SUCCESS

    on_cluster(tmp_path, body)


def test_one_parameter_is_of_one_kind(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        for more in ({"osparams_private": {"size": "x"}}, {"osparams_secret": {"size": "x"}}):
            assert "is given twice" in str((await cluster.run(create(**more))).ops[0].result)
        with pytest.raises(errors.PrereqError, match="stands where a value is hidden"):
            await cluster.submit(create(osparams_secret={"size": REDACTED}))

    on_cluster(tmp_path, body)


def test_a_job_that_is_cancelled_while_its_values_are_read_does_not_run(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        cluster.store.secret_gate.clear()
        job = await cluster.submit(create())
        assert await cluster.jobs.changed(job, lambda: cluster.jobs.get(job).ops[0].status is Status.WAITING, 20)
        assert (await cluster.engine.cancel(job, kill=False))[0]
        cluster.store.secret_gate.set()
        assert (await cluster.wait(job)).status is Status.CANCELED
        assert not cluster.config.instances

    on_cluster(tmp_path, body)
