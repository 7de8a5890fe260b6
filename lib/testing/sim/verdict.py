"""What must hold when a run is over: everything is up, connected and idle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from ganeti import errors
from ganeti.calls.instance import GuestState
from ganeti.model.config import Config
from ganeti.model.disks import Mirror, is_mirror, node_volumes, used_minors
from ganeti.model.jobs import Job, Status
from ganeti.model.objects import DiskTemplate, Instance
from ganeti.model.types import JobId, Uuid
from ganeti.store import reading
from ganeti.store.api import Batch
from ganeti.store.batch import unseal_all
from ganeti.testing.sim import belongings
from ganeti.testing.sim.clients import Clients, LostReply, Submission
from ganeti.testing.sim.master import MasterProcess
from ganeti.wire import codec

if TYPE_CHECKING:
    from ganeti.testing.sim.world import World

#: everything that is under way must have ended after so many seconds without faults
IDLE_S = 6 * 3600.0
DEBTS_S = 120.0
LEVEL_S = 60.0


class Unhealed(Exception):
    """The cluster does not come to rest."""


class Verdict:
    def __init__(self, world: World, clients: Clients) -> None:
        self._world, self._clients = world, clients
        self._blame = world.witness.blame

    async def settle(self, master: MasterProcess) -> None:
        """Wait for jobs, debts and copies. Raises Unhealed."""

        def busy() -> list[str]:
            return [f"{job.id} ({job.status.value})" for job in master.state.jobs.values() if not job.status.is_final]

        await self._until(master, lambda: not busy(), IDLE_S, lambda: "jobs do not end: " + ", ".join(busy()))
        for node in master.state.config.nodes.values():
            if node.offline:
                op = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": node.name, "offline": False, "force": True}
                await self._run(master, op)
        for instance in sorted(master.state.config.instances.values(), key=lambda each: each.name):
            if instance.moving is not None and not instance.blocked:
                self._blame(f"idle, and the migration of {instance.name} is half-way without saying so")
            if instance.moving is not None or instance.blocked:
                op = {"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": instance.name, "cleanup": True}
                await self._run(master, op)
        for instance in sorted(master.state.config.instances.values(), key=lambda each: each.name):
            kept = [debt for debt in master.state.debts.values() if debt.undo.until_good == instance.uuid]
            if kept:
                # what may be the only good copy of its disks waits until they are active; those of a node that has lost
                # its power are not, whatever is recorded: the watcher would see to it
                for verb in ("ACTIVATE",) if instance.disks_active else ("ACTIVATE", "DEACTIVATE"):
                    op = {"OP_ID": f"OP_INSTANCE_{verb}_DISKS", "instance_name": instance.name}
                    await self._run(master, op)
                    await self._debts(master)
        await self._debts(master)
        await asyncio.sleep(5.0)  # what nobody waits for is committed
        await self._until(
            master,
            lambda: len({self._position(voter.node) for voter in master.leader.voters()}) == 1,
            LEVEL_S,
            lambda: "the copies do not become equal",
        )

    async def _debts(self, master: MasterProcess) -> None:
        await self._until(
            master,
            lambda: not master.state.debts,
            DEBTS_S,
            lambda: "debts are not paid: " + ", ".join(debt.undo.title for debt in master.state.debts.values()),
        )

    async def _until(
        self, master: MasterProcess, condition: Callable[[], bool], limit_s: float, complaint: Callable[[], str]
    ) -> None:
        passed, pause = 0.0, 1.0
        while not condition():
            if master.process.is_dead or master.leader.lost.is_set():
                raise Unhealed(f"the last master ended: {master.why_ended}")
            if passed > limit_s:
                raise Unhealed(complaint())
            await asyncio.sleep(pause)
            passed += pause
            pause = min(2 * pause, 60.0)

    def _position(self, node: str) -> tuple[int, int, str]:
        found = next(each for each in self._world.nodes.values() if each.uuid == node)
        position, _ = reading.look(found.state_path)
        return position.term, position.serial, position.hash

    async def judge(self, master: MasterProcess) -> None:
        self._copies(master)
        history = await self._history(master)
        self._jobs(master, history)
        self._unique(master.state.config)
        self._nodes(master)
        belongings.check(self._world, master, history, partly_removed=self._partly_removed(master))
        self._idle(master)
        await self._readable(master)
        await self._remove_everything(master)
        belongings.check(self._world, master, await self._history(master))

    # The store

    def _copies(self, master: MasterProcess) -> None:
        contents = {}
        for voter in master.leader.voters():
            node = next(each for each in self._world.nodes.values() if each.uuid == voter.node)
            snapshot = reading.Snapshot(node.state_path)
            rows = snapshot.part(1 << 40)
            snapshot.close()
            contents[node.short] = (rows, snapshot.secrets)
            state = [row for row in rows if row[0] != reading.HISTORY_ROWS]
            texts = [row for row in rows if row[0] == reading.HISTORY_ROWS]
            self._replays(
                node.short, state, [str(codec.loads(row[2])[3]) for row in sorted(texts, key=lambda r: int(r[1]))]
            )
        names = list(contents)
        for name in names[1:]:
            if contents[name] != contents[names[0]]:
                self._blame(f"the copies of {names[0]} and {name} differ")
        candidates = {node.uuid for node in master.state.config.candidates}
        if candidates != {voter.node for voter in master.leader.voters()}:
            self._blame("the voters are not the master candidates of the configuration")

    def _replays(self, name: str, rows: list[tuple[str, str, str]], texts: list[str]) -> None:
        """The rows are what the history leads to, and the history is one chain."""
        entries = unseal_all(tuple(texts), "")
        state: dict[tuple[str, str], str] = {}
        for entry in entries:
            for write in entry.batch.writes:
                if write.value is None:
                    state.pop((write.table, write.key), None)
                else:
                    state[write.table, write.key] = write.value
        if state != {(table, key): value for table, key, value in rows}:
            self._blame(f"the rows of {name} are not what its history leads to")
        node = next(each for each in self._world.nodes.values() if each.short == name)
        if entries[-1].hash != reading.look(node.state_path)[0].hash:
            self._blame(f"the history of {name} does not end in its hash")
        for serial, term in self._world.witness._published.items():
            if serial > len(entries) or entries[serial - 1].batch.term != term:
                self._blame(f"batch {serial} of term {term} was published and is not in the history of {name}")
                return

    async def _history(self, master: MasterProcess) -> list[Batch]:
        found: list[Batch] = []
        while True:
            after = found[-1].serial if found else 0
            task = asyncio.create_task(master.leader.history(after=after), context=master.process.context.copy())
            more = await task
            if not more:
                return found
            found += more

    # Jobs

    def _jobs(self, master: MasterProcess, history: list[Batch]) -> None:
        jobs = master.state.jobs
        for number, (submission, index) in self._clients.acknowledged.items():
            job = jobs.get(JobId(number))
            if job is None:
                self._blame(f"job {number} was acknowledged and is lost")
            elif job.ops[0].input.get("comment") != submission.mark(index):
                self._blame(f"job {number} is not the one that was acknowledged")
            else:
                self._clients.saw(number, job.status.value)
        counts = Counter(str(job.ops[0].input.get("comment")) for job in jobs.values())
        for mark, count in counts.items():
            if count > 1:
                self._blame(f"{mark} was made {count} jobs")
        by_job: dict[int, list[Batch]] = {}
        for batch in history:
            for note in batch.notes:
                by_job.setdefault(note.job, []).append(batch)
        for job in jobs.values():
            if job.status is Status.SUCCESS:
                self._effects(job, by_job.get(job.id, []))

    def _effects(self, job: Job, batches: list[Batch]) -> None:
        writes = [write for batch in batches for write in batch.writes if write.table == "object"]
        for op in job.ops:
            target = op.input.get("target_node", "")
            match op.input["OP_ID"]:
                case "OP_INSTANCE_CREATE":
                    is_there = any(f'"{op.input["instance_name"]}"' in (write.value or "") for write in writes)
                case "OP_INSTANCE_RENAME":
                    is_there = any(f'"{op.input["new_name"]}"' in (write.value or "") for write in writes)
                case "OP_INSTANCE_REMOVE":
                    is_there = any(write.value is None for write in writes)
                case "OP_INSTANCE_MIGRATE" | "OP_INSTANCE_FAILOVER" if target:
                    node = next(each.uuid for each in self._world.nodes.values() if each.name == target)
                    is_there = any(f'"primary_node":"{node}"' in (write.value or "") for write in writes)
                case _:
                    is_there = True
            if not is_there:
                self._blame(f"job {job.id} ended in success and its {op.input['OP_ID']} is not in the configuration")

    # The configuration and the nodes

    def _unique(self, config: Config) -> None:
        things: list[str] = []
        for instance in config.instances.values():
            things.append(f"name {instance.name}")
            things += [f"MAC {nic.mac}" for nic in instance.nics]
            things += [f"address {nic.ip} of network {nic.network}" for nic in instance.nics if nic.network]
            if instance.network_port is not None:
                things.append(f"port {instance.network_port}")
            for disk in instance.disks:
                if is_mirror(disk):
                    mirror = Mirror.of(disk)
                    things.append(f"port {mirror.port}")
                    things += [
                        f"minor {minor} of {node}" for node, minor in zip(mirror.nodes, mirror.minors, strict=True)
                    ]
                    things += [f"volume {each.logical_id} on {node}" for node in mirror.nodes for each in disk.children]
                    continue
                place = "shared" if disk.template is DiskTemplate.SHAREDFILE else instance.primary_node
                things.append(f"volume {disk.logical_id} on {place}")
        for thing, count in Counter(things).items():
            if count > 1:
                self._blame(f"{thing} has {count} owners")

    def _nodes(self, master: MasterProcess) -> None:
        config = master.state.config
        partly_removed = self._partly_removed(master)
        shared = {
            str(disk.logical_id[1]): instance
            for instance in config.instances.values()
            for disk in instance.disks
            if disk.template is DiskTemplate.SHAREDFILE
        }
        for node in self._world.nodes.values():
            here = [instance for instance in config.instances.values() if instance.primary_node == node.uuid]
            local = {
                str(disk.logical_id[1]): instance
                for instance in here
                for disk in instance.disks
                if disk.template is DiskTemplate.FILE
            }
            minors = used_minors(config, node.uuid)
            for minor in sorted(set(node.minors()) - minors):
                self._blame(f"{node.short} has the minor {minor} that nobody owns")
            lvs = self._logical_volumes(config, node.uuid)
            kinds = (
                (DiskTemplate.FILE, local),
                (DiskTemplate.SHAREDFILE, shared),
                (DiskTemplate.PLAIN, lvs),
            )
            for template, known in kinds:
                present = set(node.volumes(template))
                for volume in sorted(present - set(known)):
                    self._blame(f"{node.short} holds the volume {volume} that nobody owns")
                for volume in sorted(set(known) - present):
                    if known[volume].name not in partly_removed:
                        self._blame(f"{node.short} lacks the volume {volume} of {known[volume].name}")
            uuids = {str(instance.uuid) for instance in here}
            for guest in node.hypervisor.list():
                if guest.uuid not in uuids:
                    self._blame(f"{node.short} runs {guest.name}, which is not its instance")
                elif guest.state is not GuestState.RUNNING:
                    self._blame(f"{node.short} has {guest.name} as {guest.state.value}")

    @staticmethod
    def _logical_volumes(config: Config, node: Uuid) -> dict[str, Instance]:
        """Volumes of the halves and plain disks that the node has."""
        return {
            "/dev/" + "/".join(str(part) for part in volume.logical_id): instance
            for instance in config.instances.values()
            if node in instance.nodes
            for disk in instance.disks
            for volume in node_volumes(disk)
            if volume.template is DiskTemplate.PLAIN
        }

    def _partly_removed(self, master: MasterProcess) -> set[str]:
        """Names of instances whose removal said that it was left half done: it may be repeated."""
        return {
            str(op.input["instance_name"])
            for job in master.state.jobs.values()
            for op in job.ops
            if op.status is Status.ERROR and op.input["OP_ID"] == "OP_INSTANCE_REMOVE"
            if any("may be partly removed" in str(entry.message) for entry in master.state.logs.get(job.id, ()))
        }

    def _idle(self, master: MasterProcess) -> None:
        for row in master.locks.rows():
            self._blame(f"idle, and a lock is held or waited for: {row}")
        for job, records in master.state.journal.items():
            self._blame(f"idle, and job {job} has {len(records)} journal records")

    async def _readable(self, master: MasterProcess) -> None:
        """No mirror has lost its last good half."""
        for instance in sorted(master.state.config.instances.values(), key=lambda each: each.name):
            if any(map(is_mirror, instance.disks)) and instance.name not in self._partly_removed(master):
                await self._run(master, {"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": instance.name})

    async def _remove_everything(self, master: MasterProcess) -> None:
        """Whatever happened: what is in the configuration can be removed, and then the nodes hold nothing."""
        for name in sorted(master.state.config.instance_names):
            await self._run(master, {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name, "shutdown_timeout": 0})
        for sim_node in self._world.nodes.values():
            left = [
                *sim_node.volumes(DiskTemplate.FILE),
                *sim_node.volumes(DiskTemplate.SHAREDFILE),
                *sim_node.volumes(DiskTemplate.PLAIN),
                *(f"minor {minor}" for minor in sim_node.minors()),
                *(guest.name for guest in sim_node.hypervisor.list()),
            ]
            if left:
                self._blame(f"after all was removed {sim_node.short} still has {', '.join(left)}")

    async def _run(self, master: MasterProcess, op: dict[str, object]) -> None:
        submission = Submission(len(self._clients.submissions) + 1, "", [[op]])
        self._clients.submissions.append(submission)
        try:
            ((_, number),) = await self._clients.ask(master, "SubmitManyJobs", submission.jobs)
        except (LostReply, errors.GanetiError) as err:
            self._blame(f"all is well, and {op['OP_ID']} is refused: {err}")
            return
        job = JobId(number)
        await self._until(master, lambda: master.state.jobs[job].status.is_final, IDLE_S, lambda: f"job {job} hangs")
        last = master.state.jobs[job].ops[0]
        if last.status is not Status.SUCCESS:
            self._blame(f"all is well, and {op} ends as {last.status.value}: {last.result}")
