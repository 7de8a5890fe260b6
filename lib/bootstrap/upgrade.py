"""`gnt-cluster upgrade`: takes the cluster from the version that runs to the one that is installed.

The course is here; what it does to the world is in `upgrade_site`. Every step may be repeated, and what was done is
written down, so that an upgrade that was interrupted goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from ganeti import errors
from ganeti.store import formats
from ganeti.store.formats import Format

#: how often the queue is looked at, and for how long at most, in seconds
POLL_S = 10.0
DRAIN_LIMIT_S = 36 * 3600.0
PAUSE_S = 3600.0


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """The file that says that an upgrade is under way, and how far it is."""

    version: str  # the one that is wanted
    before: str  # the one that ran; empty: no master daemon ran
    begun: float  # epoch seconds
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

    def version_on(self, node: str) -> str:
        """Installed there."""
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
    """One run of it."""

    def __init__(self, site: Site, intent: Intent) -> None:
        self._site, self._intent = site, intent

    def run(self) -> bool:
        """Whether the cluster is well at the end. Raises GanetiError; what was done before the switch is taken back."""
        before: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("drain", "no new jobs are taken", self._drain),
            ("pause", "the watcher rests", lambda: self._if_answering(self._pause)),
            ("wait", "jobs come to their end", lambda: self._if_answering(self._wait)),
            ("stop", "the daemons of all nodes end", self._stop),
            ("backup", "this node's data are copied", self._back_up),
        )
        after: tuple[tuple[str, str, Callable[[], None]], ...] = (
            ("convert", "the state gets its new format", self._convert),
            ("start", "the daemons of all nodes start", self._start),
            ("redistribute", "all nodes get the cluster's files", self._site.redistribute),
            ("undrain", "jobs are taken again", self._undrain),
        )
        try:
            for step in before:
                self._step(*step)
        except (errors.GanetiError, OSError, KeyboardInterrupt):
            self._take_back()
            raise
        for step in after:
            self._step(*step)
        self._site.forget()
        self._site.tell(f"The cluster has version {self._intent.version}. The backup is {self._intent.backup}")
        return self._site.verify()

    def _step(self, name: str, about: str, act: Callable[[], None]) -> None:
        if name in self._intent.done:
            return
        self._site.tell(f"{name}: {about}")
        act()
        self._note(done=(*self._intent.done, name))

    def _note(self, **changes: object) -> None:
        self._intent = msgspec.structs.replace(self._intent, **changes)
        self._site.save(self._intent)

    def _if_answering(self, act: Callable[[], None]) -> None:
        """Without a master daemon nothing is running: its jobs are taken up by the new version."""
        if self._site.running_version():
            act()

    def _drain(self) -> None:
        if self._site.running_version():
            self._note(was_drained=self._site.is_drained())
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
        for node in ("", *self._site.others()):
            self._site.stop(node)

    def _back_up(self) -> None:
        self._note(backup=self._site.back_up(self._intent))

    def _convert(self) -> None:
        found = self._site.format()
        for step in formats.steps_from(found):
            self._site.tell(f"format {step.to - 1} to {step.to}: {step.about}")
        self._site.convert(formats.steps_from(found))

    def _start(self) -> None:
        # the master last: it finds a majority at once
        for node in (*self._site.others(), ""):
            self._site.start(node)

    def _undrain(self) -> None:
        self._site.pause_watcher(None)
        if not self._intent.was_drained:
            self._site.set_drained(False)

    def _take_back(self) -> None:
        """As it was before, as far as it can be."""
        tell = self._site.tell
        tell("Taking back what was done.")
        try:
            if not self._site.running_version():
                for node in (*self._site.others(), ""):
                    self._site.start(node)
            self._site.pause_watcher(None)
            if "drain" in self._intent.done and not self._intent.was_drained:
                self._site.set_drained(False)
            self._site.forget()
        except (errors.GanetiError, OSError) as err:
            tell(f"Not all of it: {err}")
            tell("The upgrade is still noted: gnt-cluster upgrade --resume goes on with it.")


def begin(site: Site, wanted: str) -> bool:
    """Check all, then upgrade. Whether the cluster is well at the end. Raises GanetiError."""
    site.check_is_master()
    pending = site.load()
    if pending is not None:
        raise errors.PrereqError(
            "wrong_state",
            f"an upgrade to {pending.version} is under way already",
            hint="gnt-cluster upgrade --resume goes on with it",
        )
    if not matches(wanted, site.installed):
        raise errors.PrereqError(
            "environment_error",
            f"version {wanted} is wanted, {site.installed} is installed on this node",
            hint="install the wanted version on all nodes first; their daemons go on meanwhile",
        )
    check_nodes(site)
    found, running = site.format(), site.running_version()
    formats.refuse_newer(found)
    if running == site.installed and not formats.steps_from(found):
        site.tell(f"The cluster has version {site.installed} already.")
        return True
    intent = Intent(version=site.installed, before=running, begun=site.time())
    site.save(intent)
    return Upgrade(site, intent).run()


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
            hint=f"install {intent.version} again, and resume",
        )
    check_nodes(site)
    return Upgrade(site, intent).run()


def check_nodes(site: Site) -> None:
    """The same version is installed on all nodes that are not offline. Raises PrereqError that names the others."""
    different = [(node, version) for node in site.others() if (version := site.version_on(node)) != site.installed]
    if different:
        raise errors.PrereqError(
            "environment_error",
            f"version {site.installed} is not installed on "
            + ", ".join(f"{node} ({version or 'nothing'})" for node, version in different),
            hint="install it there, or mark nodes that are away offline",
        )
    for node in site.offline():
        site.tell(f"{node} is offline: install {site.installed} there before it comes back")
