"""The REST interface: large lists, and many clients that poll."""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import partial

import aiohttp
from harness import SIZES, Bench, Result, Row

from ganeti.bootstrap import daemons

CLIENTS, POLLS = 200, 10


def _memory_mib(pid: int, field: str) -> float:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} tells no {field}")


async def _fetch(session: aiohttp.ClientSession, url: str) -> tuple[float, int]:
    """(seconds, bytes)."""
    began = time.perf_counter()
    async with session.get(url) as reply:
        raw = await reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{url}: {reply.status} {raw[:200]!r}")
    return time.perf_counter() - began, len(raw)


def _session(*, is_kept: bool) -> aiohttp.ClientSession:
    """`is_kept`: one connection for many requests, else a handshake for each."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=0),
        headers={"Connection": "keep-alive"} if is_kept else None,
        auto_decompress=False,
    )


def bulk(bench: Bench, size: int) -> list[Result]:
    """`GET /2/instances?bulk=1` with all fields, the nodes asked for what runs."""
    master = bench.cluster(size).master()
    pid = daemons.pid_of(master.paths, daemons.RAPI)
    if pid is None:
        raise RuntimeError("no REST daemon runs")

    async def main() -> tuple[list[float], int]:
        async with _session(is_kept=False) as session:
            url = f"https://{master.address}:5080/2/instances?bulk=1"
            found = [await _fetch(session, url) for _ in range(5)]
        return sorted(taken for taken, _ in found), found[0][1]

    taken, length = asyncio.run(main())
    mark = SIZES[size]
    return [
        Result(f"rest_bulk_{mark}", taken[2], "s"),
        Result(f"rest_bulk_size_{mark}", length / (1 << 20), "MiB"),
        Result(f"rest_memory_{mark}", _memory_mib(pid, "VmRSS"), "MiB"),
        Result(f"rest_memory_peak_{mark}", _memory_mib(pid, "VmHWM"), "MiB"),
    ]


def polling(bench: Bench, *, is_kept: bool) -> list[Result]:
    """Clients that ask for the same job again and again, each for itself."""
    master = bench.cluster(0).master()
    with bench.client(0) as client:
        job = client.call("SubmitJob", [{"OP_ID": "OP_TEST_DELAY", "duration": 60.0, "on_master": True}])

    async def one(session: aiohttp.ClientSession) -> list[float]:
        found = []
        for _ in range(POLLS):
            found.append((await _fetch(session, f"https://{master.address}:5080/2/jobs/{job}"))[0])
            await asyncio.sleep(0.2)
        return found

    async def main() -> tuple[list[float], float]:
        async with _session(is_kept=is_kept) as session:
            await asyncio.gather(*(_fetch(session, f"https://{master.address}:5080/version") for _ in range(CLIENTS)))
            began = time.perf_counter()
            found = await asyncio.gather(*(one(session) for _ in range(CLIENTS)))
            whole = time.perf_counter() - began
        return sorted(taken for row in found for taken in row), len(found) * POLLS / whole

    taken, rate = asyncio.run(main())
    with bench.client(0) as client:
        client.call("CancelJob", job, True)
    mark = "rest_poll_kept" if is_kept else "rest_poll"
    return [
        Result(f"{mark}_{name}", taken[min(int(len(taken) * part), len(taken) - 1)] * 1000, "ms")
        for name, part in (("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("longest", 1.0))
    ] + [Result(f"{mark}_rate", rate, "per s", more_is_better=True)]


ROWS = (
    Row("rest_poll", f"{CLIENTS} REST clients that poll a job", 0, partial(polling, is_kept=False)),
    Row("rest_poll_kept", f"{CLIENTS} of them that keep their connections", 0, partial(polling, is_kept=True)),
    *(
        Row(f"rest_bulk_{SIZES[size]}", f"REST bulk list of {size:,} instances", size, partial(bulk, size=size))
        for size in SIZES
        if size
    ),
)
