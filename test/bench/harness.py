"""What the rows share: clusters, whole processes, the local protocol, and how a figure is told."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from synthetic import load

from ganeti import errors, paths
from ganeti.luxi.client import Client
from ganeti.master.state import job_key
from ganeti.model.jobs import Job
from ganeti.model.types import JobId
from ganeti.testing.vcluster import VirtualCluster
from ganeti.testing.vlayout import Layout
from ganeti.wire import codec

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
OS_DEFINITIONS = f"{REPOSITORY}/doc/examples/os"
#: instances of the clusters that rows are measured on, and how the names of figures say it
SIZES = {0: "", 200: "200", 2000: "2k", 20000: "20k"}
FINAL = ("success", "error", "canceled")


@dataclass(frozen=True)
class Result:
    """One figure. `aim` None: told for comparison only."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    more_is_better: bool = False

    @property
    def met(self) -> bool | None:
        if self.aim is None:
            return None
        return self.value >= self.aim if self.more_is_better else self.value <= self.aim

    def line(self) -> str:
        aim = "" if self.aim is None else f"aim {'>=' if self.more_is_better else '<='} {self.aim:g} {self.unit}"
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return f"{self.name:28} {self.value:10.4g} {self.unit:8} {aim:20} {verdict}".rstrip()

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "value": self.value, "unit": self.unit, "aim": self.aim, "met": self.met}


@dataclass(frozen=True)
class Row:
    """`size`: synthetic instances of the cluster it is measured on, one of `SIZES` (20000 stands for --scale)."""

    name: str
    title: str
    size: int
    measure: Callable[[Bench], list[Result]]


class Bench:
    """Makes a cluster when the first row of its size asks for it; one at a time unless sizes are compared."""

    def __init__(self, directory: str, *, large: int) -> None:
        self._directory = directory
        self._large = large
        self._clusters: dict[int, VirtualCluster] = {}
        self._made = 0

    @contextlib.contextmanager
    def beside(self, size: int) -> Iterator[None]:
        """A cluster of that size for as long, and those that are there stay."""
        self._clusters[size] = self._make(size)
        try:
            yield
        finally:
            self._clusters.pop(size).destroy()

    def cluster(self, size: int) -> VirtualCluster:
        """Three candidates, `fake` hypervisor, that many synthetic instances."""
        if size not in self._clusters:
            self.close()
            self._clusters[size] = self._make(size)
        return self._clusters[size]

    def _make(self, size: int) -> VirtualCluster:
        count = size if size < 20000 else self._large
        print(f"-- a cluster with {count} instances", flush=True)
        self._made += 1
        directory = f"{self._directory}/{self._made}-n{size}"
        try:
            made = VirtualCluster.create(
                directory, count=3, bin_dir=os.path.dirname(sys.executable), report=lambda line: None,
                hypervisors=("fake",), os_definitions=OS_DEFINITIONS,
            )  # fmt: skip
        except errors.GanetiError:
            VirtualCluster(Layout.load(directory), lambda line: None).destroy()
            raise
        if count:
            made.stop()
            load(made, count)
            made.start()
            with _client(made) as client:
                _wait_for_leader(client)
        return made

    def wait_for_leader(self, size: int) -> None:
        """Until the master takes jobs."""
        with self.client(size) as client:
            _wait_for_leader(client)

    def client(self, size: int) -> Client:
        return _client(self.cluster(size))

    def process(self, size: int, *argv: str, times: int = 15) -> float:
        """Median seconds of a whole command. Raises RuntimeError when it fails."""
        cluster = self.cluster(size)
        environment = cluster.layout.environment(cluster.master())
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
            taken.append(time.perf_counter() - began)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr}")
        return statistics.median(taken)

    def wait_until_stored(self, size: int, jobs: list[JobId], *, limit_s: float = 30) -> None:
        """Until the state files of all candidates have these jobs as ended. Raises RuntimeError."""
        deadline = time.monotonic() + limit_s
        for node in self.cluster(size).layout.nodes:
            with contextlib.closing(
                sqlite3.connect(f"file:{node.paths.local(paths.STATE_DB)}?mode=ro", uri=True)
            ) as file:
                while not all(_is_stored(file, job) for job in reversed(jobs)):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"{node.name} does not have all results after {limit_s:g} s")

    def daemon_memory_mib(self, size: int) -> float:
        """Resident memory of masterd."""
        with open(f"/proc/{self.masterd(size)}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))

    def daemon_cpu_s(self, size: int) -> float:
        """Processor time that masterd has used."""
        with open(f"/proc/{self.masterd(size)}/stat", encoding="utf-8", errors="replace") as file:
            words = file.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def masterd(self, size: int) -> int:
        """Its process. Raises RuntimeError when it does not run."""
        master = self.cluster(size).master()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    environ = file.read().split(b"\0")
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    command = file.read()
                if f"GANETI_ROOTDIR={master.root}".encode() in environ and b"ganeti-masterd" in command:
                    return int(pid)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        raise RuntimeError("no master daemon runs")

    def close(self, *, keep: bool = False) -> None:
        for cluster in self._clusters.values():
            if keep:
                print(f"kept: tools/vcluster destroy {cluster.layout.directory}")
            else:
                cluster.destroy()
        self._clusters.clear()


def _client(cluster: VirtualCluster) -> Client:
    return Client(paths=cluster.master().paths, environ={})


def _wait_for_leader(client: Client, *, limit_s: float = 60) -> None:
    """Until the master takes jobs: after its start it first collects the promises of the other candidates."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            client.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": True}])
        except errors.JobQueueError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _is_stored(file: sqlite3.Connection, job: JobId) -> bool:
    found = file.execute("SELECT value FROM rows WHERE tbl = 'job' AND key = ?", (job_key(job),)).fetchone()
    return found is not None and codec.unpack(found[0].encode(), Job).status.is_final


def wait_all(client: Client, jobs: list[JobId], *, limit_s: float = 300) -> list[str]:
    """Final states, in order; waits for the last one first, so that polling costs little. Raises RuntimeError."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        states = [row[0] for row in client.call("QueryJobs", jobs, ["status"])]
        waiting = [job for job, state in zip(jobs, states, strict=True) if state not in FINAL]
        if not waiting:
            return states
        try:
            client.call("WaitForJobChange", waiting[-1], ["status"], ["queued"], None, 10)
        except errors.JobLost:
            continue
    raise RuntimeError(f"jobs are not done after {limit_s:g} s")


def submit(client: Client, jobs: list[list[dict[str, Any]]]) -> list[JobId]:
    """Ids. Raises RuntimeError when one was refused."""
    answers = client.call("SubmitManyJobs", jobs)
    refused = [answer for fine, answer in answers if not fine]
    if refused:
        raise RuntimeError(f"refused: {refused[0]}")
    return [answer for _, answer in answers]


def diskless(name: str, node: int) -> dict[str, Any]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "mode": "create",
        "disk_template": "diskless", "os_type": "busybox-linux", "no_install": True, "hypervisor": "fake",
        "pnode": f"node{node}.vc.example", "nics": [], "beparams": {"memory": 4},
        "ip_check": False, "name_check": False, "ignore_ipolicy": True, "disks": [],
    }  # fmt: skip


def median_time(action: Callable[[], object], times: int) -> float:
    """Seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)
