"""How long it takes until all is well again: a new master, and a master that died."""

from __future__ import annotations

import os
import signal
import statistics
import time
from functools import partial
from typing import Any

from harness import FINAL, SIZES, Bench, Result, Row, submit, wait_all

from ganeti import errors, paths
from ganeti.bootstrap import daemons
from ganeti.luxi.client import Client
from ganeti.testing.vlayout import VirtualNode

#: instances that are being created when the master dies; all of them run at once
UNDER_WAY = 20
#: how long the first of them may take, in seconds
BEGUN_WITHIN_S = 60.0


def failover(bench: Bench, size: int) -> list[Result]:
    """From the command to the first answered list."""
    cluster = bench.cluster(size)
    taken = []
    for _ in range(5):
        old = cluster.master()
        new = next(node for node in cluster.layout.nodes if node != old)
        began = time.perf_counter()
        cluster.run(new, ("gnt-cluster", "master-failover"))
        cluster.run(new, ("gnt-instance", "list", "--no-headers", "-o", "name"))
        taken.append(time.perf_counter() - began)
        bench.wait_for_leader(size)
    return [
        Result(f"failover_{SIZES[size]}", statistics.median(taken), "s", 3),
        Result(f"failover_longest_{SIZES[size]}", max(taken), "s"),
    ]


def recovery(bench: Bench, size: int) -> list[Result]:
    """After kill -9 with creations half done: until the locks are free and the nodes hold nothing of them."""
    found = [_recover(bench, size, number) for number in range(3)]
    return [
        Result(f"recovery_{SIZES[size]}", statistics.median(after for _, after, _ in found), "s", 1),
        Result(f"recovery_restart_{SIZES[size]}", statistics.median(restart for restart, _, _ in found), "s"),
        Result(f"recovery_jobs_{SIZES[size]}", statistics.median(struck for _, _, struck in found), "jobs"),
    ]


def _recover(bench: Bench, size: int, number: int) -> tuple[float, float, int]:
    """Seconds of the restart, seconds from then on, jobs that were half done."""
    cluster = bench.cluster(size)
    names = [f"crash{number}-{each}.bench.example" for each in range(UNDER_WAY)]
    with bench.client(size) as client:
        jobs = submit(client, [[_create(name, each % 3 + 1)] for each, name in enumerate(names)])
        limit = time.monotonic() + BEGUN_WITHIN_S
        while sum(len(_volumes(node, names)) for node in cluster.layout.nodes) < UNDER_WAY // 3:
            if time.monotonic() > limit:
                raise RuntimeError(f"creations do not begin: {client.call('QueryJobs', jobs[:1], ['opresult'])}")
            time.sleep(0.002)
        os.kill(bench.masterd(size), signal.SIGKILL)
    master = cluster.master()
    while daemons.is_running(master.paths, daemons.MASTERD):
        time.sleep(0.002)
    began = time.perf_counter()
    daemons.start(master.paths, daemons.MASTERD, bin_dir=cluster.layout.bin_dir)
    restarted = time.perf_counter()
    with bench.client(size) as client:
        while not _is_clean(client, jobs):
            time.sleep(0.01)
        ended = time.perf_counter()
        rows = client.call("QueryJobs", jobs, ["status", "opresult", "ops"])
        struck = [ops[0]["instance_name"] for status, result, ops in rows if "the master stopped" in str(result)]
        left = [name for node in cluster.layout.nodes for name in _volumes(node, struck)]
        if left:
            raise RuntimeError(f"volumes are left of {left}")
        present = [ops[0]["instance_name"] for status, _, ops in rows if status == "success"]
        wait_all(client, submit(client, [[_remove(name)] for name in present]))
    return restarted - began, ended - restarted, len(struck)


def _is_clean(client: Client, jobs: list[Any]) -> bool:
    try:
        if not all(row[0] in FINAL for row in client.call("QueryJobs", jobs, ["status"])):
            return False
        rows = client.call("Query", "lock", ["owner", "pending"], None)["data"]
    except errors.JobQueueError:
        return False
    return not any(owner[1] or pending[1] for owner, pending in rows)


def _volumes(node: VirtualNode, names: list[str]) -> list[str]:
    directory = node.paths.local(paths.FILE_STORAGE_DIR.path)
    return [name for name in names if os.path.exists(f"{directory}/{name}")]


def _create(name: str, node: int) -> dict[str, Any]:
    return {
        "OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "disk_template": "file", "disks": [{"size": 16}] * 2,
        "os_type": "busybox-linux", "no_install": True, "hypervisor": "fake", "pnode": f"node{node}.vc.example",
        "nics": [{}], "beparams": {"memory": 128}, "ip_check": False, "name_check": False,
        "ignore_ipolicy": True,  # so many disks of a usual size may be more than there is space
    }  # fmt: skip


def _remove(name: str) -> dict[str, Any]:
    return {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name, "shutdown_timeout": 0}


ROWS = tuple(
    Row(f"{name}_{SIZES[size]}", f"{title}, at {size:,} instances", size, partial(measure, size=size))
    for name, title, measure in (
        ("failover", "gnt-cluster master-failover, command to first answered list", failover),
        ("recovery", "a master is killed with jobs half done: restart to free locks and clean nodes", recovery),
    )
    for size in SIZES
    if size
)
