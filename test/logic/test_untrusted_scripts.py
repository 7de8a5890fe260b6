"""From the install image of a cluster to the machine that runs a script: a small program plays the emulator."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from logic.plan_env import make_config

from ganeti import errors, settings
from ganeti.calls.helper import Helper
from ganeti.logic import helpers
from ganeti.model.jobs import Status
from ganeti.ops.instance import OpInstanceCreate, OpInstanceReinstall
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

NAME, IMAGE = "web1.example.com", "/srv/image"
#: it says what the script would say, and how much memory it was given
EMULATOR = f"""#!{sys.executable}
import re, sys
if "--version" in sys.argv:
    sys.exit(print("QEMU emulator version 7.2.22"))
words = " ".join(sys.argv)
start = open(re.search(r"filename=(/proc/self/fd/\\d+)", words)[1], "rb").read().decode()
mark = re.search(r"ganeti-helper \\w+", start)[0]
print(mark, "hello")
print(re.search(r"-m \\d+", words)[0], "reinstall" if "INSTANCE_REINSTALL=1" in start else "new")
print(mark, "end 0")
"""


def on_cluster(tmp_path: Path, body: Callable[[SimulatedCluster], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        for path in roots(cluster):
            where = path(f"{settings.OS_SEARCH_PATH[0]}/{OS_NAME}")
            os.rename(where / "create", where / "create_untrusted")
        await body(cluster)

    asyncio.run(main())


def roots(cluster: SimulatedCluster) -> list[Callable[[str], Path]]:
    """Of each node: where a path of it really is."""
    return [lambda path, node=node: Path(node.paths.local(path)) for node in cluster.nodes.values()]  # type: ignore[misc]


def equip(path: Callable[[str], Path]) -> None:
    """An install image and an emulator for a node."""
    path(IMAGE).mkdir(parents=True)
    for name in ("vmlinuz", "initrd"):
        (path(IMAGE) / name).write_text("x")
    path(settings.KVM_PATH).parent.mkdir(parents=True, exist_ok=True)
    path(settings.KVM_PATH).write_text(EMULATOR)
    path(settings.KVM_PATH).chmod(0o755)


def create(**more: object) -> dict[str, object]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": NAME, "os_type": OS_NAME, "disk_template": "file",
        "disks": [{"size": 4}], "pnode": "node2", "hypervisor": "fake", "ignore_ipolicy": True, "start": False, **more,
    }  # fmt: skip


def modify(**more: object) -> dict[str, object]:
    return {"OP_ID": "OP_CLUSTER_SET_PARAMS", **more}


def said(cluster: SimulatedCluster) -> str:
    (node,) = [node for node in cluster.nodes.values() if node.name.startswith("node2")]
    return "".join(path.read_text() for path in sorted(Path(node.paths.local("/var/log/ganeti/os")).iterdir()))


def test_without_an_install_image_it_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        job = await cluster.run(create())
        assert "the cluster has no install image" in str(job.ops[0].result)
        assert not cluster.config.instances
        assert (await cluster.run(create(no_install=True))).status is Status.SUCCESS
        diskless = create(instance_name="bare.example.com", disk_template="diskless", disks=[])
        assert (await cluster.run(diskless)).status is Status.SUCCESS

    on_cluster(tmp_path, body)


def test_an_image_must_lie_on_every_node_to_be_taken(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        first, *others = roots(cluster)
        equip(first)
        job = await cluster.run(modify(install_image=IMAGE))
        assert job.status is Status.ERROR
        assert "copy the image to the same place on every node first" in str(job.ops[0].result)
        for path in others:
            equip(path)
        for wrong in ("image", "/srv/../image"):
            assert "normalised path" in str((await cluster.run(modify(install_image=wrong))).ops[0].result)
        assert (await cluster.run(modify(install_image=IMAGE))).status is Status.SUCCESS
        assert cluster.config.cluster.install_image == IMAGE
        shutil.rmtree(others[0](IMAGE))
        # what is not touched is not looked at again, and it can always be taken away
        assert (await cluster.run(modify(candidate_pool_size=3))).status is Status.SUCCESS
        assert (await cluster.run(modify(install_image=""))).status is Status.SUCCESS
        assert cluster.config.cluster.install_image == ""

    on_cluster(tmp_path, body)


def test_it_runs_in_a_machine_with_the_instances_memory_whatever_its_hypervisor(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        for path in roots(cluster):
            equip(path)
        await cluster.run(modify(install_image=IMAGE, hvparams={"kvm": {"kvm_flag": "disabled"}}))
        job = await cluster.run(create(beparams={"memory": 512}))
        assert job.status is Status.SUCCESS, job.ops[0].result
        assert said(cluster) == "-m 512 new\n"
        again = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": NAME, "helper_startup_timeout": 60}
        assert (await cluster.run(again)).status is Status.SUCCESS
        assert said(cluster).endswith("-m 512 reinstall\n")

    on_cluster(tmp_path, body)


def test_a_node_without_the_image_is_told_before_anything_is_made(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        for path in roots(cluster):
            equip(path)
        await cluster.run(modify(install_image=IMAGE, hvparams={"kvm": {"kvm_flag": "disabled"}}))
        for path in roots(cluster):
            shutil.rmtree(path(IMAGE))
        job = await cluster.run(create())
        assert "cannot run create_untrusted of OS" in str(job.ops[0].result)
        assert not cluster.config.instances

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("seconds", [0, -1, "soon"])
def test_times_are_whole_seconds(tmp_path: Path, seconds: object) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        with pytest.raises(errors.PrereqError):
            await cluster.submit(create(helper_shutdown_timeout=seconds))

    on_cluster(tmp_path, body)


def test_the_cluster_and_the_request_say_how_the_machine_is_started() -> None:
    op = OpInstanceCreate(instance_name=NAME, helper_startup_timeout=7)
    assert helpers.of(make_config(), op) is None
    hv = {"kvm_path": "/opt/qemu", "kvm_flag": "enabled", "security_model": "user", "security_domain": "guests"}
    config = make_config(install_image=IMAGE, hvparams={"kvm": hv})
    assert helpers.of(config, op) == Helper(
        image=IMAGE, emulator="/opt/qemu", kvm_flag="enabled", account="guests", startup_s=7.0, shutdown_s=120.0
    )
    assert helpers.of(make_config(install_image=IMAGE), OpInstanceReinstall(instance_name=NAME)) == Helper(
        image=IMAGE, emulator=settings.KVM_PATH
    )
