"""An export of a sparse disk of 4 GiB with 256 MiB in it, against `dd | gzip` into a file beside it in the same run."""

from __future__ import annotations

import os
import re
import subprocess
import time

from harness import Bench, Result, Row

from ganeti import settings

_NAME = "sparse.bench.example"
_PARTS, _PART_MIB, _SIZE_MIB = 16, 16, 4096
_SENT = re.compile(r"([\d.]+) MiB sent")


def exports(bench: Bench) -> list[Result]:
    """Seconds of the whole command and MiB over the wire, by what compresses on the way."""
    cluster = bench.cluster(0)
    master = cluster.master()
    add = ("gnt-instance", "add", "-t", "file", "-n", master.name, "--no-install", "--no-start", "--ignore-ipolicy")
    cluster.run(master, (*add, "-H", "fake", "--no-nics", "--disk", f"0:size={_SIZE_MIB}", _NAME))
    try:
        disk = f"{master.root}{settings.FILE_STORAGE_DIR}/{_NAME}/disk0"
        _fill(disk)
        found = []
        for tool in ("none", "gzip-fast", "zstd"):
            found += _export(bench, tool)
        return found + _pipe(disk)
    finally:
        cluster.run(master, ("gnt-instance", "remove", "-f", _NAME))
        cluster.call(master, ("gnt-backup", "remove", _NAME))


def _fill(path: str) -> None:
    """Parts that can be compressed, as programs can, with holes between."""
    with open(os.path.realpath("/proc/self/exe"), "rb") as file:
        text = file.read()
    part = (text * (1 + (_PART_MIB << 20) // len(text)))[: _PART_MIB << 20]
    with open(path, "r+b") as file:
        for number in range(_PARTS):
            file.seek(number * (_SIZE_MIB // _PARTS) << 20)
            file.write(part)


def _export(bench: Bench, tool: str) -> list[Result]:
    cluster = bench.cluster(0)
    target = next(node for node in cluster.layout.nodes if node != cluster.master())
    begun = time.monotonic()
    told = cluster.run(
        cluster.master(), ("gnt-backup", "export", "-n", target.name, f"--transport-compression={tool}", _NAME)
    )
    taken = time.monotonic() - begun
    sent = _SENT.findall(told)
    name = tool.replace("-", "_")
    return [Result(f"export_4g_{name}", taken, "s"), Result(f"export_4g_{name}_sent", float(sent[-1]), "MiB")]


def _pipe(disk: str) -> list[Result]:
    target = f"{disk}.gz"
    begun = time.monotonic()
    command = 'dd if="$1" bs=1M 2>/dev/null | gzip -1 >"$2"'
    subprocess.run(["/bin/sh", "-c", command, "sh", disk, target], check=True, timeout=600)
    taken, size = time.monotonic() - begun, os.path.getsize(target) / (1 << 20)
    os.unlink(target)
    return [Result("dd_gzip_4g", taken, "s"), Result("dd_gzip_4g_bytes", size, "MiB")]


ROWS = (Row("export", "an export of a sparse disk of 4 GiB, against dd | gzip", 0, exports),)
