"""The master's role moves to another node; candidates that are away, slow or damaged."""

import json
import os
import re
import resource
import signal
import socket
import sqlite3
import threading
import time

from functional.kit import receive, wait_until

from ganeti import paths
from ganeti.bootstrap import daemons
from ganeti.store import db, reading
from ganeti.store.api import Batch, Write
from ganeti.store.batch import seal

FAILOVER = ("gnt-cluster", "master-failover")
DISKLESS = ("-t", "diskless", "-o", "busybox-linux", "--no-install", "--no-start")
#: from the command to the first answered list, in seconds
LIMIT_S = 60.0  # how long it takes is a row of tools/bench; here it only must not hang


def _level(shell):
    return len(set(shell.positions())) == 1


def _pid(node, daemon):
    pid = daemons.pid_of(node.paths, daemon)
    assert pid is not None
    return pid


def _kill(node, daemon):
    pid = _pid(node, daemon)
    os.kill(pid, signal.SIGKILL)
    wait_until("it is gone", lambda: not daemons.is_running(node.paths, daemon), every_s=0.01)


def _ssconf(node, name):
    with open(node.paths.local(paths.ssconf(name))) as file:
        return file.read()


def _names_of_master(shell, nodes):
    return {shell.ok("gnt-cluster", "getmaster", node=node).strip() for node in nodes}


def _refused(shell, node, *options):
    done = shell.cluster.call(node, (*FAILOVER, *options))
    assert done.returncode == 1, (done.stdout, done.stderr)
    return done.stderr


def _submit_with_key(node, key, *, duration=0):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(os.path.realpath(node.paths.local(paths.QUERY_SOCKET)))
        body = {"method": "SubmitJob", "args": [[{"OP_ID": "OP_TEST_DELAY", "duration": duration}]], "key": key}
        connection.sendall(json.dumps(body).encode() + b"\x03")
        answer = receive(connection)
    assert answer["success"], answer
    return answer["result"]


def test_the_role_moves_and_comes_back(own_cluster):
    shell = own_cluster
    first, second, _third = shell.nodes
    shell.ok("gnt-instance", "add", "-t", "diskless", "-n", "node3", "-o", "busybox-linux", "x.example")
    job = _submit_with_key(first, "before-the-failover")
    running = shell.submit("gnt-debug", "delay", "60")
    begun = time.monotonic()
    shell.ok(*FAILOVER, node=second)
    assert "x.example" in shell.ok("gnt-instance", "list", node=second)
    assert time.monotonic() - begun < LIMIT_S
    wait_until("all nodes know it", lambda: _names_of_master(shell, shell.nodes) == {second.name})
    for node in shell.nodes:
        shell.ok("gnt-cluster", "master-ping", node=node)
    assert not daemons.is_running(first.paths, daemons.MASTERD)
    assert _submit_with_key(second, "before-the-failover") == job
    assert shell.field("gnt-job", str(running), "status") in ("running", "waiting", "error", "queued")
    shell.ok("gnt-job", "cancel", "--kill", "--yes-do-it", str(running))
    assert "not the master, connect to node2" in shell.cluster.call(first, ("gnt-job", "list")).stderr
    assert "is the master already" in _refused(shell, second)
    shell.ok(*FAILOVER, node=first)
    wait_until("all nodes know it", lambda: _names_of_master(shell, shell.nodes) == {first.name})
    shell.ok("gnt-debug", "delay", "0")
    wait_until("equal copies", lambda: _level(shell))
    shell.ok("gnt-cluster", "verify")


