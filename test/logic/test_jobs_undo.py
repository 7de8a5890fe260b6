"""Every way back can be gone twice: each undo of each operation is run again, and nothing changes the second time."""

from __future__ import annotations

import ast
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest

from ganeti import errors
from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.port import Progress
from ganeti.logic import catalogue
from ganeti.model.jobs import Status
from ganeti.model.types import RequestId, Uuid
from ganeti.testing.cluster import OS_NAME, InProcessRpc, SimulatedCluster, SimulatedNode

R = TypeVar("R")
LOGIC = Path(str(catalogue.__file__)).parent

#: modules whose undos need two live ends at once, or a real network, with the tests that run them twice
ELSEWHERE = {"moving.py": "test_migration", "mirrors.py": "test_mirror_steps", "master_ip.py": "test_master_ip"}

#: makes debts of calls that others have made, and test_simulation runs those
OWING = "owing.py"


def op(verb: str, **more: Any) -> dict[str, Any]:
    return {"OP_ID": f"OP_INSTANCE_{verb}", "instance_name": "web1", **more}


def create(**more: Any) -> dict[str, Any]:
    disks = [{"size": 128}, {"size": 64}]
    base = {"os_type": OS_NAME, "hypervisor": "fake", "ignore_ipolicy": True, "disk_template": "file", "disks": disks}
    return op("CREATE", **{**base, "pnode": "node2", **more})


STOPPED = create(start=False)
EXPORT = {"OP_ID": "OP_BACKUP_EXPORT", "instance_name": "web1", "target_node": "node3", "shutdown": False}
MIRRORED = create(disk_template="drbd", snode="node3", disks=[{"size": 16}])
STOPPED_MIRROR = {**MIRRORED, "start": False}
SHARED = create(disk_template="sharedfile")

NAMED = [{"size": 16}, {"size": 8, "name": "data"}]
DETACH = op("SET_PARAMS", disks=[["detach", "data", {}]], ignore_ipolicy=True)
ATTACH = op("SET_PARAMS", disks=[["attach", -1, {"name": "data"}]], ignore_ipolicy=True)


def put_old_volumes(cluster: SimulatedCluster) -> None:
    """What somebody made on node2 before it was one of the cluster's."""
    home = Path(cluster.nodes[cluster.config.node("node2").uuid].paths.local("/var/lib/ganeti/fake-lvm/xenvg"))
    home.mkdir(parents=True)
    for name in ("old-root", "old-swap"):
        (home / name).write_bytes(name.encode().ljust(1 << 20, b"."))


#: operation → what must be there before, the operation, the calls at which it is interrupted, the undos that must run
CASES: dict[str, tuple[list[Any], dict[str, Any], tuple[str, ...], set[str]]] = {
    "create": ([], create(), ("volume_create", "os_create"), {"volume_remove", "os_stop"}),
    "create shared": ([], SHARED, ("volume_create", "os_create"), {"volume_remove", "os_stop"}),
    "adopt": (
        [put_old_volumes],
        create(disk_template="plain", disks=[{"adopt": "old-root"}, {"adopt": "old-swap"}]),
        ("candidates_look", "volume_adopt", "instance_start"),
        {"volume_give_back"},
    ),
    "create, not started": ([], STOPPED, ("volume_close",), {"volume_remove", "os_stop"}),
    "rename": ([STOPPED], op("RENAME", new_name="web2"), ("volume_rename",), {"volume_rename"}),
    "startup, not remembered": ([STOPPED], op("STARTUP", no_remember=True), ("instance_start",), {"instance_stop"}),
    "modify": (
        [create()],
        op(
            "SET_PARAMS",
            disks=[["add", -1, {"size": 64}], ["remove", 0, {}]],
            nics=[["add", 0, {}], ["modify", 1, {"ip": "192.0.2.77"}]],
            runtime_mem=100,
            force=True,
            ignore_ipolicy=True,
        ),
        ("volume_create", "instance_devices", "instance_memory", "volume_remove"),
        {"volume_remove", "instance_devices", "instance_memory"},
    ),
    "attach": (
        [create(disks=NAMED), DETACH],
        ATTACH,
        ("volume_give", "volume_open", "instance_devices"),
        {"volume_give", "volume_close", "instance_devices"},
    ),
    "attach mirrored": (
        [{**MIRRORED, "disks": NAMED}, DETACH],
        ATTACH,
        ("volume_give", "mirror_assemble", "volume_open", "instance_devices"),
        {"volume_give", "volume_close", "instance_devices"},
    ),
    "convert": (
        [STOPPED],
        op("SET_PARAMS", disk_template="sharedfile"),
        ("volume_create", "volume_copy", "volume_remove"),
        {"volume_remove"},
    ),
    "export": (
        [create()],
        EXPORT,
        ("freeze_disks", "export_begin", "stream_listen", "stream_send"),
        {"thaw_disks", "export_discard", "stream_stop", "os_stop"},
    ),
    "import": (
        [STOPPED, EXPORT],
        op("CREATE", mode="import", src_path="web1", pnode="node1", ignore_ipolicy=True, start=False)
        | {"instance_name": "web2"},
        ("stream_listen", "stream_send"),
        {"volume_remove", "stream_stop", "os_stop"},
    ),
    "create mirrored": ([], MIRRORED, ("volume_create", "mirror_assemble", "os_create"), {"volume_remove", "os_stop"}),
    "activate": ([STOPPED_MIRROR], op("ACTIVATE_DISKS"), ("volume_open",), {"volume_close"}),
    "replace": (
        [MIRRORED],
        op("REPLACE_DISKS", mode="replace_on_secondary"),
        ("mirror_detach", "volume_rename", "mirror_attach"),
        {"volume_remove", "volume_rename", "mirror_assemble", "mirror_detach"},
    ),
    "new secondary": (
        [MIRRORED],
        op("REPLACE_DISKS", remote_node="node1"),
        ("volume_create", "volume_close", "mirror_disconnect"),
        {"volume_remove", "mirror_assemble"},
    ),
    "failover to any node": (
        [MIRRORED],
        op("FAILOVER", target_node="node1"),
        ("volume_create", "mirror_disconnect", "mirror_promote"),
        {"volume_remove", "mirror_assemble", "mirror_demote"},
    ),
    "move": (
        [STOPPED],
        op("MOVE", target_node="node3"),
        ("volume_create", "stream_listen", "stream_send"),
        {"volume_remove", "stream_stop", "os_stop"},
    ),
    "reinstall": ([STOPPED], op("REINSTALL"), ("os_create", "volume_close"), {"os_stop"}),
}
HOW = ("refused", "reply lost", "killed after it")


