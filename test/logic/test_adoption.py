"""Logical volumes that were there before and become disks: what is refused, what becomes of them when it fails."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from logic.test_mirrored_instances import bad, good, node, on_cluster, op, web1

from ganeti import errors
from ganeti.model.jobs import Status
from ganeti.model.objects import DiskTemplate
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

MIB = 1 << 20
OLD = {"old-root": 5, "old-swap": 3}
ADOPTED = [{"adopt": "old-root"}, {"adopt": "old-swap", "name": "swap"}]


def adopt(**more: Any) -> dict[str, Any]:
    base = {"os_type": "", "hypervisor": "fake", "ignore_ipolicy": True, "disk_template": "plain"}
    return op("CREATE", **{**base, "disks": ADOPTED, "pnode": "node2", **more})


def group(cluster: SimulatedCluster, vg: str = "xenvg", number: int = 2) -> Path:
    return Path(node(cluster, number).paths.local(f"/var/lib/ganeti/fake-lvm/{vg}"))


def put(cluster: SimulatedCluster, vg: str = "xenvg", number: int = 2) -> dict[str, bytes]:
    """What somebody made with LVM's tools, with something on it."""
    home = group(cluster, vg, number)
    home.mkdir(parents=True, exist_ok=True)
    for name, size in OLD.items():
        (home / name).write_bytes(f"{vg} {name}".encode().ljust(size * MIB, b"."))
    return held(cluster, vg, number)


def held(cluster: SimulatedCluster, vg: str = "xenvg", number: int = 2) -> dict[str, bytes]:
    """Every volume, its content, and every mark."""
    home = group(cluster, vg, number)
    return {each.name: each.read_bytes() for each in home.iterdir()} if home.is_dir() else {}


async def prevent(cluster: SimulatedCluster, **values: Any) -> None:
    await good(cluster, {"OP_ID": "OP_CLUSTER_SET_PARAMS", **values})


