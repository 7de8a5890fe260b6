"""kill -9 of the master daemon with work under way: nothing that was acknowledged is lost."""

import os
import signal
import time

from functional.kit import wait_until

from ganeti.bootstrap import daemons

ROUNDS = 10
ADD = ("gnt-instance", "add", "--no-install", "-o", "busybox-linux", "-t", "file", "--disk", "0:size=1g")


def _kill_master(shell):
    pid = daemons.pid_of(shell.master.paths, daemons.MASTERD)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until("it is gone", lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid), every_s=0.01)


def _is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _disk_files(shell):
    found = []
    for node in shell.nodes:
        for folder, _, files in os.walk(node.root + "/srv/ganeti/file-storage"):
            found += [os.path.join(folder, file) for file in files]
    return found


def test_kill_of_the_master_under_load_loses_nothing(own_cluster):
    shell = own_cluster
    acknowledged = []
    names = []
    for round_number in range(ROUNDS):
        for number in range(10):
            acknowledged.append(shell.submit("gnt-debug", "delay", "--no-locks", "0.05"))
            name = f"r{round_number}i{number}.example"
            names.append(name)
            acknowledged.append(shell.submit(*ADD, "-n", f"node{1 + number % 3}", name))
        time.sleep(0.05 * round_number)  # strike at another moment each time
        _kill_master(shell)
        shell.start_daemon(shell.master, daemons.MASTERD)
        shell.wait_for_answers()
    assert len(set(acknowledged)) == len(acknowledged), "an id was used twice"

    def statuses():
        return {int(job): status for job, status in shell.rows("gnt-job", "id,status")}

    done = ("success", "error", "canceled")
    wait_until("all jobs have ended", lambda: all(s in done for s in statuses().values()), timeout_s=120, every_s=0.5)
    found = statuses()
    assert [job for job in acknowledged if job not in found] == []
    present = [row[0] for row in shell.rows("gnt-instance", "name")]
    created = {name for job, name in zip(acknowledged[1::2], names, strict=True) if found[job] == "success"}
    assert set(present) == created
    shell.ok("gnt-cluster", "verify")
    for name in present:
        shell.submit("gnt-instance", "remove", "-f", name)
    wait_until("all are removed", lambda: shell.rows("gnt-instance", "name") == [], timeout_s=120, every_s=0.5)
    assert _disk_files(shell) == []
    wait_until("equal copies", lambda: len(set(shell.positions())) == 1)
