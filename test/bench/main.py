"""Command line of `tools/bench`."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from harness import SIZES, Bench, Result
from rows import ROWS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/bench", description="Measures on virtual clusters of three candidates, without root."
    )
    parser.add_argument("--rows", default="", metavar="A,B", help="only these rows, or those that start so")
    parser.add_argument("--list", action="store_true", help="name the rows and end")
    parser.add_argument("--json", default="", metavar="FILE", help="also write a list of objects to FILE")
    parser.add_argument("--scale", type=int, default=20000, metavar="N", help="instances in the large cluster (20000)")
    parser.add_argument("--keep", action="store_true", help="leave the clusters for a look")
    return parser


def main() -> int:
    """0: every aim met; 1: some not; 2: a row could not be measured."""
    options = _parser().parse_args()
    wanted = [name for name in options.rows.split(",") if name]
    rows = [row for row in ROWS if not wanted or any(row.name.startswith(name) for name in wanted)]
    if not rows:
        print(f"no row is called {options.rows}; there are " + ", ".join(row.name for row in ROWS), file=sys.stderr)
        return 2
    if options.list:
        for row in rows:
            print(f"{row.name:28} {row.title}")
        return 0
    directory = tempfile.mkdtemp(prefix="gnt-bench-")
    results: list[Result] = []
    failed = False
    bench = Bench(directory, large=options.scale)
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}", flush=True)
    try:
        for row in sorted(rows, key=lambda row: list(SIZES).index(row.size)):  # each size of cluster is made once
            try:
                found = row.measure(bench)
            except Exception:  # noqa: BLE001 - one row that cannot be measured must not hide the others
                failed = True
                print(f"{row.name:28} FAILED", flush=True)
                traceback.print_exc()
                continue
            for result in found:
                results.append(result)
                print(result.line(), flush=True)
    finally:
        bench.close(keep=options.keep)
        if not options.keep:
            shutil.rmtree(directory, ignore_errors=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([result.as_json() for result in results], file, indent=1)
            file.write("\n")
    missed = [result.name for result in results if result.met is False]
    if missed:
        print("aims not met: " + ", ".join(missed))
    return 2 if failed else 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
