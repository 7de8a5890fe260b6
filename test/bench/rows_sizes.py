"""The same figures at 200, 2,000 and 20,000 instances."""

from __future__ import annotations

from functools import partial
from typing import Any

from harness import SIZES, Bench, Result, Row, diskless, median_time, wait_all

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
    """A change of one instance's processors, and an instance more, submit → done; compared with 200 instances."""
    mark = SIZES[size]
    changed, used, created = _change(bench, size)
    found = [Result(f"config_change_{mark}", changed * 1000, "ms"), Result(f"create_{mark}", created * 1000, "ms")]
    if size == min(_SOME):
        bench.noted["config_change"], bench.noted["config_change_cpu"] = changed, used
    elif size == LARGEST and "config_change" in bench.noted:
        found += [
            Result("config_change_ratio", changed / bench.noted["config_change"], "times", 1.2),
            Result("config_change_cpu_ratio", used / bench.noted["config_change_cpu"], "times"),
        ]
    return found


def _change(bench: Bench, size: int) -> tuple[float, float, float]:
    """Seconds of a change, masterd's seconds of processor for it, seconds of a new instance."""
    times = 60
    with bench.client(size) as client:
        numbers = iter(range(1, 10000))

        def run(op: dict[str, Any]) -> None:
            job = client.call("SubmitJob", [op])
            if wait_all(client, [job]) != ["success"]:
                raise RuntimeError(str(client.call("QueryJobs", [job], ["opresult"])))

        def change() -> None:
            vcpus = next(numbers) % 8 + 1
            name = "inst77.bench.example"
            run({"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": name, "beparams": {"vcpus": vcpus}, "force": True})

        def create() -> None:
            run(diskless(f"more{next(numbers)}.bench.example", next(numbers) % 3 + 1))

        for _ in range(20):  # until the candidates have caught up with the cluster's start
            change()
        before = bench.daemon_cpu_s(size)
        changed = median_time(change, times)
        used = (bench.daemon_cpu_s(size) - before) / times
        return changed, used, median_time(create, 15)


_SOME = [size for size in SIZES if size]
ROWS = tuple(
    Row(f"{name}_{SIZES[size]}", f"{title}, at {size:,} instances", size, partial(measure, size=size))
    for name, title, measure in (
        ("verify", "gnt-cluster verify on 3 nodes", verify),
        ("list", "lists, one instance's info, memory", lists),
        ("config_change", "a change of an instance, and a new one", config_change),
    )
    for size in _SOME
)
