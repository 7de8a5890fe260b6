"""A runner for tests: the commands that must come, in order, with what they answer."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import msgspec

from ganeti import errors
from ganeti.host.run import Finished


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ends."""

    stdout: str = ""
    stderr: str = ""
    status: int | None = 0  # None: it could not be started, or did not end in time
    why: str = ""  # reason for None
    is_missing: bool = False  # there is no such program


class Script:
    """`Script(("lvs --noheadings ... xenvg", Answer(stdout=...)), …)`: `...` stands for any words.

    An unexpected command fails the test at once; `assert_finished` tells what never came.
    """

    def __init__(self, *steps: tuple[str, Answer | str]) -> None:
        self._steps = [(shlex.split(want), Answer(stdout=a) if isinstance(a, str) else a) for want, a in steps]
        self.calls: list[tuple[str, ...]] = []

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 60,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        cwd: str = "/",
        ok: Sequence[int] = (0,),
    ) -> Finished:
        command = tuple(argv)
        self.calls.append(command)
        if not self._steps:
            raise AssertionError(f"no command was expected any more, but this came: {shlex.join(command)}")
        wanted, answer = self._steps.pop(0)
        if not matches(wanted, command):
            raise AssertionError(f"expected: {shlex.join(wanted)}\nbut this came: {shlex.join(command)}")
        if answer.status is None or answer.status not in ok:
            raise errors.CommandFailed(
                command,
                answer.status,
                answer.stdout + answer.stderr,
                why=answer.why,
                is_missing=answer.is_missing,
            )
        return Finished(command, answer.status, answer.stdout, answer.stderr)

    def assert_finished(self) -> None:
        if self._steps:
            raise AssertionError("never came: " + "; ".join(shlex.join(wanted) for wanted, _ in self._steps))


def matches(wanted: Sequence[str], command: Sequence[str]) -> bool:
    """Word by word; `...` stands for any number of words, none too."""
    if not wanted:
        return not command
    if wanted[0] == "...":
        return any(matches(wanted[1:], command[skip:]) for skip in range(len(command) + 1))
    return bool(command) and wanted[0] == command[0] and matches(wanted[1:], command[1:])
