"""Load on a real cluster by clients that never give up, and what must hold when it is over."""

import contextlib
import os
import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import simplejson
from functional import migration_kit
from functional.kit import LIMIT_S, Shell, receive, wait_until

from ganeti import paths
from ganeti.testing import vprocess

FINAL = ("success", "error", "canceled")
#: a client that got no answer for so long has found a mistake, in seconds
PATIENCE_S = 120.0

Op = dict[str, object]


class NoAnswer(Exception):
    """Whether the request was taken is not known."""


@dataclass
class Submission:
    """Some jobs under one key; each opcode's comment names it."""

    key: str
    jobs: list[list[Op]]
    answers: list[list[object]] = field(default_factory=list)  # every answer that came
    attempts: int = 0

    def __post_init__(self) -> None:
        for number, ops in enumerate(self.jobs):
            ops[0]["comment"] = self.mark(number)

    def mark(self, number: int) -> str:
        return f"{self.key} job {number}"

    @property
    def ids(self) -> list[int]:
        assert all(fine for fine, _ in self.answers[0]), self.answers[0]
        return [int(number) for _, number in self.answers[0]]


def create(name: str, node: str, template: str) -> Op:
    op: Op = {
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "disk_template": template, "os_type": "busybox-linux",
        "no_install": True, "hypervisor": "fake", "pnode": node, "nics": [{}], "beparams": {"memory": 4},
        "ip_check": False, "name_check": False, "ignore_ipolicy": True, "start": False,
        "disks": [] if template == "diskless" else [{"size": 128}],
    }  # fmt: skip
    return op


class Client:
    """One that repeats every request until it is answered, and that loses answers when told to."""

    def __init__(self, shell: Shell, rng: random.Random, *, loses: float = 0.0) -> None:
        """`loses`: the share of attempts whose answer does not come."""
        self._shell, self._rng, self._loses = shell, rng, loses
        self.submissions: list[Submission] = []
        self.lost = 0

    def submit(self, submission: Submission) -> None:
        """Until an answer was read. Raises AssertionError when it takes too long."""
        self.submissions.append(submission)
        deadline = time.monotonic() + PATIENCE_S
        while not submission.answers:
            assert time.monotonic() < deadline, f"{submission.key} is not answered"
            self.attempt(submission)

    def attempt(self, submission: Submission) -> None:
        """One; the answer is kept, unless it is one of those that get lost."""
        submission.attempts += 1
        message = {"method": "SubmitManyJobs", "args": [submission.jobs], "key": submission.key}
        fate = self._rng.random() / self._loses if self._loses else 1.0
        try:
            reply = self._exchange(simplejson.dumps(message).encode() + b"\x03", gives_up=fate < 0.5)
        except NoAnswer:
            time.sleep(0.02)
            return
        if fate < 1.0:
            self.lost += 1
        elif reply["success"]:
            submission.answers.append(list(reply["result"]))
        else:
            time.sleep(0.05)  # no majority yet, or no master

    def _exchange(self, message: bytes, *, gives_up: bool) -> dict[str, object]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            try:
                connection.connect(os.path.realpath(self._shell.master.paths.local(paths.QUERY_SOCKET)))
                connection.sendall(message)
                if gives_up:
                    time.sleep(self._rng.choice((0.0, 0.002, 0.02)))
                    self.lost += 1
                    raise NoAnswer
                return receive(connection)
            except (OSError, AssertionError) as err:
                raise NoAnswer from err


def job_rows(shell: Shell, ids: list[int], *fields: str) -> list[list[object]]:
    """Of all jobs when `ids` is empty."""
    reply = shell.luxi("QueryJobs", ids, list(fields))
    assert reply["success"], reply
    return list(reply["result"])


def wait_for_jobs(shell: Shell) -> dict[int, str]:
    """Final status of every job."""
    found: dict[int, str] = {}

    def all_ended() -> bool:
        found.clear()
        found.update({int(job): str(status) for job, status in job_rows(shell, [], "id", "status")})
        return all(status in FINAL for status in found.values())

    wait_until("all jobs have ended", all_ended, timeout_s=120)
    return found


class Burst(threading.Thread):
    """Submissions one after the other, beside whatever happens meanwhile."""

    def __init__(self, client: Client, submissions: list[Submission], pause_s: float) -> None:
        super().__init__()
        self._client, self._submissions, self._pause_s = client, submissions, pause_s
        self.error: AssertionError | None = None

    def run(self) -> None:
        try:
            for submission in self._submissions:
                self._client.submit(submission)
                time.sleep(self._pause_s)
        except AssertionError as err:
            self.error = err

    def finish(self) -> None:
        self.join()
        if self.error is not None:
            raise self.error