def test_the_master_dies_and_returns_as_a_candidate(own_cluster):
    shell = own_cluster
    first, second, _third = shell.nodes
    done = [shell.submit("gnt-debug", "delay", "--no-locks", "0") for _ in range(10)]
    wait_until("equal copies", lambda: _level(shell))
    shell.cluster.kill("node1")
    begun = time.monotonic()
    shell.ok(*FAILOVER, node=second)
    shell.ok("gnt-instance", "list", node=second)
    assert time.monotonic() - begun < LIMIT_S
    statuses = dict(shell.rows("gnt-job", "id,status"))
    assert all(str(job) in statuses for job in done)
    shell.ok("gnt-debug", "delay", "0")
    # it comes back with its old state, and its daemons are started as ever
    os.unlink(first.off_mark)
    shell.cluster.boot("node1")
    done = shell.cluster.call(first, ("ganeti-masterd",))
    assert done.returncode == 11, (done.stdout, done.stderr)
    # either its copy was brought up to date already, or one of the two that have more than it is named
    assert re.search(r"the master is node2\.vc\.example|node node[23]\.vc\.example has a newer state", done.stderr)
    wait_until("it has the state", lambda: _level(shell))
    wait_until("it knows the master", lambda: _names_of_master(shell, shell.nodes) == {second.name})
    shell.ok("gnt-cluster", "verify")


def test_a_paused_master_is_replaced_and_ends_when_it_wakes(own_cluster):
    shell = own_cluster
    first, second, _ = shell.nodes
    paused = [_pid(first, daemons.MASTERD), _pid(first, daemons.NODED)]
    for pid in paused:
        os.kill(pid, signal.SIGSTOP)
    try:
        shell.ok(*FAILOVER, node=second)
    finally:
        for pid in paused:
            os.kill(pid, signal.SIGCONT)
    wait_until("the old one ends", lambda: not daemons.is_running(first.paths, daemons.MASTERD))
    wait_until("equal copies", lambda: _level(shell))
    wait_until("all nodes know it", lambda: _names_of_master(shell, shell.nodes) == {second.name})


def test_who_may_not_become_master(own_cluster):
    shell = own_cluster
    _first, second, third = shell.nodes
    shell.ok("gnt-node", "modify", "-f", "-C", "no", "node3")
    text = _refused(shell, third)
    assert "no master candidate" in text
    assert second.name in text
    # two candidates: without the other one there is no majority
    shell.cluster.kill("node1")
    shell.stop_daemon(third)
    text = _refused(shell, second)
    assert "1 of 3 nodes" in text
    assert "--no-voting" in text
    assert not daemons.is_running(second.paths, daemons.MASTERD)


def test_an_older_copy_is_refused_and_the_better_one_named(own_cluster):
    shell = own_cluster
    _first, second, third = shell.nodes
    shell.stop_daemon(second)
    for _ in range(3):
        shell.ok("gnt-debug", "delay", "0")
    shell.cluster.kill("node1")
    shell.start_daemon(second)
    text = _refused(shell, second)
    assert "newer state" in text
    assert third.name in text
    # the daemon itself refuses as well
    done = shell.cluster.call(second, ("ganeti-masterd", "--take-over"))
    assert done.returncode == 11
    assert third.name in done.stderr
    shell.ok(*FAILOVER, node=third)
    wait_until("it has the state", lambda: shell.positions()[1] == shell.positions()[2])


def test_no_voting_asks_and_tells_what_may_be_lost(own_cluster):
    shell = own_cluster
    first, second, third = shell.nodes
    shell.ok("gnt-debug", "delay", "0")
    wait_until("equal copies", lambda: _level(shell))
    term = shell.positions()[1].term
    shell.cluster.kill("node1")
    shell.cluster.kill("node3")
    text = _refused(shell, second, "--no-voting")  # nobody types YES
    assert "Nothing was changed" in text
    shell.ok(*FAILOVER, "--no-voting", "--yes-do-it", node=second)
    shell.ok("gnt-instance", "list", node=second)
    assert reading.look(second.paths.local(paths.STATE_DB))[0].term > term
    output = shell.cluster.run(second, ("gnt-debug", "delay", "0"))
    assert "WARNING" in output
    for node in (first, third):
        os.unlink(node.off_mark)
        shell.start_daemon(node)
    wait_until("equal copies", lambda: _level(shell))
    wait_until("all nodes know it", lambda: _names_of_master(shell, shell.nodes) == {second.name})
    wait_until(
        "verify is clean", lambda: shell.cluster.call(second, ("gnt-cluster", "verify")).returncode == 0, every_s=1
    )
    # the master, started anew and alone, waits, says for whom, and can be told to go on all the same
    assert "is the master already" in _refused(shell, second)
    for node in (first, third):
        shell.cluster.kill(node.short_name)
    shell.stop_daemon(second, daemons.MASTERD)
    shell.start_daemon(second, daemons.MASTERD)
    for options in ((), ("--no-voting",)):  # nobody types YES
        text = _refused(shell, second, *options)
        assert "takes no work: this node is not the master yet: only 1 of 3" in text
        assert first.name in text
    shell.ok(*FAILOVER, "--no-voting", "--yes-do-it", node=second)
    assert "WARNING" in shell.cluster.run(second, ("gnt-debug", "delay", "0"))


