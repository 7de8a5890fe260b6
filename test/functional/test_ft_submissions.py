"""Submissions whose answers get lost, a new master in between: all is done once; GANETI_SUBMISSIONS=N of them."""

import os
import random
import time

from functional import load_kit as kit

COUNT = int(os.environ.get("GANETI_SUBMISSIONS", "100"))
SEED = int(os.environ.get("GANETI_SEED", "1"))
CLIENTS = 4
#: share of the attempts whose answer does not come
LOSES = 0.4
COUNTERS = 8


class Work:
    """Submissions whose every run leaves a mark: a changed instance counts its changes, a name is taken once."""

    def __init__(self, shell, rng):
        self._nodes = [node.name for node in shell.nodes]
        self._rng = rng
        self._made = self._value = 0

    def submission(self, number):
        jobs = [[self._op()] for _ in range(self._rng.choice((1, 1, 1, 1, 3)))]
        return kit.Submission(f"submission-{number}", jobs)

    def _op(self):
        if self._rng.random() < 0.15:
            self._made += 1
            return kit.create(f"made{self._made}.example", self._rng.choice(self._nodes), "diskless")
        name = f"counter{self._rng.randrange(COUNTERS)}.example"
        self._value += 1  # another one each time: a change that changes nothing is not counted
        return {"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": name, "beparams": {"maxmem": 1000 + self._value}}


def test_lost_answers_and_a_new_master_never_run_anything_twice(own_cluster):
    shell, rng = own_cluster, random.Random(SEED)
    for number in range(COUNTERS):
        name = f"counter{number}.example"
        shell.submit("gnt-instance", "add", "-t", "diskless", "-n", "node3", "-o", "busybox-linux", name)
    kit.wait_for_jobs(shell)
    work = Work(shell, rng)
    everything = [work.submission(number) for number in range(COUNT)]
    clients = [kit.Client(shell, random.Random(SEED + number), loses=LOSES) for number in range(CLIENTS)]
    bursts = [kit.Burst(client, everything[number::CLIENTS], pause_s=0.0) for number, client in enumerate(clients)]
    for burst in bursts:
        burst.start()
    while sum(bool(each.answers) for each in everything) < COUNT / 3:
        time.sleep(0.01)
    before = sum(bool(each.answers) for each in everything)
    shell.ok("gnt-cluster", "master-failover", node=shell.nodes[1])
    for burst in bursts:
        burst.finish()
    assert shell.master == shell.nodes[1]
    # those that were answered before, and after, get the same answers again from the new master
    patient = kit.Client(shell, rng)
    for each in everything:
        patient.attempt(each)
    statuses = kit.wait_for_jobs(shell)
    kit.check_submissions(shell, everything)
    ids = [job for each in everything for job in each.ids]
    successes = [ops[0] for status, ops in kit.job_rows(shell, ids, "status", "ops") if status == "success"]
    serials = {row[0]: int(row[1]) for row in shell.rows("gnt-instance", "name,serial_no")}
    for number in range(COUNTERS):
        name = f"counter{number}.example"
        changes = [op for op in successes if op["OP_ID"] == "OP_INSTANCE_SET_PARAMS" and op["instance_name"] == name]
        assert serials.pop(name) == 1 + len(changes)
    assert set(serials) == {op["instance_name"] for op in successes if op["OP_ID"] == "OP_INSTANCE_CREATE"}
    unsuccessful = [job for job in ids if statuses[job] != "success"]
    for (results,) in kit.job_rows(shell, unsuccessful, "opresult") if unsuccessful else ():
        assert "the master stopped" in str(results)
    lost, attempts = sum(client.lost for client in clients), sum(each.attempts for each in everything)
    print(
        f"{COUNT} submissions ({len(ids)} jobs) in {attempts} attempts, {lost} answers lost, a new master after"
        f" {before}; {len(successes)} effects, each once; {len(unsuccessful)} jobs were under way when the master ended"
    )
    kit.check_rest(shell)
