"""Five nodes. The master dies, sleeps or is cut off, under load; GANETI_ROUNDS=N times each.

What must hold: no acknowledged job is lost, none runs twice, the old master refuses, and no two nodes ever act as the
master in one term: that is read from the logs that the nodes themselves write.
"""

import glob
import os
import random
import re
import signal
import threading
import time
from collections import Counter, defaultdict

import pytest
from functional import load_kit as kit
from functional.confd_kit import Asker
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti.bootstrap import daemons
from ganeti.confd.protocol import Kind

ROUNDS = int(os.environ.get("GANETI_ROUNDS", "2"))
SEED = int(os.environ.get("GANETI_SEED", "1"))
NODES = 5
BURST = 12
FAILOVER = ("gnt-cluster", "master-failover")
_CALL = re.compile(r"(\S+ \S+): ganeti-noded pid=\d+ INFO \w+ \S+ for (\S+) in term (\d+)$")
_FOLLOWS = re.compile(r".*: ganeti-noded pid=\d+ INFO the state follows (\S+) in term (\d+)$")
_BETTER = re.compile(r"node (node\d)\S* has a newer state")


@pytest.fixture(scope="module")
def shell():
    made = make_cluster(NODES)
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


class Course:
    """Rounds of one kind on one cluster."""

    def __init__(self, shell, name):
        self.shell, self.name = shell, name
        self.rng = random.Random(f"{SEED} {name}")
        self.clients = [kit.Client(shell, random.Random(f"{SEED} {name} {number}")) for number in range(2)]
        self.ends = Counter()
        self.took = []  # seconds from the command to the first answered list

    def load(self, number):
        """Clients that submit from now on."""
        found = []
        for place, client in enumerate(self.clients):
            burst = [kit.Submission(f"{self.name}-{number}-{place}-{each}", [[self._op()]]) for each in range(BURST)]
            found.append(kit.Burst(client, burst, pause_s=0.05))
        for each in found:
            each.start()
        return found

    def _op(self):
        nodes = [node.name for node in self.shell.nodes]
        return {"OP_ID": "OP_TEST_DELAY", "duration": self.rng.choice((0, 0.05, 0.3)), "on_master": True,
                "on_nodes": self.rng.sample(nodes, 2)}  # fmt: skip

    def others(self):
        """All nodes but the master's, by chance."""
        found = [node for node in self.shell.nodes if node != self.shell.master]
        self.rng.shuffle(found)
        return found

    def take_over(self, node):
        """As a person does it: where a better copy is named, there. The node that is the master then."""
        begun = time.monotonic()
        for _ in range(5):
            done = self.shell.cluster.call(node, FAILOVER)
            if done.returncode == 0:
                break
            better = _BETTER.search(done.stderr)
            assert better, done.stderr
            node = self.shell.cluster.layout.node(better[1])
        else:
            raise AssertionError("no node has the newest copy")
        self.shell.ok("gnt-job", "list", "--no-headers", "-o", "id", node=node)
        self.took.append(time.monotonic() - begun)
        return node

    def settle(self, loads, master):
        """All is well again with that master; nothing that was acknowledged is lost."""
        for load in loads:
            load.finish()
        wait_until("all nodes know the master", lambda: _known_masters(self.shell) == {master.name})
        wait_until("one master daemon is left", lambda: _daemons(self.shell) == [master])
        kit.wait_for_jobs(self.shell)
        submissions = [each for client in self.clients for each in client.submissions]
        kit.check_submissions(self.shell, submissions)
        check_terms(self.shell)

    def finish(self):
        kit.check_rest(self.shell)
        submissions = [each for client in self.clients for each in client.submissions]
        ids = [job for each in submissions for job in each.ids]
        ends = Counter(status for (status,) in kit.job_rows(self.shell, ids, "status"))
        took = f"; a failover took {min(self.took):.1f} to {max(self.took):.1f} s" if self.took else ""
        masters = check_terms(self.shell)
        print(
            f"{self.name}: {sum(self.ends.values())} rounds, {dict(self.ends)}; "
            f"{len(submissions)} submissions, {dict(ends)}; {len(masters)} terms, one master each{took}"
        )


def _known_masters(shell):
    return {shell.ok("gnt-cluster", "getmaster", node=node).strip() for node in shell.nodes}


def _daemons(shell):
    return [node for node in shell.nodes if daemons.is_running(node.paths, daemons.MASTERD)]


def check_terms(shell):
    """Who acted in each term, by the logs of all nodes: one each, and no node ever obeyed a lower term again."""
    callers, leaders = defaultdict(set), defaultdict(set)
    for node in shell.nodes:
        highest = 0
        for path in glob.glob(node.root + "/var/log/ganeti/node-daemon.log"):
            with open(path, encoding="utf-8", errors="replace") as file:
                for line in file:
                    if found := _CALL.match(line.rstrip()):
                        term = int(found[3])
                        assert term >= highest, f"{node.short_name} obeyed term {term} after {highest}: {line}"
                        highest = term
                        callers[term].add(found[2])
                    elif found := _FOLLOWS.match(line.rstrip()):
                        leaders[int(found[2])].add(found[1])
    assert {term: names for term, names in callers.items() if len(names) > 1} == {}
    assert {term: names for term, names in leaders.items() if len(names) > 1} == {}
    assert callers
    assert leaders
    return {term: min(names) for term, names in callers.items()}


