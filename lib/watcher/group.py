"""One node group: its instances run, its disks are complete."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from ganeti import paths
from ganeti.host import files
from ganeti.host.clock import Clock
from ganeti.paths import Paths
from ganeti.watcher import memory
from ganeti.watcher.decide import MAX_ATTEMPTS, Seen, SeenNode, Verdict, booted, judge, to_activate
from ganeti.watcher.jobs import Master
from ganeti.watcher.memory import Attempts, Boot, Memory

log = logging.getLogger(__name__)

_INSTANCE = ("name", "uuid", "serial_no", "status", "admin_state", "disks_active", "snodes")
_NODE = ("name", "offline", "bootid")


def _op(op_id: str, seen: Seen) -> dict[str, Any]:
    """For the instance as it was seen: who changes it meanwhile knows better. Any: JSON."""
    expected = {"kind": "instance", "name": seen.name, "serial": seen.serial, "uuid": seen.uuid}
    return {"OP_ID": op_id, "instance_name": seen.name, "expected": expected}


class GroupRun:
    """`run` once; what it learnt is saved whatever happens."""

    def __init__(
        self, where: Paths, group: str, name: str, master: Master, clock: Clock, *, verify_disks: bool, strict: bool
    ) -> None:
        """`group` is the uuid; `strict`: the disks' check waits for all locks."""
        self._paths, self._group, self._name = where, group, name
        self._master, self._clock = master, clock
        self._verify_disks, self._strict = verify_disks, strict
        self._attempts: dict[str, Attempts] = {}
        self._boots: dict[str, Boot] = {}

    def run(self) -> None:
        file = paths.watcher_state(self._group)
        known = memory.load(self._paths, file)
        self._attempts, self._boots = dict(known.instance), dict(known.node)
        try:
            self._run()
        finally:
            memory.save(self._paths, file, Memory(node=self._boots, instance=self._attempts))

    def _run(self) -> None:
        instances, nodes = self._instances(), self._nodes()
        lines = "".join(f"{seen.name} {seen.status}\n" for seen in instances)
        files.write(self._paths, paths.watcher_status(self._group), lines.encode())
        self._forget(instances, nodes)
        (may_end_strays,) = self._master.values("maintain_node_health")
        if may_end_strays:
            self._end_strays()
        started = self._restart(instances)
        activated = self._after_boots(instances, nodes, started)
        if self._verify_disks:
            self._repair_disks(skip={*started, *activated})

    # What is seen

    def _instances(self) -> Sequence[Seen]:
        rows = self._master.rows("instance", _INSTANCE, ["=", "pnode.group.uuid", self._group])
        return [
            Seen(
                name=row["name"],
                uuid=row["uuid"],
                serial=row["serial_no"],
                status=row["status"],
                is_up=row["admin_state"] == "up",
                has_disks=row["disks_active"],
                secondaries=tuple(row["snodes"]),
            )
            for row in rows
        ]

    def _nodes(self) -> Sequence[SeenNode]:
        rows = self._master.rows("node", _NODE, ["=", "group.uuid", self._group])
        return [SeenNode(name=row["name"], is_offline=row["offline"], boot_id=row.get("bootid") or "") for row in rows]

    def _forget(self, instances: Sequence[Seen], nodes: Sequence[SeenNode]) -> None:
        """What is not there any more."""
        names = {seen.name for seen in instances}
        self._attempts = {name: found for name, found in self._attempts.items() if name in names}
        known = {node.name for node in nodes}
        self._boots = {name: boot for name, boot in self._boots.items() if name in known}

    # What is done

    def _restart(self, instances: Sequence[Seen]) -> set[str]:
        """Names of those that were started."""
        wanted: dict[str, list[dict[str, Any]]] = {}
        reason = "start what shall run"
        for seen in instances:
            old = self._attempts.pop(seen.name, None)
            if old is not None and old.job and self._master.is_open(old.job):
                log.info("job %s that starts %s has not ended yet", old.job, seen.name)
                self._attempts[seen.name] = old
                continue
            verdict, new = judge(seen, old, self._clock.time())
            if new is not None:
                self._attempts[seen.name] = new
            if verdict is Verdict.START and new is not None:
                log.info("starting %s (attempt %s of %s)", seen.name, new.restart_count, MAX_ATTEMPTS)
                wanted[seen.name] = [_op("OP_INSTANCE_STARTUP", seen)]
            elif verdict is Verdict.GIVE_UP:
                log.warning("%s did not start in %s attempts: giving up", seen.name, MAX_ATTEMPTS)
            elif verdict is Verdict.RECORD_SHUTDOWN:
                log.info("%s was shut down from inside: recording that it shall stay so", seen.name)
                wanted[seen.name] = [_op("OP_INSTANCE_SHUTDOWN", seen) | {"admin_state_source": "user"}]
            elif verdict is Verdict.RECOVERED:
                log.info("%s runs again", seen.name)
        started = set()
        for name, outcome in self._master.run(wanted, reason).items():
            if outcome.results is not None:
                started.add(name)
                continue
            log.error("%s: %s", name, outcome.why)
            if outcome.is_open and name in self._attempts:
                count, when = self._attempts[name].restart_count, self._attempts[name].restart_when
                self._attempts[name] = Attempts(count, when, outcome.job)
        return started

    def _after_boots(self, instances: Sequence[Seen], nodes: Sequence[SeenNode], started: Iterable[str]) -> set[str]:
        """Give instances the other halves of their disks back. A boot counts as seen to when that went well for all."""
        fresh = booted(nodes, self._boots)
        wanted = to_activate(instances, fresh, started)
        failed = {seen.name for seen in wanted} - self._activate([seen.name for seen in wanted])
        open_nodes = {node for seen in wanted if seen.name in failed for node in seen.secondaries}
        self._boots.update({name: boot for name, boot in fresh.items() if name not in open_nodes})
        return {seen.name for seen in wanted} - failed

    def _end_strays(self) -> None:
        op = {"OP_ID": "OP_GROUP_END_STRAYS", "group_name": self._name}
        outcome = self._master.run({"strays": [op]}, "end guests and minors of no instance")["strays"]
        if outcome.results is None:
            log.error("guests of no instance are not looked for: %s", outcome.why)
            return
        guests, minors = outcome.results[0]
        for node, guest in guests:
            log.warning("%s: the guest %s belonged to no instance and was ended", node, guest)
        for node, minor in minors:
            log.warning("%s: minor %s belonged to no instance, job %s takes it down", node, minor, outcome.job)

    def _repair_disks(self, skip: set[str]) -> None:
        op = {"OP_ID": "OP_GROUP_VERIFY_DISKS", "group_name": self._name, "is_strict": self._strict}
        outcome = self._master.run({"disks": [op]}, "check the disks")["disks"]
        if outcome.results is None:
            log.error("disks cannot be checked: %s", outcome.why)
            return
        silent, inactive, missing = outcome.results[0]
        for node, why in sorted(silent.items()):
            log.warning("node %s does not tell its volumes: %s", node, why)
        for name in sorted(missing):
            log.warning("%s lacks volumes: replace or recreate its disks", name)
        self._activate([name for name in inactive if name not in missing and name not in skip])

    def _activate(self, names: Sequence[str]) -> set[str]:
        """Names of those that went well."""
        for name in names:
            log.info("activating the disks of %s", name)
        wanted = {name: [{"OP_ID": "OP_INSTANCE_ACTIVATE_DISKS", "instance_name": name}] for name in names}
        outcomes = self._master.run(wanted, "activate disks")
        for name, outcome in outcomes.items():
            if outcome.results is None:
                log.error("disks of %s: %s", name, outcome.why)
        return {name for name, outcome in outcomes.items() if outcome.results is not None}