def test_two_at_once_make_one_master(own_cluster):
    shell = own_cluster
    _first, second, third = shell.nodes
    results = {}

    def run(node):
        results[node.name] = shell.cluster.call(node, FAILOVER)

    threads = [threading.Thread(target=run, args=(node,)) for node in (second, third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 in [done.returncode for done in results.values()], results

    def masters():
        return [node for node in shell.nodes if daemons.is_running(node.paths, daemons.MASTERD)]

    wait_until("one master daemon is left", lambda: len(masters()) == 1)
    (winner,) = masters()
    wait_until("all nodes know it", lambda: _names_of_master(shell, shell.nodes) == {winner.name})
    shell.ok("gnt-debug", "delay", "0")


def test_a_dead_daemon_of_the_master_is_started_again(own_cluster):
    shell = own_cluster
    first, second, _ = shell.nodes
    _kill(first, daemons.MASTERD)
    assert shell.cluster.call(second, ("gnt-cluster", "master-ping")).returncode == 1
    done = shell.cluster.call(first, FAILOVER)
    assert done.returncode == 0
    assert "the master already" in done.stderr
    shell.ok("gnt-cluster", "master-ping", node=second)


# Candidates


def test_a_candidate_that_was_off_catches_up(own_cluster):
    shell = own_cluster
    shell.cluster.kill("node3")
    for _ in range(5):
        shell.submit("gnt-debug", "delay", "--no-locks", "0")
    shell.ok("gnt-instance", "add", "-t", "diskless", "-n", "node2", "-o", "busybox-linux", "x.example")
    shell.cluster.boot("node3")
    wait_until("equal copies", lambda: _level(shell))
    wait_until("its files are right", lambda: _ssconf(shell.nodes[2], "instance_list") == "x.example\n")
    shell.ok("gnt-cluster", "verify")


def _verify(shell):
    done = shell.cluster.call(shell.master, ("gnt-cluster", "verify"))
    return done.returncode, done.stdout + done.stderr


def _move_aside(node):
    state = node.paths.local(paths.STATE_DB)
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(state + suffix):
            os.rename(state + suffix, f"{state}.aside{suffix}")


def test_a_damaged_copy_is_refused_and_filled_again(own_cluster):
    shell = own_cluster
    third = shell.nodes[2]
    shell.stop_daemon(third)
    state = third.paths.local(paths.STATE_DB)
    size = os.path.getsize(state)
    with open(state, "r+b") as file:
        for place in range(0, size, 512):
            file.seek(place)
            file.write(b"\xa5" * 64)
    shell.start_daemon(third)
    shell.ok("gnt-debug", "delay", "0")

    def is_told():
        status, text = _verify(shell)
        return status == 1 and "damaged" in text and "state.db" in text

    wait_until("verify tells it", is_told, every_s=0.5)
    done = shell.cluster.call(third, FAILOVER)
    assert done.returncode == 2
    assert "aside" in done.stderr
    _move_aside(third)
    wait_until("the copy is filled", lambda: _level(shell))
    wait_until("verify is clean", lambda: _verify(shell)[0] == 0, every_s=0.5)


def test_a_copy_that_differs_in_one_letter_is_found(own_cluster):
    """The file is well formed and its position is right: only its content betrays it."""
    shell = own_cluster
    third = shell.nodes[2]
    shell.ok("gnt-cluster", "modify", "-B", "vcpus=3")
    wait_until("equal copies", lambda: _level(shell))
    shell.stop_daemon(third)
    with sqlite3.connect(third.paths.local(paths.STATE_DB)) as connection:
        changed = connection.execute(
            "UPDATE rows SET value = replace(value, '\"vcpus\":3', '\"vcpus\":4') WHERE key LIKE 'cluster/%'"
        )
        assert changed.rowcount == 1
    connection.close()
    shell.start_daemon(third)
    wait_until("equal positions", lambda: _level(shell))
    status, text = _verify(shell)
    assert status == 1
    assert third.name in text
    assert "differs" in text
    _move_aside(third)
    wait_until("the copy is filled", lambda: _level(shell))
    wait_until("verify is clean", lambda: _verify(shell)[0] == 0, every_s=0.5)


def test_a_copy_off_the_chain_gets_a_snapshot(own_cluster):
    """It has a batch that nobody else has, as after a mastership whose end was never published."""
    shell = own_cluster
    third = shell.nodes[2]
    wait_until("equal copies", lambda: _level(shell))
    shell.stop_daemon(third)
    path = third.paths.local(paths.STATE_DB)
    copy = db.Database.open(path)
    position = copy.position
    tail = Batch(position.term, position.serial + 1, time.time(), (Write("meta", "tail", "1"),))
    copy.apply([seal(tail, position.hash)])
    copy.close()
    shell.start_daemon(third)
    shell.ok("gnt-debug", "delay", "0")
    wait_until("the copy is replaced", lambda: _level(shell))
    assert reading.look_rows(path, "meta", prefix="tail") == []
    shell.ok("gnt-cluster", "verify")


def test_a_stopped_node_daemon_holds_up_nobody(own_cluster):
    shell = own_cluster
    third = shell.nodes[2]
    pid = _pid(third, daemons.NODED)
    os.kill(pid, signal.SIGSTOP)
    try:
        slowest, jobs = 0.0, []
        needy = shell.submit("gnt-instance", "add", *DISKLESS, "-n", "node3", "web1.vc.example")
        begun = time.monotonic()
        while time.monotonic() - begun < 8:
            before = time.monotonic()
            jobs.append(shell.submit("gnt-debug", "delay", "--no-locks", "0"))
            slowest = max(slowest, time.monotonic() - before)
        assert slowest < 1.0
        output = shell.ok("gnt-debug", "delay", "--no-locks", "0")
        assert "WARNING" in output
        assert third.name in output
        # what needs that node ends by itself while it is still silent, and holds nothing any more
        wait_until("the end of the job", lambda: shell.field("gnt-job", str(needy), "status") == "error")
        assert third.name in shell.field("gnt-job", str(needy), "opresult")
        assert shell.rows("gnt-instance", "name") == []
        shell.ok("gnt-instance", "add", *DISKLESS, "-n", "node2", "web1.vc.example")
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until("equal copies", lambda: _level(shell))
    statuses = dict(shell.rows("gnt-job", "id,status"))
    assert all(statuses[str(job)] == "success" for job in jobs)
    shell.ok("gnt-cluster", "verify")


def test_a_node_whose_disk_takes_no_writes_begins_nothing(own_cluster):
    """No write to any file succeeds in its node daemon, as on a file system that became read-only."""
    shell = own_cluster
    third = shell.nodes[2]
    pid = _pid(third, daemons.NODED)
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        text = shell.fails("gnt-instance", "add", *DISKLESS, "-n", "node3", "web1.vc.example")
        assert third.name in text
        assert shell.rows("gnt-instance", "name") == []
        text = shell.fails("gnt-debug", "delay", "-n", "node3", "--no-master", "0")
        assert third.name in text
        assert "cannot write the request table" in text
        # the others do not notice, changes go on
        shell.ok("gnt-instance", "add", *DISKLESS, "-n", "node2", "web2.vc.example")
        status, text = _verify(shell)
        assert status == 1
        assert third.name in text
        assert not _level(shell)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    shell.ok("gnt-cluster", "redist-conf")
    wait_until("equal copies", lambda: _level(shell))
    assert _pid(third, daemons.NODED) == pid
    shell.ok("gnt-instance", "add", *DISKLESS, "-n", "node3", "web1.vc.example")
    wait_until("verify is clean", lambda: _verify(shell)[0] == 0, every_s=0.5)
