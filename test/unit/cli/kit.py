"""Runs commands against a scripted master; compares with golden files."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ganeti.cli.main import main
from ganeti.cli.world import World
from ganeti.paths import Paths
from ganeti.wire import codec

GOLDEN = Path(__file__).parents[2] / "golden" / "cli"
NOW = 1_700_000_000.5


class FixedClock:
    def __init__(self) -> None:
        self.slept: list[float] = []

    def time(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) > 2:
            raise KeyboardInterrupt


class Steps(list):
    """Successive answers to one method."""


class Master:
    """Answers from a table: a value, a function of the arguments, an error to raise, or `Steps` of those."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[Any, ...]] = []
        self.keys: list[str | None] = []

    def call(self, method: str, *untrusted: Any, key: str | None = None) -> Any:
        args = codec.loads(codec.dumps(untrusted))  # as it comes out at the other end of the socket
        self.calls.append((method, *args))
        self.keys.append(key)
        answer = self.answers[method]
        if isinstance(answer, Steps):
            answer = answer.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer(*args) if callable(answer) else answer

    def sent(self, method: str) -> list[tuple[Any, ...]]:
        return [args for name, *args in self.calls if name == method]


def job_master(result: Any = None, *, job: int = 7, log: tuple[str, ...] = (), **more: Any) -> Master:
    """Takes one job and ends it well."""
    entries = [[index + 1, [1_700_000_000, 0], "message", text] for index, text in enumerate(log)]
    answers = {
        "SubmitJob": job,
        "WaitForJobChange": [["success"], entries],
        "QueryJobs": [["success", ["success"], [result]]],
    }
    return Master(**(answers | more))


class Keyboard:
    """A terminal at which lines are typed."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)
        self.shown = ""

    def write(self, text: str) -> None:
        self.shown += text

    def read_line(self) -> str:
        if not self._lines:
            raise EOFError
        return self._lines.pop(0)


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def run(
    tool: str,
    *words: str,
    master: Master | None = None,
    keyboard: Keyboard | None = None,
    environ: Mapping[str, str] | None = None,
    root: Path = Path("/nonexistent"),
    runner: Any = None,
    is_terminal: bool = False,
) -> Ended:
    out, err = _Screen() if is_terminal else io.StringIO(), io.StringIO()
    numbers = iter(range(1, 100))
    world = World(
        out=out,
        err=err,
        environ=environ or {},
        paths=Paths(str(root), "node1.example.com"),
        clock=FixedClock(),
        connect=lambda paths, environment: master or Master(),
        terminal=lambda: keyboard,
        new_key=lambda: f"key{next(numbers)}",
        runner=runner,
    )
    code = main(tool, words, world)
    return Ended(code, out.getvalue(), err.getvalue())


def check_golden(name: str, text: str) -> None:
    """Compare with `test/golden/cli/NAME.txt`; with GOLDEN=rewrite in the environment write it."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "rewrite":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing: run with GOLDEN=rewrite and look at it"
    assert text == path.read_text(encoding="utf-8")


def rows(fields: list[tuple[str, str, str]], *data: list[Any]) -> dict[str, Any]:
    """A query's answer: (name, title, kind) of each field; a value is normal unless it is a (status, value) tuple."""
    return {
        "fields": [{"name": name, "title": title, "kind": kind, "doc": ""} for name, title, kind in fields],
        "data": [[list(value) if isinstance(value, tuple) else [0, value] for value in row] for row in data],
    }
