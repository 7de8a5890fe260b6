"""Every command and option of the first release, driven by one story; the table says how each fares.

As a program it prints the table of a fresh virtual cluster: python test/functional/test_ft_base_commands.py
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

import pytest
import simplejson
from functional.base_commands import ABSENT, DIFFERS, STORY, SURFACE, Step
from functional.conftest import destroy, make_cluster

from ganeti.cli import commands

_JOB = re.compile(r"JobID: (\d+)|^(\d+): \w", re.MULTILINE)


class Row(NamedTuple):
    command: str
    flag: str  # empty: the command itself
    outcome: str  # works, differs, missing, not driven, fails
    why: str = ""

    @property
    def is_good(self) -> bool:
        return self.outcome in ("works", "differs")


def command_of(words: str) -> str:
    return " ".join(words.split()[:2])


def is_there(command: str) -> bool:
    tool, verb = command.split()
    return tool in commands.TOOLS and commands.find(tool, verb) is not None


class Story:
    """Tells the steps to a cluster and remembers which of them went as they should."""

    def __init__(self, shell) -> None:
        self.shell = shell
        self.faults: dict[str, list[str]] = {}
        self.failing: dict[str, set[str]] = {}
        self.driven: dict[str, set[str]] = {}
        self.words = {"job": "0"}
        for number, node in enumerate(shell.nodes, start=1):
            self.words[f"address{number}"] = node.address
            for name, content in FILES.items():
                with open(node.paths.local(f"/etc/ganeti/{name}"), "w", encoding="ascii") as file:
                    file.write(content)
                self.words[name] = node.paths.local(f"/etc/ganeti/{name}")

    def tell(self) -> None:
        for step in STORY:
            if step.words == "remove-all-instances":
                for (name,) in self.shell.rows("gnt-instance", "name"):
                    self.shell.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)
            elif is_there(command_of(step.words)):
                self._do(step)

    def _do(self, step: Step) -> None:
        argv = shlex.split(step.words.format(**self.words).replace(" | ", " '|' "))
        done = self.shell.cluster.call(self.shell.nodes[step.node - 1], argv)
        text = done.stdout + done.stderr
        command = command_of(step.words)
        flags = {word for word in argv[2:] if word.startswith("-")}
        if found := _JOB.search(text):
            self.words["job"] = found[1] or found[2]
        if done.returncode != step.status or step.says not in text:
            told = f"{shlex.join(argv)}: {done.returncode}, not {step.status}: {text.strip()[-300:]}"
            self.faults.setdefault(command, []).append(told)
            self.failing.setdefault(command, set()).update(flags)
        else:
            self.driven.setdefault(command, set()).update(flags)

    def table(self) -> list[Row]:
        return [row for command, flags in SURFACE.items() for row in self._rows(command, flags.split())]

    def _rows(self, command: str, flags: list[str]) -> list[Row]:
        if not is_there(command):
            return [Row(command, "", "missing")]
        verb = commands.find(*command.split())
        known = {flag for option in verb.options for flag in option.flags}
        rows = [self._command_row(command)]
        for flag in flags:
            names = set(flag.split("|"))
            if not names <= known:
                rows.append(Row(command, flag, "missing"))
            elif names & self.driven.get(command, set()):
                rows.append(_good(command, flag))
            else:
                is_tried = bool(names & self.failing.get(command, set()))
                rows.append(Row(command, flag, "fails" if is_tried else "not driven"))
        return rows

    def _command_row(self, command: str) -> Row:
        if command in self.faults:
            return Row(command, "", "fails", "; ".join(self.faults[command]))
        return _good(command, "") if command in self.driven else Row(command, "", "not driven")


def _good(command: str, flag: str) -> Row:
    why = DIFFERS.get((command, flag), "")
    return Row(command, flag, "differs" if why else "works", why)


FILES = {
    "lines": "from-file\n",
    "opcodes": simplejson.dumps([{"OP_ID": "OP_TEST_DELAY", "duration": 0}]),
    "batch": simplejson.dumps(
        [{"instance_name": "web4", "disk_template": "file", "os_type": "busybox-linux", "pnode": "node1",
          "disks": [{"size": 1024}], "nics": [{}], "mode": "create"}]
    ),
}  # fmt: skip


def text_of(table: list[Row]) -> str:
    lines = [f"{row.command:<30} {row.flag:<30} {row.outcome:<10} {row.why}".rstrip() for row in table]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def table():
    shell = make_cluster(3)
    try:
        story = Story(shell)
        story.tell()
        found = story.table()
    finally:
        destroy(shell.cluster.layout.directory.rpartition("/")[0])
    print(text_of(found))
    return found


def test_every_command_and_option_works(table):
    bad = [row for row in table if not row.is_good and row.command not in ABSENT]
    assert not bad, "\n" + text_of(bad)


def test_what_is_said_to_be_absent_or_different_is_declared():
    assert set(SURFACE) >= ABSENT
    assert {command for command, _ in DIFFERS} <= set(SURFACE)
    assert all(not flag or flag in SURFACE[command].split() for command, flag in DIFFERS)


if __name__ == "__main__":
    raise SystemExit(pytest.main([__file__, "-q", "-s", "-k", "works"]))