def test_volumes_become_the_disks_as_they_are(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        await prevent(cluster, prealloc_wipe_disks=True)
        job = await good(cluster, adopt())
        instance = web1(cluster)
        assert [disk.size for disk in instance.disks] == [5, 3]
        assert instance.disks[1].name == "swap"
        names = [str(disk.logical_id[1]) for disk in instance.disks]
        assert sorted(held(cluster)) == sorted(name + end for name in names for end in ("", ".owner"))
        assert [held(cluster)[name] for name in names] == list(before.values())
        assert node(cluster, 2).hypervisor.list()[0].name == "web1"
        made = {name for _, name in cluster.rpc.made}
        assert not made & {"volume_create", "volume_wipe", "os_create", "volume_remove"}
        assert any("no operating system is installed" in line for line in cluster.log_of(job.id))
        assert not cluster.debris()
        await good(cluster, op("REMOVE"))
        assert held(cluster) == {}

    on_cluster(tmp_path, body)


def test_volumes_of_another_group_on_the_node_that_was_named(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        untouched = put(cluster)
        put(cluster, "vg2", 3)
        disks = [{"adopt": "old-root", "vg": "vg2", "mode": "ro"}]
        await good(cluster, adopt(disks=disks, pnode="node3", start=False, os_type=OS_NAME))
        assert [disk.logical_id[0] for disk in web1(cluster).disks] == ["vg2"]
        assert "old-swap" in held(cluster, "vg2", 3)
        assert "old-root" not in held(cluster, "vg2", 3)
        assert held(cluster) == untouched
        assert not node(cluster, 3).hypervisor.list()

    on_cluster(tmp_path, body)


def test_no_install_said_aloud_still_starts_what_is_on_the_disks(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        put(cluster)
        await good(cluster, adopt(no_install=True))
        assert node(cluster, 2).hypervisor.list()

    on_cluster(tmp_path, body)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "size too": ({"disks": [{"adopt": "old-root", "size": 5}]}, "size and adopt exclude each other"),
    "some": ({"disks": [{"adopt": "old-root"}, {"size": 5}]}, "some disks are adopted and others are not"),
    "twice": ({"disks": [{"adopt": "old-root"}, {"adopt": "old-root", "vg": "xenvg"}]}, "is given for two disks"),
    "nothing there": ({"disks": [{"adopt": "none"}]}, "xenvg/none on node2.example.com cannot be adopted: there is no"),
    "no group": ({"disks": [{"adopt": "old-root", "vg": "vg9"}]}, "there is no such volume"),
    "no name": ({"disks": [{"adopt": "../old-root"}]}, "cannot be adopted as a disk of template plain"),
    "no text": ({"disks": [{"adopt": True}]}, "adopt is True"),
    "LVM's own": ({"disks": [{"adopt": "root_tmeta"}]}, "LVM keeps names with _tmeta for itself"),
    "a mark": ({"disks": [{"adopt": "old-root.owner"}]}, "as the marks beside volumes do"),
    "metadata": ({"disks": [{"adopt": "old-root", "metavg": "xenvg"}]}, "no metadata"),
    "mirrored": ({"disk_template": "drbd", "snode": "node3"}, "nothing can be adopted as a disk of template drbd"),
    "file": ({"disk_template": "file"}, "nothing can be adopted as a disk of template file"),
    "no node": ({"pnode": "", "iallocator": "builtin"}, "the node that holds what shall be adopted was not given"),
    "import": ({"mode": "import", "src_node": "node1", "src_path": "web1"}, "it adopts none"),
    "no OS of that name": ({"os_type": "none"}, "none"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_adopted_is_refused_and_stays(tmp_path: Path, case: str) -> None:
    changes, text = WRONG[case]

    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        assert text in await bad(cluster, adopt(**changes))
        assert held(cluster) == before
        assert not cluster.config.instances

    on_cluster(tmp_path, body)


def test_volumes_that_are_somebodys_are_refused(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        put(cluster)
        await prevent(cluster, reserved_lvs=["xenvg/old-sw.*"])
        assert "is reserved by the administrator" in await bad(cluster, adopt())
        await prevent(cluster, reserved_lvs=[])
        await good(cluster, adopt(start=False))
        taken = str(web1(cluster).disks[0].logical_id[1])
        again = adopt(disks=[{"adopt": taken}]) | {"instance_name": "web2"}
        assert "belongs to instance web1" in await bad(cluster, again)
        detach = op("SET_PARAMS", disks=[["detach", 1, {}]], ignore_ipolicy=True)
        kept = str(web1(cluster).disks[1].logical_id[1])
        await good(cluster, detach)
        again = adopt(disks=[{"adopt": kept}]) | {"instance_name": "web2"}
        assert "belongs to the detached disk swap" in await bad(cluster, again)
        # known to nobody, but it has a mark: somebody may be at work on it
        mirror = op("CREATE", hypervisor="fake", ignore_ipolicy=True, disk_template="plain", disks=[{"size": 2}])
        await good(cluster, mirror | {"instance_name": "web3", "pnode": "node3", "os_type": OS_NAME, "start": False})
        home, other = group(cluster), group(cluster, number=3)
        for each in other.iterdir():
            os.rename(each, home / each.name.replace("disk0", "stray"))
        stray = next(each.name for each in home.iterdir() if each.name.endswith("stray"))
        again = adopt(disks=[{"adopt": stray}]) | {"instance_name": "web2"}
        assert "it carries a mark of disk" in await bad(cluster, again)

    on_cluster(tmp_path, body)


def test_a_volume_that_is_not_whole_in_use_or_no_volume_is_refused(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        put(cluster)
        home = group(cluster)
        (home / "odd").write_bytes(b"x" * 1000)
        (home / "link").symlink_to(home / "old-root")
        one = "is not a whole number of MiB"
        assert one in await bad(cluster, adopt(disks=[{"adopt": "odd"}]))
        assert "not a regular file" in await bad(cluster, adopt(disks=[{"adopt": "link"}]))

    on_cluster(tmp_path, body)


def test_only_a_new_instance_adopts(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        await good(cluster, adopt(disks=[{"adopt": "old-root"}], start=False))
        add = op("SET_PARAMS", disks=[["add", -1, {"adopt": "old-swap"}]], ignore_ipolicy=True)
        assert "only a new instance can adopt" in await bad(cluster, add)
        assert held(cluster)["old-swap"] == before["old-swap"]

    on_cluster(tmp_path, body)


def test_of_two_at_once_one_has_it_whole(tmp_path: Path) -> None:
    """The one that comes later finds nothing, and takes nothing of the first with it on its way back."""

    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        forms = [adopt(disks=ADOPTED), adopt(disks=ADOPTED[::-1]) | {"instance_name": "web2"}]
        jobs = await asyncio.gather(*(cluster.run(form) for form in forms))
        assert sorted(job.status.value for job in jobs) == ["error", "success"]
        (instance,) = cluster.config.instances.values()
        contents = [held(cluster)[str(disk.logical_id[1])] for disk in instance.disks]
        assert sorted(contents) == sorted(before.values())
        assert not cluster.debris()

    on_cluster(tmp_path, body)


def test_what_became_anothers_since_it_was_looked_at_stays_with_that(tmp_path: Path) -> None:
    """The node is asked again, whatever the locks say: the second disk is gone, the first goes back."""

    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        gate = cluster.rpc.gates["volume_adopt"] = asyncio.Event()
        job = await cluster.submit(adopt())
        await cluster.jobs.changed(job, lambda: bool(cluster.state.journal), 5)
        os.rename(group(cluster) / "old-swap", group(cluster) / "taken")
        gate.set()
        ended = await cluster.wait(job)
        assert ended.status is Status.ERROR
        assert "there is no such volume" in str(ended.ops[0].result)
        assert held(cluster) == {"old-root": before["old-root"], "taken": before["old-swap"]}

    on_cluster(tmp_path, body)


def test_a_volume_that_grew_since_is_refused(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        put(cluster)
        gate = cluster.rpc.gates["volume_adopt"] = asyncio.Event()
        job = await cluster.submit(adopt())
        await cluster.jobs.changed(job, lambda: bool(cluster.state.journal), 5)
        os.truncate(group(cluster) / "old-swap", 7 * MIB)
        after = held(cluster)
        gate.set()
        assert "is not as it was" in str((await cluster.wait(job)).ops[0].result)
        assert held(cluster) == after

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("when", ["before the call", "before the answer"])
def test_the_master_dies_then_the_volumes_have_their_names_again(tmp_path: Path, when: str) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        waits = cluster.rpc.gates if when == "before the call" else cluster.rpc.held_replies
        gate = waits["volume_adopt"] = asyncio.Event()
        job = await cluster.submit(adopt())
        async with asyncio.timeout(10):
            while not (cluster.state.journal and (when == "before the call" or "old-root" not in held(cluster))):
                await asyncio.sleep(0.01)
        await cluster.restart()
        gate.set()
        assert (await cluster.wait(job)).status is Status.ERROR
        await asyncio.sleep(0.05)  # the calls of the old master come now
        assert held(cluster) == before
        assert not cluster.config.instances
        await good(cluster, adopt())

    on_cluster(tmp_path, body)


def test_the_node_is_gone_when_it_is_to_be_taken_back_then_it_does_so_when_it_is_back(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        gate = cluster.rpc.held_replies["volume_adopt"] = asyncio.Event()
        job = await cluster.submit(adopt())
        async with asyncio.timeout(10):
            while len(held(cluster)) != 4:
                await asyncio.sleep(0.01)
        assert (await cluster.engine.cancel(job, kill=True))[0]
        node(cluster, 2).is_up = False
        gate.set()
        assert (await cluster.wait(job)).status is Status.CANCELED
        assert len(cluster.state.debts) == 2
        node(cluster, 2).is_up = True
        # no change is made there before it has paid its debts, and a question says what is still to come
        assert "cannot be adopted" in await bad(cluster, adopt())
        await cluster.debts.settle(cluster.config.node("node2").uuid)
        assert held(cluster) == before
        await good(cluster, adopt())
        assert not cluster.state.debts
        names = [str(disk.logical_id[1]) for disk in web1(cluster).disks]
        assert [held(cluster)[name] for name in names] == list(before.values())

    on_cluster(tmp_path, body)


@pytest.mark.parametrize("is_late", [False, True], ids=["refused", "done and then failed"])
@pytest.mark.parametrize("method", ["adopt", "open"])
def test_one_of_two_fails_then_both_are_as_before(tmp_path: Path, method: str, *, is_late: bool) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        storage = node(cluster, 2).storage[DiskTemplate.PLAIN]
        storage.fail_next(method, errors.StorageError("told to fail"), after=is_late)
        assert "told to fail" in await bad(cluster, adopt())
        storage.assert_failed()
        assert held(cluster) == before

    on_cluster(tmp_path, body)


def test_its_name_was_given_to_another_meanwhile_then_nothing_is_overwritten(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        gate = cluster.rpc.held_replies["volume_adopt"] = asyncio.Event()
        job = await cluster.submit(adopt(disks=ADOPTED[:1]))
        async with asyncio.timeout(10):
            while "old-root" in held(cluster):
                await asyncio.sleep(0.01)
        (group(cluster) / "old-root").write_bytes(b"somebody's")
        assert (await cluster.engine.cancel(job, kill=True))[0]
        gate.set()
        assert (await cluster.wait(job)).status is Status.CANCELED
        now = held(cluster)
        assert now["old-root"] == b"somebody's"
        assert before["old-root"] in now.values()
        (debt,) = cluster.state.debts.values()
        assert "adopt xenvg/old-root" in debt.undo.title
        os.unlink(group(cluster) / "old-root")
        await cluster.debts.settle(debt.node)
        assert held(cluster) == before

    on_cluster(tmp_path, body)


def test_dry_run_tells_and_touches_nothing(tmp_path: Path) -> None:
    async def body(cluster: SimulatedCluster) -> None:
        before = put(cluster)
        job = await good(cluster, adopt(dry_run=True))
        told = " ".join(line for line in cluster.log_of(job.id) if line.startswith("would do"))
        assert "volume_adopt" in told
        assert "adopt xenvg/old-root on node2.example.com as disk 0 of web1" in told
        assert held(cluster) == before

    on_cluster(tmp_path, body)
