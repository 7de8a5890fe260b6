"""What a DRBD device is told, from the complete parameters of a disk. Pure."""

from __future__ import annotations

import shlex

from ganeti import errors
from ganeti.model import diskparams
from ganeti.model.objects import DiskTemplate, Params

_BARRIERS = {"b": "--disk-barrier=no", "d": "--disk-drain=no", "f": "--disk-flushes=no"}


def complete(overrides: Params) -> Params:
    return {**diskparams.defaults(DiskTemplate.DRBD), **overrides}


def disk_options(overrides: Params) -> tuple[str, ...]:
    """Options of `drbdsetup attach`, but for those that are always there. Raises StorageError."""
    values = complete(overrides)
    found = [_BARRIERS[letter] for letter in "bdf" if letter in str(values["disk-barriers"])]
    if values["meta-barriers"]:
        found.append("--md-flushes=no")
    return (*found, *resync_options(overrides), *_custom(values, "disk-custom"))


def resync_options(overrides: Params) -> tuple[str, ...]:
    values = complete(overrides)
    if not values["dynamic-resync"]:
        # without this the rate is only where the controller begins
        return (f"--resync-rate={values['resync-rate']}", "--c-plan-ahead=0")
    return (
        f"--c-plan-ahead={values['c-plan-ahead']}",
        f"--c-fill-target={values['c-fill-target']}",
        f"--c-delay-target={values['c-delay-target']}",
        f"--c-max-rate={values['c-max-rate']}",
        f"--c-min-rate={values['c-min-rate']}",
    )


def net_options(overrides: Params) -> tuple[str, ...]:
    """Of `drbdsetup connect`. After a split brain nothing that was written is thrown away by itself."""
    values = complete(overrides)
    how = ("--after-sb-0pri=discard-zero-changes", "--after-sb-1pri=consensus")
    return ("--protocol", str(values["protocol"]), *how, *_custom(values, "net-custom"))


def _custom(values: Params, name: str) -> tuple[str, ...]:
    problem = diskparams.custom_problem(str(values[name]))
    if problem:
        raise errors.StorageError(f"the disk parameter {name} ({values[name]!r}) {problem}")
    return tuple(shlex.split(str(values[name])))
