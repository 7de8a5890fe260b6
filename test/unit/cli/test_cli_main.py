"""The entrance: help, versions, start-up, closed pipes."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unit.cli.kit import check_golden, run

from ganeti import settings
from ganeti.cli import commands
from ganeti.cli.main import main
from ganeti.cli.world import World

SCRIPTS = Path(__file__).parents[3] / "scripts"
HEAVY = {"asyncio", "ssl", "cryptography", "OpenSSL", "pyparsing", "rich", "aiohttp", "optparse", "msgspec"}


@pytest.mark.parametrize("tool", commands.TOOLS)
def test_usage(tool):
    shown, asked = run(tool), run(tool, "--help")
    assert (shown.code, asked.code) == (1, 0)
    assert shown.out == asked.out
    check_golden(f"usage-{tool}", shown.out)
    assert run(tool, "frobnicate") == (1, shown.out, "unknown command 'frobnicate'\n")


def test_version():
    assert run("gnt-job", "--version") == (0, f"gnt-job (ganeti {settings.VERSION}) {settings.VERSION}\n", "")


def test_every_tool_has_its_script():
    assert sorted(path.name for path in SCRIPTS.glob("gnt-*")) == sorted(commands.TOOLS)
    for tool in commands.TOOLS:
        assert os.access(SCRIPTS / tool, os.X_OK)
        assert f'main("{tool}")' in (SCRIPTS / tool).read_text()


def _imported(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_version_imports_next_to_nothing():
    found = _imported(
        "import sys; from ganeti.cli.main import main; main('gnt-instance', ['--version']); print(*sys.modules)"
    )
    assert not found & HEAVY


def test_list_imports_nothing_heavy():
    found = _imported(
        "import sys, io\n"
        "from ganeti.cli.main import main\n"
        "from ganeti.cli.world import World\n"
        "class Master:\n"
        "    def call(self, method, *args, key=None): return {'fields': [], 'data': []}\n"
        "world = World(out=io.StringIO(), connect=lambda paths, environ: Master())\n"
        "assert main('gnt-instance', ['list', 'web1'], world) == 0\n"
        "import ganeti.luxi.client\n"
        "print(*sys.modules)"
    )
    assert not found & (HEAVY - {"optparse", "msgspec"})


class ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_closed_pipe_ends_silently():
    err = io.StringIO()
    assert main("gnt-job", ["--help"], World(out=ClosedPipe(), err=err, environ={})) == 1
    assert err.getvalue() == ""


def test_a_word_that_is_no_text_is_refused_before_anybody_is_asked():
    err = io.StringIO()
    world = World(out=io.StringIO(), err=err, environ={})
    assert main("gnt-backup", ["import", "--src-dir", "bl\udcffd", "-n", "node1", "web1"], world) == 1
    assert "'bl\\udcffd' cannot be read: words have to be UTF-8" in err.getvalue()
