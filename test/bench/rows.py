"""The figures of a small cluster, one function each, and the list of all rows. Aims are those of the design."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import rows_exports
import rows_faults
import rows_rest
import rows_sizes
from harness import Bench, Result, Row, diskless, median_time, submit, wait_all
from simulated_nodes import Fleet

from ganeti import paths
from ganeti.calls.node import NodeInfo
from ganeti.testing import vlayout, vroot
from ganeti.testing.vcluster import VirtualCluster, init_command
from ganeti.wire import codec

EMPTY: dict[str, Any] = {"OP_ID": "OP_TEST_DELAY", "duration": 0.0, "on_master": True}


def cli_start(bench: Bench) -> list[Result]:
    def python() -> None:
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)

    return [
        Result("cli_bare_python", median_time(python, 15) * 1000, "ms"),
        Result("cli_version", bench.process(0, "gnt-cluster", "--version") * 1000, "ms", 100),
        Result("cli_list", bench.process(0, "gnt-instance", "list") * 1000, "ms", 100),
        Result("cli_cluster_info", bench.process(0, "gnt-cluster", "info") * 1000, "ms", 100),
    ]


def cluster_init(bench: Bench) -> list[Result]:
    """Time of `gnt-cluster init` itself, on a fresh root beside the cluster of the other rows."""
    with tempfile.TemporaryDirectory(prefix="gnt-bench-init-") as directory:
        bin_dir = bench.cluster(0).layout.bin_dir
        layout = vlayout.plan(directory + "/vc", 1, bin_dir=bin_dir, hypervisors=("fake",))
        os.makedirs(layout.directory)
        layout.save()
        cluster = VirtualCluster(layout, lambda line: None)
        vroot.make(layout, layout.nodes[0], os_definitions="")
        try:
            began = time.perf_counter()
            cluster.run(layout.nodes[0], init_command(layout, ""))
            taken = time.perf_counter() - began
        finally:
            cluster.destroy()
    return [Result("cluster_init", taken, "s", 2)]


def empty_job(bench: Bench) -> list[Result]:
    """Single jobs, one after the other."""
    waits, whole = [], []
    with bench.client(0) as client:
        for _ in range(200):
            began = time.perf_counter()
            job = client.call("SubmitJob", [EMPTY])
            state = wait_all(client, [job])
            whole.append(time.perf_counter() - began)
            ((received, started),) = client.call("QueryJobs", [job], ["received_ts", "opexec"])
            if state != ["success"]:
                raise RuntimeError(f"an empty job ended in {state}")
            waits.append(_seconds(started[0]) - _seconds(received))
    waits.sort()
    whole.sort()
    return [
        Result("job_start_p99", waits[int(len(waits) * 0.99) - 1] * 1000, "ms", 20),
        Result("job_luxi_median", whole[len(whole) // 2] * 1000, "ms"),
        Result("job_cli", bench.process(0, "gnt-debug", "delay", "0") * 1000, "ms", 150),
    ]


def _seconds(stamp: list[int]) -> float:
    return stamp[0] + stamp[1] / 1e6


def empty_jobs_200(bench: Bench) -> list[Result]:
    """One submission; done when every candidate has every result on its disk."""
    rates, calls = [], []
    with bench.client(0) as client:
        for _ in range(3):
            began = time.perf_counter()
            jobs = submit(client, [[EMPTY]] * 200)
            calls.append(time.perf_counter() - began)
            if set(wait_all(client, jobs)) != {"success"}:
                raise RuntimeError("an empty job failed")
            bench.wait_until_stored(0, jobs)
            rates.append(200 / (time.perf_counter() - began))
    return [
        Result("jobs_200", sorted(rates)[1], "jobs/s", 300, more_is_better=True),
        Result("jobs_200_submission", sorted(calls)[1] * 1000, "ms"),
    ]


def idle_waiters(bench: Bench) -> list[Result]:
    """Clients that wait for a change of a job while nothing changes."""
    count, seconds = 500, 10.0
    with bench.client(0) as client, contextlib.ExitStack() as opened:
        job = client.call("SubmitJob", [{**EMPTY, "duration": 3 * seconds}])
        while client.call("QueryJobs", [job], ["status"]) != [["running"]]:
            time.sleep(0.05)
        (info,), entries = client.call("WaitForJobChange", job, ["status"], None, None, 1)
        serial = max((entry[0] for entry in entries), default=0)
        request = {"method": "WaitForJobChange", "args": [job, ["status"], [info], serial, 80]}
        path = os.path.realpath(bench.cluster(0).master().paths.local(paths.QUERY_SOCKET))
        waiters = []
        for _ in range(count):
            waiter = opened.enter_context(socket.socket(socket.AF_UNIX))
            waiter.connect(path)
            waiter.settimeout(60)
            waiter.sendall(codec.dumps(request).encode() + b"\x03")
            waiters.append(waiter)
        time.sleep(1)
        before = bench.daemon_cpu_s(0)
        time.sleep(seconds)
        used = (bench.daemon_cpu_s(0) - before) / seconds * 100
        answered = select.select(waiters, [], [], 0)[0]
        if answered:
            raise RuntimeError(f"{len(answered)} clients did not wait: {answered[0].recv(1000)!r}")
        client.call("CancelJob", job, True)
        began = time.perf_counter()
        for waiter in waiters:
            if not waiter.recv(1000):
                raise RuntimeError("a client was not answered")
        told = time.perf_counter() - began
    return [
        Result("idle_waiters_500", used, "% of a core", 2),
        Result("waiters_500_told", told * 1000, "ms"),
    ]


def fake_creates_100(bench: Bench) -> list[Result]:
    with bench.client(0) as client:
        began = time.perf_counter()
        jobs = submit(client, [[diskless(f"bench{number}.example.com", number % 3 + 1)] for number in range(100)])
        states = wait_all(client, jobs)
        created = 100 / (time.perf_counter() - began)
        if set(states) != {"success"}:
            worst = jobs[next(n for n, state in enumerate(states) if state != "success")]
            raise RuntimeError(f"job {worst}: {client.call('QueryJobs', [worst], ['opresult'])}")
        began = time.perf_counter()
        remove = [
            [{"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": f"bench{n}.example.com", "shutdown_timeout": 0}]
            for n in range(100)
        ]
        wait_all(client, submit(client, remove))
        removed = 100 / (time.perf_counter() - began)
    return [
        Result("fake_creates_100", created, "per s", 50, more_is_better=True),
        Result("fake_removes_100", removed, "per s"),
    ]


def fan_out(bench: Bench) -> list[Result]:
    """Median of calls on connections that are open; the first call makes them."""
    with tempfile.TemporaryDirectory(prefix="gnt-bench-nodes-") as directory:
        fleet = Fleet(directory, 200)
        fleet.prepare()
        with fleet.running():
            cold, warm = asyncio.run(_fan_out(fleet))
    return [
        Result("fan_out_200_first", cold, "s"),
        Result("fan_out_200", statistics.median(warm), "s", 0.5),
        Result("fan_out_200_longest", max(warm), "s"),
    ]


async def _fan_out(fleet: Fleet) -> tuple[float, list[float]]:
    client, taken = fleet.client(), []
    nodes = list(fleet.nodes())
    for _ in range(12):
        began = time.perf_counter()
        replies = await client.many(nodes, NodeInfo())
        taken.append(time.perf_counter() - began)
        wrong = [reply for reply in replies.values() if isinstance(reply, Exception)]
        if wrong:
            raise RuntimeError(f"{len(wrong)} nodes did not answer: {wrong[0]}")
    await client.close()
    return taken[0], taken[1:]


ROWS = (
    Row("cli", "whole commands on a small cluster", 0, cli_start),
    Row("init", "gnt-cluster init", 0, cluster_init),
    Row("job", "one empty job: queue to start, by LUXI, by the command", 0, empty_job),
    Row("jobs_200", "200 empty jobs in one submission, three candidates", 0, empty_jobs_200),
    Row("idle_waiters", "500 clients that wait for a job while nothing changes", 0, idle_waiters),
    Row("fake_creates", "100 diskless instances at once", 0, fake_creates_100),
    Row("fan_out", "a call to 200 simulated node daemons at once", 0, fan_out),
    *rows_sizes.ROWS,
    *rows_rest.ROWS,
    *rows_faults.ROWS,
    *rows_exports.ROWS,
)
