"""Scripts of an OS that hang, flood their log or leave processes behind: a clear end, and nothing stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from ganeti.model.jobs import Job, Status
from ganeti.ops.backup import OpBackupExport
from ganeti.ops.instance import OpInstanceCreate, OpInstanceRename
from ganeti.testing.cluster import OS_NAME, SimulatedCluster

NAME = "web1.example.com"
#: so that processes of this run are known among all
MARK = f"6{os.getpid()}.5"
GOOD = {
    "create": "exit 0",
    "rename": "exit 0",
    "export": 'exec cat "$EXPORT_DEVICE"',
    "import": 'exec cat >"$IMPORT_DEVICE"',
}
#: what goes wrong, and what is said of it
WAYS = {
    "hangs": (f"echo last words >&2; sleep {MARK}", "no end within 2 s"),
    "floods": ("exec yes this and that >&2", f"more than {64 << 20} bytes of output"),
    "leaves a process": (f"sleep {MARK} >/dev/null 2>&1 </dev/null & exit 0", "left"),
}


def install(cluster: SimulatedCluster, scripts: dict[str, str]) -> None:
    for node in cluster.nodes.values():
        directory = Path(node.paths.local(f"{node.paths.os_search_path[0]}/{OS_NAME}"))
        for name, text in scripts.items():
            (directory / name).write_text(f"#!/bin/sh\n{text}\n")
            (directory / name).chmod(0o755)


def create(name: str = NAME, **more: object) -> OpInstanceCreate:
    return OpInstanceCreate(
        **{
            "instance_name": name,
            "os_type": OS_NAME,
            "disk_template": "file",
            "disks": ({"size": 4},),
            "pnode": "node1",
            "start": False,
            "ignore_ipolicy": True,
            **more,
        }
    )


OPERATIONS: dict[str, Callable[[], object]] = {
    "create": create,
    "rename": lambda: OpInstanceRename(instance_name=NAME, new_name="new.example.com"),
    "export": lambda: OpBackupExport(instance_name=NAME, target_node="node2"),
    "import": lambda: create("copy.example.com", mode="import", src_path=NAME, disks=()),
}


def left_running() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if MARK.encode() in words:
            found.append(f"{process.name}: {words!r}")
    return found


async def all_gone() -> bool:
    """What was killed needs a moment to go."""
    for _ in range(500):
        if not left_running():
            return True
        await asyncio.sleep(0.01)
    return False


def logged(cluster: SimulatedCluster) -> int:
    """Bytes in the largest log of a script."""
    return max(
        path.stat().st_size
        for node in cluster.nodes.values()
        for path in Path(node.paths.local("/var/log/ganeti/os")).glob("*")
    )


def told(cluster: SimulatedCluster, job: Job) -> str:
    return str(job.ops[0].result) + "".join(cluster.log_of(job.id))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("script", OPERATIONS)
def test_a_bad_script_ends_clearly_and_nothing_of_it_stays(tmp_path: Path, script: str, way: str) -> None:
    text, words = WAYS[way]

    async def story(cluster: SimulatedCluster) -> None:
        install(cluster, GOOD)
        if script != "create":
            assert (await cluster.run(create())).status is Status.SUCCESS
        if script == "import":
            assert (await cluster.run(OPERATIONS["export"]())).status is Status.SUCCESS
        install(cluster, {script: text})
        before = set(cluster.config.instance_names)
        job = await cluster.run(OPERATIONS[script]())
        said = told(cluster, job)
        assert words in said
        if way == "hangs":
            assert "last words" in said
        # a rename stands all the same
        assert job.status is (Status.SUCCESS if script == "rename" else Status.ERROR)
        assert set(cluster.config.instance_names) == ({"new.example.com"} if script == "rename" else before)
        assert await all_gone(), left_running()
        assert cluster.debris() == []
        assert logged(cluster) <= 65 << 20
        exports = [name for node in cluster.nodes.values() for name in _exports(node.paths.local("/srv/ganeti/export"))]
        assert exports == ([NAME] if script == "import" else [])

    run(tmp_path, story)


def _exports(directory: str) -> list[str]:
    return os.listdir(directory) if os.path.isdir(directory) else []


def run(tmp_path: Path, story: Callable[[SimulatedCluster], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        for node in cluster.nodes.values():
            node.env = msgspec.structs.replace(node.env, script_limit_s=2.0)
        await story(cluster)

    asyncio.run(main())
