"""kill -9 of the master daemon with work under way; with GANETI_KILLS=N that many times."""

import os
import random
import signal
import time
from collections import Counter

from functional import load_kit as kit
from functional.kit import wait_until

from ganeti.bootstrap import daemons

ROUNDS = int(os.environ.get("GANETI_KILLS", "10"))
SEED = int(os.environ.get("GANETI_SEED", "1"))
#: jobs of a round; they are done in about the time within which the master is killed
BURST = 20
STRIKES_WITHIN_S = 1.2
#: instances that are kept
CROWD = 12


class Load:
    """Random work, and what the cluster must look like after it."""

    def __init__(self, shell, rng):
        self._shell, self._rng = shell, rng
        self._nodes = [node.name for node in shell.nodes]
        self._made = 0
        self.present = {}  # name → (disk template, primary node)

    def burst(self, name):
        return [kit.Submission(f"{name}-{number}", [self._ops()]) for number in range(BURST)]

    def _ops(self):
        names = list(self.present)
        crowd = len(names) - CROWD
        kind = self._rng.choices(
            ("create", "remove", "migrate", "delay"),
            (max(2, 8 - crowd), max(2, 6 + crowd), 9, 2) if names else (1, 0, 0, 1),
        )[0]
        if kind == "create":
            self._made += 1
            template = self._rng.choice(("file", "sharedfile", "sharedfile", "diskless"))
            name = f"inst{self._made}.example"
            start = {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": name}
            return [kit.create(name, self._rng.choice(self._nodes), template), start]
        if kind == "remove":
            name = self._rng.choice(names)
            return [{"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name, "shutdown_timeout": 0}]
        if kind == "migrate":
            movable = [name for name in names if self.present[name][0] == "sharedfile"] or names
            name = self._rng.choice(movable)
            others = [node for node in self._nodes if node != self.present[name][1]]
            return [{"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": name, "target_node": self._rng.choice(others)}]
        return [{"OP_ID": "OP_TEST_DELAY", "duration": 0.1, "on_master": True, "on_nodes": self._nodes}]

    def account(self, ops):
        """The effects of opcodes that succeeded, in the order in which they did."""
        for op in ops:
            name = op.get("instance_name")
            if op["OP_ID"] == "OP_INSTANCE_CREATE":
                self.present[name] = (op["disk_template"], op["pnode"])
            elif op["OP_ID"] == "OP_INSTANCE_REMOVE":
                del self.present[name]
            elif op["OP_ID"] == "OP_INSTANCE_MIGRATE":
                self.present[name] = (self.present[name][0], op["target_node"])


def _kill_master(shell):
    pid = daemons.pid_of(shell.master.paths, daemons.MASTERD)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until("it is gone", lambda: not daemons.is_running(shell.master.paths, daemons.MASTERD), every_s=0.01)


def _successes(shell, ids):
    found = []
    for ops, statuses, ends in kit.job_rows(shell, ids, "ops", "opstatus", "opend"):
        found += [(end, op) for op, status, end in zip(ops, statuses, ends, strict=True) if status == "success"]
    return [op for _, op in sorted(found, key=lambda pair: pair[0])]


def _ends(shell, ids):
    """What became of each job in a word: those that a kill struck, apart from those that could not succeed."""
    for status, results in kit.job_rows(shell, ids, "status", "opresult"):
        yield "struck" if status == "error" and "the master stopped" in str(results) else status


def test_kill_of_the_master_under_load_loses_nothing(own_cluster):
    shell, rng = own_cluster, random.Random(SEED)
    load, client = Load(shell, rng), kit.Client(shell, random.Random(SEED))
    ended = Counter()
    for round_number in range(ROUNDS):
        burst = load.burst(f"round-{round_number}")
        loader = kit.Burst(client, burst, pause_s=0.02)
        loader.start()
        time.sleep(rng.uniform(0.02, STRIKES_WITHIN_S))
        _kill_master(shell)
        shell.start_daemon(shell.master, daemons.MASTERD)
        loader.finish()
        shell.wait_for_answers()
        kit.wait_for_jobs(shell)
        ids = [job for submission in burst for job in submission.ids]
        ended.update(_ends(shell, ids))
        load.account(_successes(shell, ids))
        kit.check_submissions(shell, client.submissions)
        found = {row[0]: (row[1], row[2]) for row in shell.rows("gnt-instance", "name,disk_template,pnode")}
        assert found == load.present
        kit.check_rest(shell)
    repeated = sum(submission.attempts - 1 for submission in client.submissions)
    print(f"{ROUNDS} kills under {len(client.submissions)} jobs: {dict(ended)}; {repeated} submissions were repeated")
    for name in list(load.present):
        shell.submit("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)
    kit.wait_for_jobs(shell)
    assert shell.rows("gnt-instance", "name") == []
    kit.check_rest(shell)
