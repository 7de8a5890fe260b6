"""Instances on devices that were there before, which all nodes see: whatever is done, the devices stay as they are."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from logic.test_mirrored_instances import bad, good, node, on_cluster, op, web1

from ganeti import errors
from ganeti.model.jobs import Status
from ganeti.model.objects import DiskTemplate
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

MIB = 1 << 20
BY_ID = "/dev/disk/by-id"
ROOT, DATA, ALIAS = f"{BY_ID}/wwn-1", f"{BY_ID}/wwn-2", "/dev/disk/by-path/lun-1"


def adopt(*paths: str, **more: Any) -> dict[str, Any]:
    base = {"os_type": "", "hypervisor": "fake", "ignore_ipolicy": True, "disk_template": "blockdev"}
    disks = [{"adopt": path} for path in paths or (ROOT, DATA)]
    return op("CREATE", **{**base, "disks": disks, "pnode": "node2", **more})


def home(cluster: SimulatedCluster) -> Path:
    """Stands for /dev, on all nodes."""
    return Path(node(cluster, 1).paths.root).parent / "devices"


def device(cluster: SimulatedCluster, path: str) -> Path:
    return home(cluster) / path.removeprefix("/dev/")


def held(cluster: SimulatedCluster) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in home(cluster).rglob("*") if each.is_file()}


def content(path: Path) -> bytes:
    return path.read_bytes()


def with_devices(path: Path, body: Callable[[SimulatedCluster], Awaitable[None]]) -> None:
    """Three names of two devices, with something on them; they are the same afterwards."""

    async def whole(cluster: SimulatedCluster) -> None:
        for each in (ROOT, ALIAS):
            device(cluster, each).parent.mkdir(parents=True, exist_ok=True)
        for name, size in (("sdb", 4 * MIB), ("sdc", 2 * MIB + 512)):
            (home(cluster) / name).write_bytes(name.encode().ljust(size, b"."))
        device(cluster, ROOT).symlink_to("../../sdb")
        device(cluster, ALIAS).symlink_to("../../sdb")
        device(cluster, DATA).symlink_to("../../sdc")
        before = held(cluster)
        await body(cluster)
        assert held(cluster) == before
        assert not cluster.locks.rows()

    on_cluster(path, whole)


def test_an_instance_lives_on_devices_and_leaves_them(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, {"OP_ID": "OP_CLUSTER_SET_PARAMS", "prealloc_wipe_disks": True})
        await good(cluster, adopt())
        instance = web1(cluster)
        assert [disk.logical_id for disk in instance.disks] == [("manual", ROOT), ("manual", DATA)]
        # the last MiB need not be whole
        assert [disk.size for disk in instance.disks] == [4, 3]
        assert node(cluster, 2).hypervisor.list()
        await good(cluster, op("MIGRATE", target_node="node3"))
        await good(cluster, op("FAILOVER", target_node="node1"))
        assert node(cluster, 1).hypervisor.list()
        await good(cluster, {"OP_ID": "OP_CLUSTER_REPAIR_DISK_SIZES"})
        assert web1(cluster).disks == instance.disks
        await good(cluster, {"OP_ID": "OP_CLUSTER_VERIFY"})
        job = await good(cluster, op("REMOVE"))
        assert f"device {ROOT} stays as it is" in cluster.log_of(job.id)
        assert "volume_remove" not in {name for _, name in cluster.rpc.made}
        await good(cluster, adopt(ALIAS))

    with_devices(tmp_path, body)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (adopt(disks=[{"size": 5}], os_type=OS_NAME), "none can be made"),
        (adopt(disks=[{"adopt": ROOT, "size": 5}]), "size and adopt exclude each other"),
        (adopt(disks=[{"adopt": ROOT, "vg": "xenvg"}]), "in no volume group"),
        (adopt("/dev/sdb"), "cannot be adopted as a disk of template blockdev"),
        (adopt("sdb"), "cannot be adopted as a disk of template blockdev"),
        (adopt(f"{BY_ID}/../../sdb"), "cannot be adopted as a disk of template blockdev"),
        (adopt(f"{BY_ID}/none"), "there is no such device"),
        (adopt(BY_ID), "is not a regular file"),
        (adopt(f"{BY_ID}/outside"), "is not below"),
        (adopt(f"{BY_ID}/empty"), "it has no size"),
        (adopt(ROOT, ROOT), "is given for two disks"),
        (adopt(ROOT, ALIAS), "is the same device as"),
        (adopt(pnode="", iallocator="builtin"), "was not given"),
    ],
)
def test_what_is_no_device_that_can_be_had_is_refused(tmp_path: Path, form: dict[str, Any], text: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        device(cluster, f"{BY_ID}/outside").symlink_to("/etc/hostname")
        (home(cluster) / "empty").touch()
        device(cluster, f"{BY_ID}/empty").symlink_to("../../empty")
        assert text in await bad(cluster, form)
        for each in ("outside", "empty"):
            device(cluster, f"{BY_ID}/{each}").unlink()
        (home(cluster) / "empty").unlink()

    with_devices(tmp_path, body)


def test_a_device_has_one_owner_under_whatever_name_on_whatever_node(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, adopt(ROOT))
        other = {"instance_name": "web2", "pnode": "node3"}
        assert "belongs to instance web1" in await bad(cluster, adopt(ROOT) | other)
        assert f"is the same device as {ROOT}" in await bad(cluster, adopt(ALIAS) | other)
        await good(cluster, op("REMOVE"), adopt(ROOT, DATA) | other)
        detach = op("SET_PARAMS", disks=[["detach", 1, {}]], ignore_ipolicy=True) | {"instance_name": "web2"}
        await good(cluster, detach, op("REMOVE") | {"instance_name": "web2"})
        (kept,) = cluster.config.disks.values()
        assert "belongs to the detached disk" in await bad(cluster, adopt(DATA))
        await good(cluster, adopt(ROOT))
        attach = op("SET_PARAMS", disks=[["attach", -1, {"uuid": kept.uuid}]], ignore_ipolicy=True)
        await good(cluster, attach)
        assert [disk.logical_id[1] for disk in web1(cluster).disks] == [ROOT, DATA]

    with_devices(tmp_path, body)


def test_of_two_at_once_on_two_nodes_one_has_it(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        forms = [adopt(ROOT), adopt(ALIAS, instance_name="web2", pnode="node3"), adopt(ROOT, instance_name="web3")]
        jobs = await asyncio.gather(*(cluster.run(form) for form in forms))
        assert sorted(job.status.value for job in jobs) == ["error", "error", "success"]
        assert len(cluster.config.instances) == 1

    with_devices(tmp_path, body)


def test_no_disks_are_made_grown_recreated_or_converted_to(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, adopt(ROOT, start=False))
        add = op("SET_PARAMS", disks=[["add", -1, {"size": 5}]], ignore_ipolicy=True)
        assert "none can be made" in await bad(cluster, add)
        assert "GROW" not in await bad(cluster, op("GROW_DISK", disk=0, amount=5))
        await bad(cluster, op("RECREATE_DISKS"))
        device(cluster, ROOT).rename(home(cluster) / "away")
        assert "cannot be made" in await bad(cluster, op("RECREATE_DISKS"))
        assert "is not there" in await bad(cluster, op("STARTUP"))
        (home(cluster) / "away").rename(device(cluster, ROOT))
        form = op("CREATE", hypervisor="fake", ignore_ipolicy=True, disk_template="file", disks=[{"size": 5}])
        await good(cluster, form | {"instance_name": "web2", "os_type": OS_NAME, "pnode": "node2", "start": False})
        convert = op("SET_PARAMS", disk_template="blockdev") | {"instance_name": "web2"}
        assert "none can be made" in await bad(cluster, convert)

    with_devices(tmp_path, body)


def test_what_is_on_a_device_can_be_copied_to_a_disk_of_another_kind(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, adopt(DATA, start=False))
        await good(cluster, op("SET_PARAMS", disk_template="plain"))
        (disk,) = web1(cluster).disks
        assert disk.template is DiskTemplate.PLAIN
        copy = content(Path(node(cluster, 2).paths.local(f"/var/lib/ganeti/fake-lvm/xenvg/{disk.logical_id[1]}")))
        assert copy[: 2 * MIB + 512] == content(home(cluster) / "sdc")
        await good(cluster, op("REMOVE"))
        assert not cluster.debris()

    with_devices(tmp_path, body)


def test_what_is_on_devices_is_exported_while_nothing_runs_on_them(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, adopt(os_type=OS_NAME))
        export = {"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web1", "target_node": "node3", "os_mode": "raw"}
        assert "--long-sleep" in await bad(cluster, export | {"shutdown": False})
        assert "--long-sleep" in await bad(cluster, export | {"shutdown": True, "shutdown_timeout": 0})
        await good(cluster, export | {"shutdown": True, "shutdown_timeout": 0, "long_sleep": True})
        assert node(cluster, 2).hypervisor.list()
        imported = op("CREATE", mode="import", src_path="web1", pnode="node1", ignore_ipolicy=True, start=False)
        await good(cluster, imported | {"instance_name": "web2", "disk_template": "plain"})
        disks = cluster.config.instance("web2").disks
        for disk, name in zip(disks, ("sdb", "sdc"), strict=True):
            copy = content(Path(node(cluster, 1).paths.local(f"/var/lib/ganeti/fake-lvm/xenvg/{disk.logical_id[1]}")))
            original = content(home(cluster) / name)
            assert copy[: len(original)] == original
            assert not copy[len(original) :].strip(b"\0")

    with_devices(tmp_path, body)


def test_a_node_that_does_not_see_the_device_gets_no_instance(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        await good(cluster, adopt(ROOT))
        link = node(cluster, 3).paths.local("/srv/ganeti/fake-devices")
        target = os.readlink(link)
        os.unlink(link)
        for verb in ("MIGRATE", "FAILOVER"):
            assert "disk 0" in await bad(cluster, op(verb, target_node="node3"))
            assert node(cluster, 2).hypervisor.list()
        os.symlink(target, link)

    with_devices(tmp_path, body)


def test_an_adoption_that_fails_or_is_interrupted_leaves_no_trace(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        storage = node(cluster, 2).storage[DiskTemplate.BLOCKDEV]
        storage.fail_next("open", errors.StorageError("told to fail"))
        assert "told to fail" in await bad(cluster, adopt())
        gate = cluster.rpc.held_replies["volume_adopt"] = asyncio.Event()
        job = await cluster.submit(adopt())
        await cluster.jobs.changed(job, lambda: bool(cluster.state.journal), 5)
        await cluster.restart()
        gate.set()
        assert (await cluster.wait(job)).status is Status.ERROR
        assert not cluster.config.instances
        await good(cluster, adopt())

    with_devices(tmp_path, body)