def _at_once(shell, nodes):
    """Two people run it at the same moment: node → its end."""
    results = {}
    barrier = threading.Barrier(len(nodes))

    def run(node):
        barrier.wait()
        results[node.name] = shell.cluster.call(node, FAILOVER)

    threads = [threading.Thread(target=run, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _win_of(course, nodes):
    """Of failovers at the same moment exactly one is told that it won, and it did."""
    results = _at_once(course.shell, nodes)
    winners = [node for node in nodes if results[node.name].returncode == 0]
    said = {name: (done.returncode, done.stderr) for name, done in results.items()}
    assert len(winners) <= 1, said
    if winners:
        course.ends["one of two won"] += 1
        return winners[0]
    # neither copy was the newest one: the message says where it is
    assert all(_BETTER.search(text) for _, text in said.values()), said
    course.ends["two were sent to a third"] += 1
    return course.take_over(nodes[0])


def test_the_master_loses_its_power(shell):
    course, asker = Course(shell, "power"), Asker(shell)
    for number in range(ROUNDS):
        loads = course.load(number)
        time.sleep(course.rng.uniform(0.05, 1.0))
        old, others = shell.master, course.others()
        shell.cluster.kill(old.short_name)
        if number % 2:
            new = _win_of(course, others[:2])
        else:
            new = course.take_over(others[0])
            course.ends["alone"] += 1
        shell.cluster.boot(old.short_name)
        done = shell.cluster.call(old, ("ganeti-masterd",))
        assert done.returncode == 11, (done.stdout, done.stderr)
        course.settle(loads, new)
        wait_until("confd knows the master", lambda new=new: asker.says(Kind.MASTER, None, new.name))
    course.finish()


def test_the_master_sleeps_through_a_failover(shell):
    course = Course(shell, "pause")
    for number in range(ROUNDS if ROUNDS > 2 else 1):
        loads = course.load(number)
        time.sleep(course.rng.uniform(0.05, 1.0))
        old = shell.master
        # its node daemon too in every other round: else it ends the master daemon, asleep or not
        asleep = [daemons.MASTERD] + [daemons.NODED] * (number % 2 == 0)
        pids = [daemons.pid_of(old.paths, daemon) for daemon in asleep]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            new = course.take_over(course.others()[0])
        finally:
            for pid in pids:
                if os.path.exists(f"/proc/{pid}"):
                    os.kill(pid, signal.SIGCONT)
        wait_until("the old one ends", lambda old=old: not daemons.is_running(old.paths, daemons.MASTERD))
        course.ends["with its node daemon" if len(pids) > 1 else "alone"] += 1
        course.settle(loads, new)
    course.finish()


#: sizes of the parts, the master's first; whether somebody else can become the master meanwhile
PARTITIONS = {
    "master in the minority": ((2, 3), True),
    "master in the majority": ((3, 2), False),
    "master alone": ((1, 4), True),
    "candidate alone": ((4, 1), False),
    "no majority anywhere": ((1, 2, 2), False),
}


def test_the_network_falls_apart(shell):
    course = Course(shell, "partition")
    kinds = list(PARTITIONS)
    for number in range(ROUNDS):
        kind = kinds[number % len(kinds)]
        sizes, may_move = PARTITIONS[kind]
        old, others = shell.master, course.others()
        groups, rest = [[old, *others[: sizes[0] - 1]]], others[sizes[0] - 1 :]
        for size in sizes[1:]:
            groups.append(rest[:size])
            rest = rest[size:]
        loads = course.load(number)
        time.sleep(course.rng.uniform(0.05, 0.6))
        shell.cluster.partition([[node.short_name for node in group] for group in groups])
        new = old
        try:
            if may_move:
                new = course.take_over(groups[1][0])
            else:
                done = shell.cluster.call(groups[1][0], FAILOVER)
                assert done.returncode == 1, (kind, done.stdout, done.stderr)
                assert "nodes confirm that the master is" in done.stderr, done.stderr
            time.sleep(course.rng.uniform(0.0, 1.0))
        finally:
            shell.cluster.heal()
        course.ends[kind] += 1
        course.settle(loads, new)
    course.finish()


#: where the new master daemon dies: before and after its promise, at its first batch, at the record of the new master
POINTS = (
    "store.before_promise",
    "store.after_promise",
    "store.before_apply",
    "store.after_apply",
    "store.before_apply:2",
)


def test_a_failover_that_is_interrupted_is_repeated(shell):
    points = POINTS if ROUNDS > 2 else POINTS[3:4]
    for number, point in enumerate(points):
        old = shell.master
        job = shell.submit("gnt-debug", "delay", "--no-locks", "0")
        first, second = [node for node in shell.nodes if node != old][:2]
        died = shell.cluster.call(first, ("env", f"GANETI_FAULT={point}", *FAILOVER))
        assert died.returncode != 0, (point, died.stdout, died.stderr)
        assert "run the command again" in died.stderr, died.stderr
        # by the same person, or by somebody who sees that there is no master
        again = (first, second)[number % 2]
        done = shell.cluster.call(again, FAILOVER)
        if done.returncode != 0 and (better := _BETTER.search(done.stderr)):
            again = shell.cluster.layout.node(better[1])
            done = shell.cluster.call(again, FAILOVER)
        assert done.returncode == 0, (point, done.stdout, done.stderr)
        wait_until("all nodes know the master", lambda master=again: _known_masters(shell) == {master.name})
        wait_until("one master daemon is left", lambda master=again: _daemons(shell) == [master])
        assert kit.wait_for_jobs(shell)[job] == "success"
        check_terms(shell)
