"""The same figures at 200, 2,000 and 20,000 instances."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

from harness import SIZES, Bench, Result, Row, diskless, median_time, wait_all

from ganeti.luxi.client import Client

TEN_FIELDS = [
    "name", "pnode", "os", "hypervisor", "admin_state", "be/maxmem", "be/vcpus", "disk.sizes", "nic.macs", "tags",
]  # fmt: skip
LARGEST = 20000


def _aim(size: int, value: float) -> float | None:
    return value if size == LARGEST else None


def lists(bench: Bench, size: int) -> list[Result]:
    mark = SIZES[size]
    with bench.client(size) as client:
        names = median_time(lambda: client.call("Query", "instance", ["name"], None), 7)
        ten = median_time(lambda: client.call("Query", "instance", TEN_FIELDS, None), 5)
        live = median_time(lambda: client.call("Query", "instance", ["name", "pnode", "status"], None), 5)
    command = bench.process(size, "gnt-instance", "list", "--no-headers", "-o", "name,pnode", times=5)
    info = bench.process(size, "gnt-instance", "info", "inst77.bench.example", times=7)
    return [
        Result(f"list_names_{mark}", names, "s", _aim(size, 0.3)),
        Result(f"list_ten_fields_{mark}", ten, "s", _aim(size, 1.0)),
        Result(f"list_status_{mark}", live, "s"),
        Result(f"list_cli_{mark}", command, "s"),
        Result(f"info_one_{mark}", info * 1000, "ms", _aim(size, 150)),
        Result(f"masterd_memory_{mark}", bench.daemon_memory_mib(size), "MiB", _aim(size, 400)),
    ]


def verify(bench: Bench, size: int) -> list[Result]:
    """Of a cluster without fault: the command fails when it finds one."""
    taken = bench.process(size, "gnt-cluster", "verify", times=3)
    return [Result(f"verify_{SIZES[size]}", taken, "s", _aim(size, 5))]


def config_change(bench: Bench, size: int) -> list[Result]:
    """A change of one instance's processors, and an instance more, submit → done."""
    mark = SIZES[size]
    with bench.client(size) as client:
        numbers = iter(range(1, 10000))

        def create() -> None:
            _run(client, diskless(f"more{next(numbers)}.bench.example", next(numbers) % 3 + 1))

        _settle(client)
        changed = median_time(lambda: _change(client, next(numbers)), 60)
        created = median_time(create, 15)
    return [Result(f"config_change_{mark}", changed * 1000, "ms"), Result(f"create_{mark}", created * 1000, "ms")]


def config_change_ratio(bench: Bench) -> list[Result]:
    """Large against small, by turns: a host that is slow for a minute is slow for both."""
    small, times = min(_SOME), 150
    bench.cluster(LARGEST)
    with bench.beside(small), bench.client(small) as less, bench.client(LARGEST) as more:
        for client in (less, more):
            _settle(client)
        before = {size: bench.daemon_cpu_s(size) for size in (small, LARGEST)}
        taken: dict[int, list[float]] = {small: [], LARGEST: []}
        for number in range(times):
            for size, client in ((small, less), (LARGEST, more)):
                taken[size].append(median_time(partial(_change, client, number), 1))
        used = {size: bench.daemon_cpu_s(size) - before[size] for size in taken}
    middle = {size: statistics.median(found) for size, found in taken.items()}
    return [
        Result("config_change_ratio", middle[LARGEST] / middle[small], "times", 1.2),
        Result("config_change_cpu_ratio", used[LARGEST] / used[small], "times"),
    ]


def _settle(client: Client) -> None:
    for number in range(20):  # until the candidates have caught up with the cluster's start
        _change(client, number)


def _change(client: Client, number: int) -> None:
    _run(client, {
        "OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": "inst77.bench.example",
        "beparams": {"vcpus": number % 8 + 1}, "force": True,
    })  # fmt: skip


def _run(client: Client, op: dict[str, Any]) -> None:
    job = client.call("SubmitJob", [op])
    if wait_all(client, [job]) != ["success"]:
        raise RuntimeError(str(client.call("QueryJobs", [job], ["opresult"])))


_SOME = [size for size in SIZES if size]
ROWS = (
    *(
        Row(f"{name}_{SIZES[size]}", f"{title}, at {size:,} instances", size, partial(measure, size=size))
        for name, title, measure in (
            ("verify", "gnt-cluster verify on 3 nodes", verify),
            ("list", "lists, one instance's info, memory", lists),
            ("config_change", "a change of an instance, and a new one", config_change),
        )
        for size in _SOME
    ),
    Row(
        "config_change_ratio", "a change of an instance, 20,000 : 200 instances by turns", LARGEST, config_change_ratio
    ),
)
