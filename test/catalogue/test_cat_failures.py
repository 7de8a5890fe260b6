"""The table of what may fail names tests that are there; and rules that hold for all of the code."""

import os
import re

import pytest

_NAMED = re.compile(r"``(test/[\w/]+\.py)::(test_\w+)``")
_ROW = re.compile(r"^   \* - ([A-Z]+\d+)$", re.MULTILINE)
#: letter → how many rows there are of it
ROWS = {"N": 7, "M": 10, "P": 3, "D": 6, "F": 3, "T": 9, "K": 2, "V": 1, "C": 3, "H": 1, "S": 3, "I": 18}


@pytest.fixture(scope="module")
def table(repository):
    with open(f"{repository}/doc/failure-model.rst", encoding="utf-8") as file:
        return file.read()


def test_every_row_is_there_once(table):
    assert _ROW.findall(table) == [
        f"{letter}{number}" for letter, count in ROWS.items() for number in range(1, count + 1)
    ]


def test_every_row_has_a_test(table):
    rows = re.split(_ROW, table)[1:]
    assert [name for name, text in zip(rows[::2], rows[1::2], strict=True) if not _NAMED.search(text)] == []


def test_every_named_test_exists(repository, table):
    missing = []
    for path, name in _NAMED.findall(table):
        full = f"{repository}/{path}"
        if not os.path.exists(full):
            missing.append(path)
            continue
        with open(full, encoding="utf-8") as file:
            if not re.search(rf"def {name}\(", file.read()):
                missing.append(f"{path}::{name}")
    assert missing == []


def test_the_time_of_day_is_read_in_one_place(repository):
    """Everything else is handed a clock, and waits by the monotonic one: a clock that jumps hurts nobody."""
    found = []
    for folder in ("master", "store", "rpc", "node", "logic", "luxi", "storage", "hypervisor", "confd", "host"):
        for directory, _, names in os.walk(f"{repository}/lib/{folder}"):
            for name in names:
                if name.endswith(".py"):
                    path = os.path.relpath(f"{directory}/{name}", repository)
                    with open(f"{directory}/{name}", encoding="utf-8") as file:
                        found += [path] * len(re.findall(r"\btime\.time\(\)|\bdatetime\.now\(|\butcnow\(", file.read()))
    # a question to confd carries the time of day
    assert sorted(found) == ["lib/confd/client.py", "lib/host/clock.py"]
