"""Threads that read a form for the first time at one moment."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: new forms again and again, each read by six threads that begin together
PROGRAM = """
import sys, threading
import msgspec
from ganeti.wire import codec

sys.setswitchinterval(1e-6)
texts = " ".join(f"f{number}: 'tuple[int, ...] | None' = None;" for number in range(30))
for _ in range(200):
    exec(f"class Inner(msgspec.Struct): {texts}")
    exec("class Outer(msgspec.Struct): inner: Inner; other: 'dict[str, int]'")
    form, begin = Outer, threading.Barrier(6)

    def read():
        begin.wait()
        READ

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.parametrize(
    "read",
    [
        'assert codec.convert({"inner": {"f0": [1]}, "other": {}}, form).inner.f0 == (1,)',
        'assert codec.unpack(b\'{"inner": {"f0": [1]}, "other": {}}\', form).inner.f0 == (1,)',
    ],
    ids=["convert", "unpack"],
)
def test_threads_that_read_a_new_form_at_one_moment_live(read: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("READ", read)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
