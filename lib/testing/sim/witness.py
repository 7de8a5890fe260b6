"""What must hold at every moment of a run; sees what no node of the cluster can see."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.instance import GuestState, InstanceStart
from ganeti.calls.migration import MigrationAbort, MigrationFinish
from ganeti.calls.node import TestDelay
from ganeti.model.types import JobId, Uuid
from ganeti.store.api import Batch
from ganeti.testing.sim.loop import Process
from ganeti.testing.sim.network import SimPeer

if TYPE_CHECKING:
    from ganeti.testing.sim.node import SimNode
    from ganeti.testing.sim.world import World

_REQUEST = re.compile(r"(\d+)-(\d+)-[0-9a-f]{16}\Z")


class Witness:
    def __init__(self, world: World) -> None:
        self._world = world
        self.violations: list[str] = []
        self._masters: dict[int, str] = {}  # term → process
        self._highest: dict[Uuid, int] = {}  # node → highest term that it accepted
        self._published: dict[int, int] = {}  # serial → term
        self._taken_back: dict[Uuid, set[str]] = defaultdict(set)
        self.delays: dict[tuple[str, str, Uuid], set[str]] = defaultdict(set)  # (job, opcode, node) → requests
        self.called_dead: set[str] = set()  # names of nodes that somebody wished to mark offline
        self.batches = 0

    def blame(self, text: str) -> None:
        if text not in self.violations:
            self._world.chance.trace(f"VIOLATION: {text}")
            self.violations.append(text)

    def _acts(self, term: int, process: str) -> None:
        known = self._masters.setdefault(term, process)
        if known != process:
            self.blame(f"two masters act in term {term}: {known} and {process}")

    def accepts(self, node: SimNode, term: int, peer: SimPeer) -> None:
        """A node lets a call in."""
        if not term:
            return
        self._acts(term, peer.process)
        highest = self._highest.get(node.uuid, 0)
        if term < highest:
            self.blame(f"{node.short} accepts a call of term {term} after one of term {highest}")
        self._highest[node.uuid] = max(highest, term)

    def publishes(self, process: Process, term: int, batch: Batch) -> None:
        self.batches += 1
        self._acts(term, process.name)
        known = self._published.setdefault(batch.serial, batch.term)
        if known != batch.term:
            self.blame(f"batch {batch.serial} was published in term {known} and is another one in term {batch.term}")

    def runs(self, node: SimNode, call: ChangingCall[Any]) -> None:
        """A handler begins."""
        gone = self._taken_back[node.uuid]
        if call.request in gone:
            self.blame(f"{node.short} runs {call.call_name} {call.request} after it was taken back")
        if call.undoes is not None:
            gone.add(call.undoes)
        if isinstance(call, TestDelay):
            job, opcode, _ = call.request.split("-")
            requests = self.delays[job, opcode, node.uuid]
            requests.add(call.request)
            if len(requests) > 1:
                self.blame(f"job {job} waits on {node.short} more than once: {sorted(requests)}")
        if isinstance(call, InstanceStart):
            self._runs_alone(node, call.spec.instance.name, call.spec.instance.uuid)
        if isinstance(call, MigrationFinish) or (isinstance(call, MigrationAbort) and call.resume):
            name, uuid = call.name, call.uuid
            if node.hypervisor.info(name, uuid) is not None:
                self._runs_alone(node, name, uuid)

    def _runs_alone(self, node: SimNode, name: str, uuid: str) -> None:
        """It is about to run there. Who marks a node offline says that nothing runs there, true or not."""
        for other in self._world.nodes.values():
            if other is node or other.name in self.called_dead:
                continue
            guest = other.hypervisor.info(name, uuid)
            if guest is not None and guest.state in (GuestState.RUNNING, GuestState.PAUSED):
                self.blame(f"{name} is to run on {node.short} while it runs on {other.short}")

    def sends(self, process: Process, node: Uuid, call: Call[Any]) -> None:
        """A master makes a call."""
        match = _REQUEST.match(call.request) if isinstance(call, ChangingCall) else None
        master = next((n.master for n in self._world.nodes.values() if n.master and n.master.process is process), None)
        if match is None or master is None:
            return
        job = master.state.jobs.get(JobId(int(match[1])))
        if job is None or job.status.is_final:
            return
        op = job.ops[int(match[2])].input
        if op["OP_ID"] == "OP_TEST_DELAY" and op.get("no_locks", True):
            return
        if any(debt.undo.call.get("request") == match[0] for debt in master.state.debts.values()):
            return
        if not master.locks.held(job.id):
            self.blame(f"job {job.id} makes the call {call.call_name} to {node} without any lock")
