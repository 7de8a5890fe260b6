"""What the master knows of its own work, in one answer that costs next to nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from ganeti.host.timings import BOUNDS, Timings
from ganeti.master.lockmanager import LockManager
from ganeti.master.state import State
from ganeti.model.config import Config
from ganeti.model.jobs import Status
from ganeti.model.objects import Node
from ganeti.store.leader import Leader


class Measures:
    """`tell` is what QueryMetrics answers. Any: JSON."""

    def __init__(self, state: State, locks: LockManager, leader: Leader, name_of: Callable[[str], str]) -> None:
        self._state, self._locks, self._leader, self._name_of = state, locks, leader, name_of
        self._timings: dict[str, Timings] = {"commit": leader.timings}

    def attach(self, name: str, timings: Timings) -> None:
        self._timings[name] = timings

    def tell(self) -> dict[str, Any]:
        config = self._state.config
        jobs = Counter(job.status.value for job in self._state.jobs.values())
        waits = [waiting for row in self._locks.rows() for waiting in row.pending]
        waited = [self._locks.waiting_s(waiting.job) or 0.0 for waiting in waits]
        position = self._leader.position
        return {
            "jobs": {status.value: jobs[status.value] for status in Status},
            "jobs_submitted": self._state.flags.last_job,
            "queue_drained": self._state.flags.drained,
            "locks": {"waiting": len({one.job for one in waits}), "longest_s": max(waited, default=0.0)},
            "nodes": Counter(_role(config, node) for node in config.nodes.values()),
            "instances": Counter(instance.admin_state.value for instance in config.instances.values()),
            "store": {
                "term": position.term,
                "serial": position.serial,
                "is_solo": self._leader.is_solo,
                "voters": {
                    self._name_of(voter.node): {
                        "is_current": voter.is_current,
                        "lag": position.serial - voter.position.serial if voter.position else position.serial,
                    }
                    for voter in self._leader.voters()
                },
            },
            "bounds_s": BOUNDS,
            "timings": {name: timings.tell() for name, timings in self._timings.items()},
        }


def _role(config: Config, node: Node) -> str:
    if node.uuid == config.cluster.master_node:
        return "master"
    if node.offline or node.drained:
        return "offline" if node.offline else "drained"
    return "candidate" if node.master_candidate else "regular"
