"""The run: jobs are submitted and followed, and what was made is removed whatever happened."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TextIO

from ganeti import errors
from ganeti.burnin import course
from ganeti.burnin.course import Guest, Phase
from ganeti.burnin.options import Options
from ganeti.cli import follow
from ganeti.host.clock import Clock
from ganeti.model.objects import DiskTemplate
from ganeti.ops import base
from ganeti.ops.base import OpCode

_POLL_S = 1.0
#: one node is enough for these
_LOCAL = (DiskTemplate.DISKLESS, DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.PLAIN)


class Master(Protocol):
    """The part of `luxi.client.Client` that is used."""

    def call(self, method: str, *args: Any, key: str | None = None) -> Any: ...  # Any: JSON


class Burnin:
    def __init__(
        self,
        options: Options,
        master: Master,
        *,
        clock: Clock,
        out: TextIO,
        new_key: Callable[[], str],
        fetch: Callable[[str], str],
    ) -> None:
        """`fetch`: what an URL answers; raises OSError."""
        self._options = options
        self._master = master
        self._clock = clock
        self._out = out
        self._new_key = new_key
        self._fetch = fetch
        self._nodes: tuple[str, ...] = ()
        self._made: list[str] = []  # instances that may exist because of us
        self._times: list[tuple[str, float]] = []

    # What `cli.follow` needs

    def out(self, text: str = "") -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def note(self, text: str) -> None:
        self.out(text)

    def flush(self) -> None:
        self._out.flush()

    def call(self, method: str, *args: Any) -> Any:  # Any: JSON
        return self._master.call(method, *args)

    # The course

    def run(self) -> None:
        """Raises what the first job failed with, after the removal."""
        self._nodes = self._usable_nodes()
        self._check_names()
        try:
            self._live()
        finally:
            if not self._options.keep:
                self._remove()
        for title, took in self._times:
            self.out(f"{took:8.1f} s  {title}")

    def _live(self) -> None:
        options = self._options
        phase = Phase(name="create", title="Creating instances", make=course.create, is_wanted=lambda *_: True)
        self._made += options.instances
        self._phase(phase, [self._planned(index) for index in range(len(options.instances))])
        for each in course.chosen(options, len(self._nodes)):
            self._phase(each, self._guests())

    def _phase(self, phase: Phase, guests: Sequence[Guest]) -> None:
        options, began = self._options, self._clock.monotonic()
        self.out(f"- {phase.title}")
        jobs = [(guest.name, phase.make(options, guest)) for guest in guests]
        at_once = len(jobs) if options.is_parallel and not phase.one_by_one else 1
        for start in range(0, len(jobs), at_once):
            self._jobs(jobs[start : start + at_once])
        if options.http_check:
            for guest in guests:
                self._check_answers(guest.name)
        self._times.append((phase.title, self._clock.monotonic() - began))

    def _jobs(self, named: Sequence[tuple[str, Sequence[OpCode]]]) -> None:
        forms = [[base.encode(op) for op in ops] for _, ops in named]
        answer = self._master.call("SubmitManyJobs", forms, key=self._new_key())
        jobs = [
            follow.Submitted(name, int(job)) if is_good else follow.Submitted(name, None, str(job))
            for (name, _), (is_good, job) in zip(named, answer, strict=True)
        ]
        for item in jobs:
            self.out(f"* instance {item.name}: " + (f"job {item.job}" if item.job is not None else item.why))
        outcomes = follow.wait_all(self, jobs, quiet=not self._options.is_verbose)
        failed = next((outcome.error for outcome in outcomes if outcome.error is not None), None)
        if failed is not None:
            raise failed

    def _remove(self) -> None:
        """Each by itself: one that cannot be removed does not keep the others."""
        left = [row[0] for row in self.call("QueryInstances", [], ["name"], False)]
        ours = [name for name in (*self._made, self._options.rename) if name and name in left and self._made]
        if ours:
            self.out("- Removing instances")
            self._jobs([(name, course.remove(name)) for name in ours])

    # What there is

    def _usable_nodes(self) -> tuple[str, ...]:
        options = self._options
        fields = ["name", "offline", "drained", "vm_capable"]
        rows = self.call("QueryNodes", list(options.nodes), fields, False)
        found = tuple(name for name, offline, drained, is_capable in rows if is_capable and not offline and not drained)
        least = 1 if options.template in _LOCAL else 2
        if len(found) < least:
            raise errors.PrereqError(
                "wrong_state",
                f"{options.template.value} disks need {least} nodes that take instances, there are {len(found)}",
                hint="-t diskless, plain and file work on one",
            )
        return found

    def _check_names(self) -> None:
        options = self._options
        present = {row[0] for row in self.call("QueryInstances", [], ["name"], False)}
        taken = sorted(present & {*options.instances, options.rename})
        if taken:
            raise errors.PrereqError("already_exists", f"there are instances of these names: {', '.join(taken)}")

    def _planned(self, index: int) -> Guest:
        """The nodes take turns."""
        nodes = self._nodes
        turned = (*nodes[index % len(nodes) :], *nodes[: index % len(nodes)])
        return Guest(name=self._options.instances[index], primary=turned[0], secondary=(*turned, "")[1])

    def _guests(self) -> list[Guest]:
        """Where they are now."""
        rows = self.call("QueryInstances", list(self._options.instances), ["name", "pnode", "snodes"], False)
        guests = []
        for name, primary, snodes in rows:
            found = snodes.split(",") if isinstance(snodes, str) else list(snodes)
            secondary = next((node for node in found if node), "")
            others = tuple(node for node in self._nodes if node not in (primary, secondary))
            guests.append(Guest(name=name, primary=primary, secondary=secondary, others=others))
        return guests

    def _check_answers(self, name: str) -> None:
        end = self._clock.monotonic() + self._options.net_timeout_s
        url = f"http://{name}/hostname.txt"
        while True:
            try:
                found = self._fetch(url).strip()
            except OSError as err:
                why = str(err)
            else:
                if found == name:
                    return
                why = f"it says {found[:80]!r}"
            if self._clock.monotonic() >= end:
                raise errors.ExecError(f"instance {name} does not serve its name at {url}: {why}")
            self._clock.sleep(_POLL_S)


def fetch(url: str) -> str:
    """Raises OSError."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text: bytes = answer.read(1024)
    except urllib.error.URLError as err:
        raise OSError(str(err.reason)) from err
    return text.decode("utf-8", errors="replace")
