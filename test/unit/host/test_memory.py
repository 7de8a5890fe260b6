"""Memory that was used once is the system's again. In a process of its own: what others left there would count."""

import subprocess
import sys

import pytest

MEASURE = """
import os
import threading
from ganeti.host import memory

def resident_mib():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

def use(size, count):
    '''Blocks, with a smaller one that stays between each two.'''
    blocks, kept = [], []
    for _ in range(count):
        blocks.append(b"x" * size)
        kept.append(b"y" * 20_000)
    return kept

def use_in_thread(size, count):
    kept = []
    thread = threading.Thread(target=lambda: kept.extend(use(size, count)))
    thread.start()
    thread.join()
    return kept

{prepare}
before = resident_mib()
kept = [use(8 << 20, 1), {work}]
{finish}
print(resident_mib() - before)
"""


def grown_mib(*, prepare="", work="", finish=""):
    program = MEASURE.format(prepare=prepare, work=work, finish=finish)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)


pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux systems")


def test_large_blocks_when_freed_then_the_system_has_them_back():
    work = "use(4 << 20, 10)"
    assert grown_mib(work=work) > 20
    assert grown_mib(prepare="memory.keep_little()", work=work) < 10


def test_small_blocks_when_given_back_then_the_system_has_them_back():
    work = "use_in_thread(100_000, 1000)"  # 20 MB stay
    assert grown_mib(work=work) > 60
    assert grown_mib(prepare="memory.keep_little()", work=work, finish="memory.give_back()") < 40