# What must hold when nothing is under way


def check_submissions(shell: Shell, submissions: list[Submission]) -> None:
    """Each was taken exactly once, and every answer was the same."""
    for submission in submissions:
        assert all(answer == submission.answers[0] for answer in submission.answers), submission
    rows = job_rows(shell, [], "id", "ops")
    marks = Counter(ops[0].get("comment") for _, ops in rows)
    ours = [submission.mark(number) for submission in submissions for number in range(len(submission.jobs))]
    double = [mark for mark in ours if marks[mark] > 1]
    assert not double, f"there are two jobs for each of {double}"
    by_id = {int(job): ops[0].get("comment") for job, ops in rows}
    for submission in submissions:
        for number, job in enumerate(submission.ids):
            assert by_id.get(job) == submission.mark(number), f"job {job} of {submission.key} is lost"


def check_rest(shell: Shell) -> None:
    """Nothing is left of what has ended: no file, process, port, lock, record, debt; verify has no complaint."""
    wait_until("no lock is held", lambda: locks(shell) == [])
    instances = shell.rows("gnt-instance", "name,uuid,pnode,disk_template,status")
    for node in shell.nodes:
        own = [row for row in instances if row[2] == node.name]
        assert guests(node) == sorted((row[0], row[1]) for row in own if row[4] == "running")
        assert [row for row in own if row[4] not in ("running", "ADMIN_down")] == []
        wanted = disks(row[0] for row in own if row[3] == "file")
        # what a node owes is paid some moments after the job's end
        _await_equal(f"files of {node.short_name}", lambda at=node: below(at.root + "/srv/ganeti/file-storage"), wanted)
        assert migration_kit.waiting_ports(node.address) == []
    shared = os.path.realpath(shell.nodes[0].root + "/srv/ganeti/shared-file-storage")
    _await_equal("shared files", lambda: below(shared), disks(row[0] for row in instances if row[3] == "sharedfile"))
    wait_until("only daemons run", lambda: strangers(shell) == [])
    wait_until("equal copies", lambda: len(set(shell.positions())) == 1)
    # equal, and known to the master to be so: one that was cut off is not counted before it has answered
    wait_until("no complaint", lambda: shell.cluster.call(shell.master, ("gnt-cluster", "verify")).returncode == 0)


def _await_equal(what: str, look, wanted: list[str]) -> None:
    """Fails with the difference."""
    limit = time.monotonic() + LIMIT_S
    while look() != wanted and time.monotonic() < limit:
        time.sleep(0.1)
    assert look() == wanted, what


def locks(shell: Shell) -> list[object]:
    reply = shell.luxi("Query", "lock", ["name", "mode", "owner", "pending"], None)
    assert reply["success"], reply
    rows = [[value for _, value in row] for row in dict(reply["result"])["data"]]  # type: ignore[call-overload]
    return [row for row in rows if row[2] or row[3]]


def guests(node) -> list[tuple[str, str]]:
    """(name, uuid) of what the fake hypervisor has on a node; half a migration is no guest."""
    directory = node.paths.local(paths.FAKE_DIR)
    found = []
    for name in os.listdir(directory):
        with open(f"{directory}/{name}") as file:
            guest = simplejson.load(file)
        assert not guest.get("incoming"), guest
        assert not guest.get("has_departed"), guest
        found.append((guest["name"], guest["uuid"]))
    return sorted(found)


def below(directory: str) -> list[str]:
    found = []
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name != ".mirrors"]  # of the mirrors that virtual nodes have
        found += [os.path.relpath(f"{folder}/{name}", directory) for name in names]
    return sorted(found)


def disks(names) -> list[str]:
    """The files of instances with one disk each."""
    return sorted(f"{name}/{file}" for name in names for file in ("disk0", "disk0.owner"))


def strangers(shell: Shell) -> list[str]:
    """Processes of the nodes that are no daemons, and daemons of which there are two."""
    found = []
    for node in shell.nodes:
        titles = Counter()
        with contextlib.suppress(FileNotFoundError):
            titles.update(process.title for process in vprocess.of_root(node.root))
        wanted = {"ganeti-noded", "ganeti-confd"} | (
            {"ganeti-masterd", "ganeti-rapi"} if node == shell.master else set()
        )
        found += [f"{title} x {count} on {node.short_name}" for title, count in titles.items() if title not in wanted]
        found += [f"{count} {title} on {node.short_name}" for title, count in titles.items() if count > 1]
    return found
