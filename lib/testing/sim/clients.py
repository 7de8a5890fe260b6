"""Clients of the simulated cluster: what they ask for, what they were promised."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from ganeti import errors
from ganeti.model.objects import AdminState, Instance
from ganeti.testing.sim import belongings
from ganeti.testing.sim.node import INSTANCE_NETWORK, OS_NAME

if TYPE_CHECKING:
    from ganeti.testing.sim.master import MasterProcess
    from ganeti.testing.sim.world import World

#: few, so that jobs meet
NAMES = tuple(f"inst{number}.example.com" for number in range(1, 7))
FINAL = ("success", "error", "canceled")
#: a client gives up a request after that, in seconds
PATIENCE_S = 100.0

WireOp = dict[str, Any]  # Any: JSON


class LostReply(Exception):
    """Whether the request was taken is not known."""


class Submission:
    """One multi-submission; `key` empty: it must not be repeated."""

    def __init__(self, number: int, key: str, jobs: list[list[WireOp]]) -> None:
        self.number, self.key = number, key
        self.jobs = jobs
        for index, job in enumerate(jobs):
            job[0]["comment"] = self.mark(index)
        self.is_sent = False
        self.answer: list[tuple[bool, Any]] | None = None  # Any: id or why not
        self.refusal = ""  # nothing of it was taken, for good

    def mark(self, index: int) -> str:
        return f"submission {self.number} job {index}"

    @property
    def is_open(self) -> bool:
        """Its client would still like to know."""
        return bool(self.key) and self.answer is None and not self.refusal


class Clients:
    def __init__(self, world: World) -> None:
        self._world = world
        self.submissions: list[Submission] = []
        self.acknowledged: dict[int, tuple[Submission, int]] = {}  # job id → its place
        self.seen: dict[int, str] = {}  # job id → final status that some client was told

    # What they ask for

    def new_submission(self) -> Submission:
        rng = self._world.chance.rng
        number = len(self.submissions) + 1
        key = f"key-{number}" if rng.random() < 0.8 else ""
        jobs = [self._job(index) for index in range(rng.choice((1, 1, 1, 2, 4)))]
        submission = Submission(number, key, jobs)
        self.submissions.append(submission)
        return submission

    def _job(self, index: int) -> list[WireOp]:
        rng = self._world.chance.rng
        ops = [self._op() for _ in range(rng.choice((1, 1, 1, 1, 2)))]
        if index and rng.random() < 0.4:
            ops[0]["depends"] = [[-rng.randint(1, index), rng.choice(([], ["success"], ["success", "error"]))]]
        for op in ops:
            op["priority"] = rng.choice((0, 0, -10, 10))
        return ops

    def _op(self) -> WireOp:
        rng = self._world.chance.rng
        nodes = [node.name for node in self._world.nodes.values()]
        kind = rng.choices(
            (
                "create", "remove", "start", "stop", "rename", "modify", "reboot", "delay", "flags",
                "migrate", "failover", "reinstall", "replace",
            ),
            (30, 10, 10, 6, 6, 6, 4, 10, 8, 26, 8, 4, 6),
        )[0]  # fmt: skip
        fitting = self._fitting(kind)
        if not fitting and kind in ("migrate", "failover", "reinstall", "replace"):
            kind, fitting = "create", self._fitting("create")
        # what is asked for in vain finds little, but it finds something
        name = rng.choice(fitting if fitting and rng.random() < 0.85 else NAMES)
        match kind:
            case "create":
                return self._create(name, nodes)
            case "remove":
                return {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name, "shutdown_timeout": rng.choice((0, 2))}
            case "start":
                return {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": name}
            case "stop":
                return {"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": name, "timeout": rng.choice((0, 3))}
            case "rename":
                other = rng.choice(NAMES)
                return {"OP_ID": "OP_INSTANCE_RENAME", "instance_name": name, "new_name": other, "ip_check": False}
            case "modify":
                be = {"vcpus": rng.randint(1, 8)}
                return {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": name, "beparams": be}
            case "reboot":
                return {
                    "OP_ID": "OP_INSTANCE_REBOOT",
                    "instance_name": name,
                    "reboot_type": rng.choice(("hard", "full")),
                }
            case "migrate":
                return self._migrate(name, nodes)
            case "failover":
                target = {"target_node": rng.choice(nodes)} if rng.random() < 0.7 else {"iallocator": "builtin"}
                return {
                    "OP_ID": "OP_INSTANCE_FAILOVER",
                    "instance_name": name,
                    "shutdown_timeout": rng.choice((0, 2)),
                    "ignore_consistency": rng.random() < 0.5,
                    "ignore_ipolicy": True,
                    **target,
                }
            case "replace":
                where = rng.choice(
                    (
                        {"mode": "replace_on_primary"},
                        {"mode": "replace_on_secondary"},
                        {"remote_node": rng.choice(nodes)},
                        {"iallocator": "builtin"},
                    )
                )
                return {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "instance_name": name, **where}
            case "reinstall":
                return {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": name}
            case "delay":
                return {
                    "OP_ID": "OP_TEST_DELAY",
                    "duration": rng.choice((0.0, 0.5, 5.0)),
                    "on_master": rng.random() < 0.5,
                    "on_nodes": rng.sample(nodes, rng.randint(1, len(nodes))),
                    "no_locks": rng.random() < 0.3,
                }
        flags: dict[str, bool] = {rng.choice(("master_candidate", "drained", "offline")): rng.random() < 0.4}
        node = rng.choice(nodes)
        if flags.get("offline"):
            self._world.witness.called_dead.add(node)
        return {
            "OP_ID": "OP_NODE_SET_PARAMS",
            "node_name": node,
            "force": rng.random() < 0.7,
            "auto_promote": rng.random() < 0.4,
            **flags,
        }

    def _fitting(self, kind: str) -> list[str]:
        """Names for which that makes sense now."""
        serving = self._world.serving()
        present = serving[0].state.config.instances.values() if serving else ()
        there = {each.name for each in present if self._suits(kind, each)}
        return [name for name in NAMES if (name in there) != (kind == "create")]

    @staticmethod
    def _suits(kind: str, instance: Instance) -> bool:
        if kind in ("migrate", "failover"):
            return instance.disk_template in ("sharedfile", "drbd")
        if kind == "replace":
            return instance.disk_template == "drbd"
        return kind != "reinstall" or instance.admin_state is not AdminState.UP

    def _migrate(self, name: str, nodes: list[str]) -> WireOp:
        rng = self._world.chance.rng
        op: WireOp = {"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": name, "ignore_ipolicy": True}
        if rng.random() < 0.1:
            return op | {"cleanup": True}
        op |= {"target_node": rng.choice(nodes)} if rng.random() < 0.7 else {"iallocator": "builtin"}
        return op | {"allow_failover": rng.random() < 0.2}

    def _create(self, name: str, nodes: list[str]) -> WireOp:
        rng = self._world.chance.rng
        op: WireOp = {
            "OP_ID": "OP_INSTANCE_CREATE",
            "instance_name": name,
            "hypervisor": "fake",
            "os_type": OS_NAME,
            "ignore_ipolicy": True,
            "pnode": rng.choice(nodes),
            "nics": [{"network": INSTANCE_NETWORK, "ip": "pool"}],
            "start": rng.random() < 0.8,
            "disk_template": rng.choice(
                ("diskless", "file", "sharedfile", "sharedfile", "sharedfile", "drbd", "drbd", "plain", "plain")
            ),
        }
        if op["disk_template"] == "drbd":
            op["snode"] = rng.choice([name for name in nodes if name != op["pnode"]])
        if op["disk_template"] == "plain":
            wanted = rng.sample(belongings.NAMES, rng.randint(1, 2))
            op["disks"] = [{"adopt": name} for name in wanted]
        elif op["disk_template"] != "diskless":
            op["disks"] = [{"size": 128}] * rng.randint(1, 2)
        return op

    # How they ask

    async def ask(self, master: MasterProcess, method: str, *args: Any, key: str = "") -> Any:
        """The answer. Raises what the master raises, LostReply when none came. Any: LUXI's values."""
        task = master.ask(method, list(args), key)
        limit = asyncio.get_running_loop().time() + PATIENCE_S
        while not task.done():
            await asyncio.wait({task}, timeout=1.0)
            if (master.process.is_dead and not task.done()) or asyncio.get_running_loop().time() > limit:
                raise LostReply
        if self._world.chance.strikes("client loses the reply"):
            task.exception()
            raise LostReply
        return task.result()

    async def submit(self, master: MasterProcess, submission: Submission) -> None:
        """One attempt."""
        submission.is_sent = True
        try:
            answer = await self.ask(master, "SubmitManyJobs", submission.jobs, key=submission.key)
        except LostReply:
            self._world.chance.trace(f"submission {submission.number}: no answer")
            return
        except errors.GanetiError as err:
            self._world.chance.trace(f"submission {submission.number}: {err}")
            if isinstance(err, errors.PrereqError | errors.OpCodeUnknown):
                submission.refusal = str(err)
            return
        answer = [(bool(ok), what) for ok, what in answer]
        self._world.chance.trace(f"submission {submission.number}: {answer}")
        if submission.answer is not None and submission.answer != answer:
            self._world.witness.blame(f"submission {submission.number} was answered {submission.answer}, then {answer}")
        submission.answer = answer
        for index, (ok, what) in enumerate(answer):
            if ok:
                place = self.acknowledged.setdefault(int(what), (submission, index))
                if place != (submission, index):
                    self._world.witness.blame(f"job id {what} was given to two submissions")

    async def look(self, master: MasterProcess, job: int) -> None:
        """Ask for a job's status and remember a final one."""
        try:
            rows = await self.ask(master, "QueryJobs", [job], ["status"])
        except (LostReply, errors.GanetiError):
            return
        if rows and rows[0] is not None and rows[0][0] in FINAL:
            self.saw(job, rows[0][0])

    def saw(self, job: int, status: str) -> None:
        known = self.seen.setdefault(job, status)
        if known != status:
            self._world.witness.blame(f"job {job} ended as {known}, a client was told, and later as {status}")

    async def change_priority(self, master: MasterProcess, job: int, priority: int) -> None:
        with contextlib.suppress(LostReply, errors.GanetiError):
            await self.ask(master, "ChangeJobPriority", job, priority)

    async def cancel(self, master: MasterProcess, job: int, *, kill: bool) -> None:
        try:
            done, text = await self.ask(master, "CancelJob", job, kill)
        except (LostReply, errors.GanetiError):
            return
        if done and text == f"Job {job} canceled":
            self.saw(job, "canceled")
