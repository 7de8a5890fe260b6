"""What xl prints. Pure; `test/transcripts/xen-4.17` has recordings."""

from __future__ import annotations

import logging
import re

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestState
from ganeti.calls.node import HypervisorInfo
from ganeti.model.types import MiB

log = logging.getLogger(__name__)

DOM0 = "Domain-0"
#: names that a domain has in the middle of a migration
INCOMING, AWAY = "--incoming", "--migratedaway"
#: a name that somebody else gave may have blanks in it
_ROW = re.compile(
    r"(?P<name>\S.*?)\s+(?P<id>\d+)\s+(?P<memory>\d+)\s+(?P<vcpus>\d+)"
    r"\s+(?P<state>[r-][b-][p-][s-][rscwS?-][d-])\s+(?P<seconds>[\d.]+)\s+(?P<uuid>[0-9a-fA-F-]{36})(?:\s|\Z)"
)
_FRAMES = re.compile(r"Frames: \d+/\d+ +(\d+)%")


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `xl list -v`."""

    name: str
    id: int
    memory: MiB
    vcpus: int
    state: str  # the six letters
    cpu_seconds: float
    uuid: str

    @property
    def is_paused(self) -> bool:
        """By somebody: it may have had nothing to do then (`b`). One that is built or ended is so too for a moment."""
        return self.state[2:] == "p---"

    @property
    def has_switched_off(self) -> bool:
        """Shut down with the reason `poweroff`; one that was destroyed has none."""
        return self.state[3:5] == "s-"

    @property
    def is_suspended(self) -> bool:
        """It has handed itself over for a migration, and waits for somebody to tell it that it goes on."""
        return self.state[3:5] == "ss"


def halves(name: str) -> tuple[str, str]:
    """What its domain may be called besides, in the middle of a migration."""
    return name + INCOMING, name + AWAY


def domains(text: str) -> tuple[Domain, ...]:
    """All of `xl list -v`, also those that have no name any more. Raises HypervisorError."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("Name"):
        raise errors.HypervisorError(f"xl list printed something unknown: {text[:200]!r}")
    return tuple(_domain(line) for line in lines[1:] if line.strip())


def _domain(line: str) -> Domain:
    found = _ROW.match(line)
    if found is None:
        raise errors.HypervisorError(f"xl list printed a line that cannot be read: {line!r}")
    return Domain(
        name=found["name"],
        id=int(found["id"]),
        memory=int(found["memory"]),
        vcpus=int(found["vcpus"]),
        state=found["state"],
        cpu_seconds=float(found["seconds"]),
        uuid=found["uuid"].lower(),
    )


def state(domain: Domain) -> GuestState:
    """Letters: running, blocked, paused, shut down, crashed, dying; none: ready to run."""
    letters = domain.state
    if letters[3:5] == "sr":
        return GuestState.RUNNING  # also while the old domain goes: the new one has its name
    if letters[5] == "d" or letters[4] == "c":
        return GuestState.SHUTDOWN
    if letters[3] == "s":
        # of the reasons only suspended (for a migration), restarting and soft reset mean that it goes on
        return GuestState.RUNNING if letters[4] in "srS" else GuestState.SHUTDOWN
    return GuestState.PAUSED if domain.is_paused else GuestState.RUNNING


def info(text: str) -> dict[str, str]:
    """`key : value` lines of `xl info`."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, sep, value in pairs if sep}


def node_info(text: str, dom0: Domain | None) -> HypervisorInfo:
    """Raises HypervisorError."""
    found = info(text)
    try:
        cpus = int(found["nr_cpus"])
        per_socket = int(found["cores_per_socket"]) * int(found["threads_per_core"])
        return HypervisorInfo(
            memory_total=int(found["total_memory"]),
            memory_free=int(found["free_memory"]),
            memory_dom0=dom0.memory if dom0 is not None else 0,
            cpu_total=cpus,
            cpu_sockets=max(1, cpus // max(1, per_socket)),
            version=version(found),
        )
    except (KeyError, ValueError) as err:
        raise errors.HypervisorError(f"xl info printed something unknown: {err} is missing or no number") from err


def version(found: dict[str, str]) -> str:
    """Such as `4.17`; empty when it is not told."""
    major, minor = found.get("xen_major", ""), found.get("xen_minor", "")
    return f"{major}.{minor}" if major and minor else ""


def version_problem(source: str, target: str) -> str:
    """Why a guest of one Xen version cannot go to another, or nothing. To the same or the next minor one it can."""
    there, here = _numbers(source), _numbers(target)
    if there is None or here is None:
        return f"the versions of Xen cannot be compared: {source or 'unknown'} and {target or 'unknown'}"
    if there[0] == here[0] and here[1] - there[1] in (0, 1):
        return ""
    return f"Xen {source} there and {target} here: guests move to the same or the next release only"


def _numbers(text: str) -> tuple[int, int] | None:
    parts = text.split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) == 2 and all(part.isdigit() for part in parts) else None


def progress(text: str) -> float | None:
    """The last percentage in the output of `xl migrate`."""
    found = _FRAMES.findall(text)
    return float(found[-1]) if found else None
