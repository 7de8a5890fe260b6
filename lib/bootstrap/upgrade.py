"""`gnt-cluster upgrade`: takes the cluster from the version that runs to the one that is installed.

The course is here; what it does to the world is in `upgrade_site`. Every step may be repeated. What is written down is
that an upgrade is under way and whether the state was converted: of one that was interrupted all is done once more, but
nothing before the conversion if that was done. So it does not matter what a taking back, a boot of the machine or the
watcher have started meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import msgspec

from ganeti import errors
from ganeti.host import faults
from ganeti.store import formats
from ganeti.store.formats import Format

#: how often the queue is looked at, and for how long at most, in seconds
POLL_S = 10.0
DRAIN_LIMIT_S = 36 * 3600.0
PAUSE_S = 3600.0

#: before and after each phase; of `stop` and `start`: before and after each node; `back`: each part of a taking back
POINTS = {
    phase: (faults.register(f"upgrade.before_{phase}"), faults.register(f"upgrade.after_{phase}"))
    for phase in (
        *("drain", "wait", "pause", "stop", "backup", "convert", "start", "redistribute", "undrain"),
        *("note", "forget", "back"),
    )
}
_GOES_ON = "gnt-cluster upgrade --resume goes on with it"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The file that says that an upgrade is under way, and how far it is."""

    version: str  # the one that is wanted
    before: str  # the one that ran; empty: no master daemon ran
    begun: float  # epoch seconds
    format: int  # of the state, before
    was_drained: bool = False
    done: tuple[str, ...] = ()
    backup: str = ""  # path


class Site(Protocol):
    """The cluster as the upgrade sees and changes it. What cannot be done raises GanetiError."""

    installed: str  # the version of this program

    def load(self) -> Intent | None: ...

    def save(self, intent: Intent) -> None:
        """Durable when it returns."""
        ...

    def forget(self) -> None: ...

    def check_is_master(self) -> None: ...

    def others(self) -> tuple[str, ...]:
        """The other nodes that are not offline."""
        ...

    def offline(self) -> tuple[str, ...]: ...

    def version_on(self, node: str) -> str | None:
        """Installed there, empty: none is; None: it cannot be reached."""
        ...

    def running_version(self) -> str:
        """Of the master daemon; empty: it does not run."""
        ...

    def format(self) -> Format:
        """Of this node's copy of the state."""
        ...

    def is_drained(self) -> bool: ...

    def set_drained(self, wanted: bool) -> None: ...

    def unfinished(self) -> int:
        """Jobs that are not at their end."""
        ...

    def pause_watcher(self, seconds: float | None) -> None: ...

    def stop(self, node: str) -> None:
        """All daemons there; empty: here."""
        ...

    def start(self, node: str) -> None:
        """Returns when they answer."""
        ...

    def back_up(self, intent: Intent) -> str:
        """The path of the copy of this node's data."""
        ...

    def convert(self, steps: tuple[formats.Step, ...]) -> None: ...

    def redistribute(self) -> None: ...

    def verify(self) -> bool: ...

    def sleep(self, seconds: float) -> None: ...

    def time(self) -> float: ...

    def tell(self, text: str) -> None: ...


def matches(wanted: str, version: str) -> bool:
    """`wanted` may leave the last numbers out."""
    return version == wanted or version.startswith(wanted + ".")


class Upgrade:
    """One run of it. `nodes`: the others that take part."""

    def __init__(self, site: Site, intent: Intent, nodes: tuple[str, ...]) -> None:
        self._site, self._intent, self._nodes = site, intent, nodes

    def run(self) -> bool:
        """Whether the cluster is well at the end. Raises GanetiError; what was done before the switch is taken back."""
        before: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("drain", "no new jobs are taken", self._drain),
            ("wait", "jobs come to their end", lambda: self._if_answering(self._wait)),
            ("pause", "the watcher rests", lambda: self._if_answering(self._pause)),
            ("stop", "the daemons of all nodes end", self._stop),
            ("backup", "this node's data are copied", self._back_up),
        )
        after: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("convert", "the state gets its new format", self._convert),
            ("start", "the daemons of all nodes start", self._start),
            ("redistribute", "all nodes get the cluster's files", self._site.redistribute),
            ("undrain", "jobs are taken again", self._undrain),
        )
        if not self._is_converted():
            try:
                self._steps(before)
            except (errors.GanetiError, KeyboardInterrupt):
                self._take_back()
                raise
        try:
            self._steps(after)
            _between("forget", self._site.forget)
        except (errors.GanetiError, KeyboardInterrupt):
            self._site.tell(f"The upgrade is noted; when the cause is removed {_GOES_ON}.")
            raise
        self._site.tell(f"The cluster has version {self._intent.version}. The backup is {self._intent.backup}")
        return self._site.verify()

    def _is_converted(self) -> bool:
        return "convert" in self._intent.done or self._site.format().number != self._intent.format

    def _steps(self, steps: tuple[tuple[str, str, Callable[[], None]], ...]) -> None:
        for name, about, act in steps:
            if name == "convert" and name in self._intent.done:
                continue
            self._site.tell(f"{name}: {about}")
            if name in ("stop", "start"):  # they have their points at each node
                act()
            else:
                _between(name, act)
            if name not in self._intent.done:
                self._note(done=(*self._intent.done, name))

    def _note(self, **changes: object) -> None:
        self._intent = msgspec.structs.replace(self._intent, **changes)
        _between("note", lambda: self._site.save(self._intent))

    def _if_answering(self, act: Callable[[], None]) -> None:
        """Without a master daemon nothing is running: its jobs are taken up by the new version."""
        if self._site.running_version():
            act()

    def _drain(self) -> None:
        if self._site.running_version():
            self._site.set_drained(True)
        else:
            self._site.tell("The master daemon does not run; what its jobs left is taken up by the new one.")

    def _pause(self) -> None:
        self._site.pause_watcher(PAUSE_S)

    def _wait(self) -> None:
        deadline = self._site.time() + DRAIN_LIMIT_S
        told = -1
        while left := self._site.unfinished():
            if self._site.time() > deadline:
                raise errors.ExecError(
                    f"{left} jobs did not end within {DRAIN_LIMIT_S / 3600:g} hours",
                    hint="gnt-job list shows them; cancel them, or let them end, and run the command again",
                )
            if left != told:
                self._site.tell(f"{left} jobs are not at their end yet")
                told = left
            self._site.sleep(POLL_S)

    def _stop(self) -> None:
        # the master first: it would take silent nodes for dead ones
        for node in ("", *self._nodes):
            _between("stop", partial(self._site.stop, node))

    def _back_up(self) -> None:
        self._note(backup=self._site.back_up(self._intent))

    def _convert(self) -> None:
        found = self._site.format()
        for step in formats.steps_from(found):
            self._site.tell(f"format {step.to - 1} to {step.to}: {step.about}")
        self._site.convert(formats.steps_from(found))

    def _start(self) -> None:
        # the master last: it finds a majority at once
        for node in (*self._nodes, ""):
            _between("start", partial(self._site.start, node))

    def _undrain(self) -> None:
        self._site.pause_watcher(None)
        if not self._intent.was_drained:
            self._site.set_drained(False)

    def _take_back(self) -> None:
        """As it was before, as far as it can be."""
        self._site.tell("Taking back what was done.")
        try:
            for node in (*self._nodes, ""):
                _between("back", partial(self._site.start, node))
            _between("back", lambda: self._site.pause_watcher(None))
            if not self._intent.was_drained:
                _between("back", lambda: self._site.set_drained(False))
            _between("forget", self._site.forget)
        except errors.GanetiError as err:
            self._site.tell(f"Not all of it: {err}")
            self._site.tell(f"The upgrade is still noted: {_GOES_ON}.")
            if self._intent.before not in ("", self._intent.version):
                self._site.tell(
                    f"Or install version {self._intent.before} again on all nodes, and run"
                    f" gnt-cluster upgrade --to {self._intent.before}."
                )