class Twice(InProcessRpc):
    """Runs every undo again, as one whose first answer was lost and whose master has changed; looks at the nodes."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        super().__init__(cluster.nodes, lambda: cluster.config)
        self.undone: set[str] = set()
        self.after: dict[str, Callable[[], Awaitable[None]]] = {}  # call name → done when it has been made

    async def one(self, node: Uuid, call: Call[R], *, progress: Progress | None = None) -> R:
        if not isinstance(call, ChangingCall) or call.undoes is None:
            answer = await super().one(node, call, progress=progress)
            if call.call_name in self.after:
                await self.after.pop(call.call_name)()
            return answer
        first = await super().one(node, call, progress=progress)
        before = everything(self.nodes)
        again = cast("ChangingCall[R]", msgspec.structs.replace(call, request=RequestId(f"{call.request}-again")))
        await super().one(node, again)
        assert everything(self.nodes) == before, f"the second {call.call_name} changed something"
        self.undone.add(call.call_name)
        return first


def everything(nodes: Any) -> dict[str, dict[str, str]]:
    """What the nodes hold: files with their content (logs aside), guests."""
    return {node.name: _files(node) | _guests(node) for node in nodes.values()}


def _guests(node: SimulatedNode) -> dict[str, str]:
    return {f"guest {guest.name}": str(guest) for guest in node.hypervisor.list()}


def _files(node: SimulatedNode) -> dict[str, str]:
    found = {}
    for directory, _, names in os.walk(node.paths.root, followlinks=True):
        if "/log" in directory:
            continue
        for name in names:
            if name == "lock":
                continue
            path = f"{directory}/{name}"
            with open(path, "rb") as file:
                content = file.read(4096)
            if path.endswith(".json"):  # a guest: the order of its parameters says nothing
                content = json.dumps(json.loads(content), sort_keys=True).encode()
            found[path] = f"{os.path.getsize(path)} {content!r}"
    return found


async def interrupted(root: str, case: str, call: str, how: str) -> set[str]:
    """The operation, interrupted at a call; the undos that were run."""
    before, wanted, _, _ = CASES[case]
    cluster = SimulatedCluster(root)
    for needed in before:
        if callable(needed):
            needed(cluster)
            continue
        assert (await cluster.run(needed)).status is Status.SUCCESS
    rpc = Twice(cluster)
    cluster.rpc = rpc
    cluster._build()  # the engine, with the rpc that looks
    at_first, config = everything(cluster.nodes), cluster.config
    job_ids: list[Any] = []

    async def kill() -> None:
        assert (await cluster.engine.cancel(job_ids[0], kill=True))[0]

    if how == "refused":
        rpc.fail[call] = errors.NodeFailure("told to fail")
    elif how == "reply lost":
        rpc.lose_reply.append(call)
    else:
        rpc.after[call] = kill
    job_ids.append(await cluster.submit(wanted))
    ended = await cluster.wait(job_ids[0])
    if ended.status is Status.SUCCESS:
        # a call whose failure is only warned of, or after the decision
        return rpc.undone
    assert not cluster.state.journal
    assert not cluster.state.debts
    if cluster.config.instances == config.instances:
        left = everything(cluster.nodes)
        assert left == at_first or "reinstall" in case, (case, call, how)
    return rpc.undone


@pytest.mark.parametrize("case", CASES)
def test_every_undo_of_an_operation_can_run_twice(tmp_path: Path, case: str) -> None:
    undone: set[str] = set()
    _, _, calls, wanted = CASES[case]
    for call in calls:
        for how in HOW:
            undone |= asyncio.run(interrupted(str(tmp_path / f"{call}-{how}"), case, call, how))
    # which calls could not be taken back, and must not come late, is said where the steps are
    assert undone - {"request_fence"} == wanted


def test_no_call_that_takes_something_back_is_forgotten() -> None:
    """Those that logical units make are the ones that the cases above interrupt."""
    made, elsewhere = set(), set()
    for path in LOGIC.glob("*.py"):
        if path.name == OWING:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and any(keyword.arg == "undoes" for keyword in node.keywords):
                if path.name in ELSEWHERE:
                    elsewhere.add(_call_name(getattr(node.func, "id", "")))
                    continue
                assert isinstance(node.func, ast.Name)
                made.add(_call_name(node.func.id))
    wanted = {undo for _, _, _, undos in CASES.values() for undo in undos}
    assert made <= wanted <= made | elsewhere


def _call_name(class_name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in class_name).lstrip("_")
