"""A node daemon that is killed while an OS script runs."""

import os
import signal

from functional.kit import wait_until

from ganeti import paths, settings
from ganeti.bootstrap import daemons

SCRIPT = """#!/bin/sh
echo $$ > "$0.pid"
sleep 300 &
while :; do echo x >> "$DISK_0_PATH"; sleep 0.05; done
"""


def define_os(node, script):
    directory = node.paths.local(f"{settings.OS_SEARCH_PATH[0]}/endless")
    os.makedirs(directory)
    for name, text in {"ganeti_api_version": "20\n", "create": script}.items():
        with open(f"{directory}/{name}", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{directory}/{name}", 0o755)
    return f"{directory}/create.pid"


def group(leader):
    """Processes of that session that live."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                words = file.read().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(words[3]) == leader and words[0] not in "ZX":
            found.append(int(name))
    return found


def kill(node, daemon):
    os.kill(daemons.pid_of(node.paths, daemon), signal.SIGKILL)
    wait_until("it is dead", lambda: not daemons.is_running(node.paths, daemon), every_s=0.01)


def leader_of(mark):
    with open(mark, encoding="utf-8") as file:
        return int(file.read() or 0)


def begin(shell):
    """A job whose script runs on the second node; where the script tells its process."""
    mark = [define_os(node, SCRIPT) for node in shell.nodes][1]
    words = ("-o", "endless", "-t", "file", "--disk", "0:size=1g", "-n", "node2", "web1.example.com")
    job = shell.submit("gnt-instance", "add", *words)
    wait_until("the script runs", lambda: os.path.exists(mark) and len(group(leader_of(mark))) >= 2)
    return job, mark


def check_nothing_is_left(shell, job, status):
    node = shell.nodes[1]
    wait_until("the job ends", lambda: shell.field("gnt-job", str(job), "status") == status)
    volumes = node.paths.local(settings.FILE_STORAGE_DIR)
    wait_until("its disk is gone", lambda: not any(files for _, _, files in os.walk(volumes)))
    assert os.listdir(node.paths.local(paths.SCRIPTS_DIR)) == []
    shell.ok("gnt-cluster", "verify")
    assert shell.rows("gnt-instance", "name") == []


def test_script_of_a_killed_node_daemon_does_not_run_beside_its_repeat(own_cluster):
    shell, node = own_cluster, own_cluster.nodes[1]
    job, mark = begin(shell)
    first = leader_of(mark)
    kill(node, daemons.NODED)
    assert len(group(first)) >= 2, "the script shall outlive its daemon, else this test shows nothing"
    shell.start_daemon(node)
    assert group(first) == []
    # the master asks for it again
    wait_until("the script runs again", lambda: leader_of(mark) not in (0, first))
    shell.ok("gnt-job", "cancel", "--kill", "--yes-do-it", str(job))
    wait_until("the second one is ended too", lambda: group(leader_of(mark)) == [])
    check_nothing_is_left(shell, job, "canceled")


def test_script_of_a_killed_node_daemon_does_not_run_beside_its_undo(own_cluster):
    shell, node = own_cluster, own_cluster.nodes[1]
    job, mark = begin(shell)
    first = leader_of(mark)
    kill(shell.master, daemons.MASTERD)
    kill(node, daemons.NODED)
    shell.start_daemon(shell.master, daemons.MASTERD)
    shell.wait_for_answers()
    wait_until("the job ends", lambda: shell.field("gnt-job", str(job), "status") == "error")
    assert len(group(first)) >= 2
    shell.start_daemon(node)
    assert group(first) == []
    check_nothing_is_left(shell, job, "error")
