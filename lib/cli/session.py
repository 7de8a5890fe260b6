"""One run of one command: its output, its master, its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti.cli import common, follow, prompt
from ganeti.cli.world import Client, Terminal, World
from ganeti.ops import base
from ganeti.ops.verbs import Call
from ganeti.paths import Paths


class Session:
    """What `ops.verbs.Session` promises, and what the commands of this room need beside it."""

    def __init__(self, world: World, tool: str, verb: str, call: Call) -> None:
        self.world = world
        self._tool, self._verb = tool, verb
        self._options = call.options
        self._client: Client | None = None
        #: ids of the jobs that this run submitted
        self.submitted: list[int] = []

    @property
    def paths(self) -> Paths:
        return self.world.paths

    @property
    def has_colours(self) -> bool:
        return self.world.has_colours

    def out(self, text: str = "") -> None:
        self.world.out.write(text + "\n")

    def flush(self) -> None:
        """What was told so far is seen, also where the output is a file."""
        self.world.out.flush()

    def note(self, text: str) -> None:
        self.flush()
        self.world.err.write(text + "\n")

    def confirm(self, question: str) -> bool:
        return prompt.confirm(question, self.terminal)

    def confirm_many(self, names: Sequence[str], operation: str, *, warning: str = "") -> bool:
        return prompt.confirm_many(names, operation, lambda: self.terminal("force_multiple"), warning=warning)

    def confirm_typed(self, question: str, wanted: str) -> bool:
        return prompt.confirm_typed(question, wanted, self.terminal)

    def terminal(self, *answers: str) -> Terminal | None:
        """To ask on. Without one, says which option (`answers`: their `dest`) answers the question instead."""
        found = self.world.terminal()
        if found is None:
            self.note("no terminal to ask on" + self._answer(answers or prompt.ANSWERS))
        return found

    def _answer(self, answers: Sequence[str]) -> str:
        from ganeti.cli import commands

        declared = commands.find(self._tool, self._verb)
        offered = {item.dest: item.flags[0] for item in declared.options} if declared else {}
        flag = next((offered[dest] for dest in answers if dest in offered), "")
        return f"; {flag} answers yes" if flag else ""

    def call(self, method: str, *args: Any) -> Any:
        return self._connected().call(method, *args)

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self.world.connect()
        return self._client

    # -- jobs

    @property
    def is_dry_run(self) -> bool:
        return bool(self._options.get("dry_run"))

    def stamp(self, form: dict[str, Any]) -> dict[str, Any]:
        """The opcode with what the recurring options say about it."""
        stamped = dict(form)
        if self.is_dry_run:
            stamped["dry_run"] = True
        if self._options.get("debug"):
            stamped["debug_level"] = self._options["debug"]
        if self._options.get("priority"):
            stamped["priority"] = common.PRIORITIES[self._options["priority"]]
        now_ns = int(self.world.clock.time() * 1_000_000_000)
        reason = [["gnt:user", self._options["reason"], now_ns]] if self._options.get("reason") else []
        stamped["reason"] = [*reason, [f"gnt:client:{self._tool}", self._verb, now_ns]]
        return stamped

    def submit(self, forms: Sequence[dict[str, Any]], *, when_drained: bool = False) -> int:
        """One job; the request carries a key, so that sending it again cannot make two."""
        method = "SubmitJobToDrainedQueue" if when_drained else "SubmitJob"
        job = int(self._connected().call(method, list(forms), key=self.world.new_key()))
        self.submitted.append(job)
        if self._options.get("print_jobid"):
            self.out(str(job))
        return job

    def submit_many(self, named: Sequence[tuple[str, Sequence[dict[str, Any]]]]) -> list[follow.Submitted]:
        """One job for each (name, opcodes), all in one request."""
        answer = self._connected().call("SubmitManyJobs", [list(forms) for _, forms in named], key=self.world.new_key())
        jobs = [
            follow.Submitted(name, int(job)) if is_good else follow.Submitted(name, None, str(job))
            for (name, _), (is_good, job) in zip(named, answer, strict=True)
        ]
        self.submitted += [item.job for item in jobs if item.job is not None]
        if self._options.get("print_jobid"):
            for item in jobs:
                if item.job is not None:
                    self.out(str(item.job))
        return jobs

    def run_job(self, forms: Sequence[dict[str, Any]], *, when_drained: bool = False) -> list[Any] | None:
        """Submit and follow; the results (Any: JSON), or None after --submit."""
        job = self.submit([self.stamp(form) for form in forms], when_drained=when_drained)
        if self._options.get("submit"):
            self.note(f"JobID: {job}")
            return None
        return follow.wait(self, job)

    def run(self, op: base.OpCode) -> Any:
        results = self.run_job([base.encode(op)])
        return results[0] if results else None