def _between(phase: str, act: Callable[[], None]) -> None:
    before, after = POINTS[phase]
    faults.hit(before)
    try:
        act()
    except OSError as err:
        raise errors.ExecError(f"{phase}: {err}", hint="look at the file system of what it names") from err
    faults.hit(after)


def begin(site: Site, wanted: str) -> bool:
    """Check all, then upgrade, or go on with an upgrade that was interrupted. Whether the cluster is well at the end.

    Raises GanetiError.
    """
    site.check_is_master()
    if not matches(wanted, site.installed):
        raise errors.PrereqError(
            "environment_error",
            f"version {wanted} is wanted, {site.installed} is installed on this node",
            hint="install the wanted version on all nodes first; their daemons go on meanwhile",
        )
    pending = site.load()
    found, running = site.format(), site.running_version()
    formats.refuse_newer(found)
    nodes = check_nodes(site, is_running=bool(running))
    if pending is not None and pending.version == site.installed:
        site.tell(f"Going on with the upgrade to {pending.version} that was interrupted.")
        return Upgrade(site, pending, nodes).run()
    if pending is None and running == site.installed and not formats.steps_from(found):
        site.tell(f"The cluster has version {site.installed} already.")
        return True
    if pending is not None:
        site.tell(f"The upgrade to {pending.version} that was interrupted is given up for this one.")
    was_drained = pending.was_drained if pending is not None else bool(running) and site.is_drained()
    intent = Intent(
        version=site.installed,
        before=pending.before if pending is not None else running,
        begun=site.time(),
        format=found.number,
        was_drained=was_drained,
    )
    _between("note", lambda: site.save(intent))
    return Upgrade(site, intent, nodes).run()


def resume(site: Site) -> bool:
    """Go on with an upgrade that was interrupted; none: that is well. Raises GanetiError."""
    intent = site.load()
    if intent is None:
        site.tell("No upgrade is under way.")
        return True
    site.check_is_master()
    if intent.version != site.installed:
        raise errors.PrereqError(
            "wrong_state",
            f"the upgrade is one to {intent.version}, {site.installed} is installed on this node",
            hint=f"install {intent.version} again, and resume; or instead: gnt-cluster upgrade --to {site.installed}",
        )
    formats.refuse_newer(site.format())
    return Upgrade(site, intent, check_nodes(site, is_running=bool(site.running_version()))).run()


def check_nodes(site: Site, *, is_running: bool) -> tuple[str, ...]:
    """The others that take part: the same version is installed there. Raises PrereqError that names those without it.

    Without a master daemon (`is_running`) nobody can mark a node offline: who cannot be reached is left out.
    """
    found = {node: site.version_on(node) for node in site.others()}
    different = [
        (node, version) for node, version in found.items() if version is not None and version != site.installed
    ]
    if different:
        raise errors.PrereqError(
            "environment_error",
            f"version {site.installed} is not installed on "
            + ", ".join(f"{node} ({version or 'nothing'})" for node, version in different),
            hint="install it there",
        )
    lost = [node for node, version in found.items() if version is None]
    if lost and is_running:
        raise errors.PrereqError(
            "environment_error",
            f"cannot be reached by ssh: {', '.join(lost)}",
            hint="mark nodes that are away offline: gnt-node modify -O yes NODE",
        )
    for node in (*site.offline(), *lost):
        why = "cannot be reached and is left out" if node in lost else "is offline"
        site.tell(f"{node} {why}: install {site.installed} there before it comes back")
    return tuple(node for node in found if node not in lost)
