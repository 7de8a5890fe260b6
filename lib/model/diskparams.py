"""Parameters of disk templates: defaults of the cluster and of node groups."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ganeti import errors
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.objects import DiskTemplate, Params
from ganeti.model.params import Declarations, Kind, Parameter, at_least, one_of
from ganeti.model.types import Uuid

# Any: JSON, untrusted.

#: what decides whose data are thrown away, or lets both halves write, is not for everybody's options; getopt_long(3)
#: takes the beginning of a word for the whole
_NEVER = (
    "--discard-my-data", "--after-sb-0pri", "--after-sb-1pri", "--after-sb-2pri", "--always-asbp", "--rr-conflict",
    "--allow-two-primaries", "--tentative", "--on-io-error", "--shared-secret", "--cram-hmac-alg",
)  # fmt: skip
_SHORTEST = 4  # of a word that may be a beginning


def custom_problem(options: str) -> str:
    """What is wrong with options that are handed to drbdsetup as they are, or nothing."""
    try:
        words = shlex.split(options)
    except ValueError as err:
        return f"cannot be split into words: {err}"
    for word in words:
        name = word.partition("=")[0]
        found = next((each for each in _NEVER if len(name) >= _SHORTEST and each.startswith(name)), None)
        if found is not None:
            return f"must not have {found}: that is decided by the cluster, or by somebody who looks at both halves"
    return ""


_ACCESS = Parameter(Kind.TEXT, "kernelspace", one_of("kernelspace", "userspace"))

#: by template; one that is missing has no parameters
DECLARED: Mapping[DiskTemplate, Declarations] = {
    DiskTemplate.DRBD: {
        "resync-rate": Parameter(Kind.INT, 61440, at_least(1)),  # KiB/s
        "data-stripes": Parameter(Kind.INT, 1, at_least(1)),
        "meta-stripes": Parameter(Kind.INT, 1, at_least(1)),
        "disk-barriers": Parameter(Kind.TEXT, "n", one_of("n", "b", "d", "f", "bd", "bf", "df", "bfd")),
        "meta-barriers": Parameter(Kind.BOOL, False),
        "metavg": Parameter(Kind.TEXT, ""),
        "disk-custom": Parameter(Kind.TEXT, "", custom_problem),
        "net-custom": Parameter(Kind.TEXT, "", custom_problem),
        "protocol": Parameter(Kind.TEXT, "C", one_of("A", "B", "C")),
        "dynamic-resync": Parameter(Kind.BOOL, False),
        "c-plan-ahead": Parameter(Kind.INT, 20, at_least(0)),  # tenths of a second
        "c-fill-target": Parameter(Kind.INT, 0, at_least(0)),
        "c-delay-target": Parameter(Kind.INT, 1, at_least(1)),  # tenths of a second
        "c-max-rate": Parameter(Kind.INT, 61440, at_least(1)),  # KiB/s
        "c-min-rate": Parameter(Kind.INT, 4096, at_least(0)),  # KiB/s
    },
    DiskTemplate.PLAIN: {"stripes": Parameter(Kind.INT, 1, at_least(1))},
    DiskTemplate.RBD: {"pool": Parameter(Kind.TEXT, "rbd"), "access": _ACCESS},
    DiskTemplate.EXT: {"access": _ACCESS},
    DiskTemplate.GLUSTER: {
        "access": _ACCESS,
        "host": Parameter(Kind.TEXT, "127.0.0.1"),
        "volume": Parameter(Kind.TEXT, "gv0"),
        "port": Parameter(Kind.INT, 24007, at_least(1)),
    },
}


def defaults(template: DiskTemplate) -> Params:
    return params.defaults(DECLARED.get(template, {}))


def parse(untrusted: Mapping[str, Mapping[str, Any]]) -> dict[str, Params]:
    """Typed overrides by template; None where one shall go. Raises PrereqError(wrong_input)."""
    found = {}
    for name, values in untrusted.items():
        known = {template.value: template for template in DiskTemplate}
        if name not in known:
            raise errors.PrereqError(
                "wrong_input", f"there is no disk template {name!r}", hint="there are " + ", ".join(known)
            )
        if not isinstance(values, Mapping):
            raise errors.PrereqError("wrong_input", f"disk template {name}: parameters are wanted, not {values!r}")
        found[name] = params.parse(DECLARED.get(known[name], {}), values, f"{name} disk")
    return found


def merged(overrides: Mapping[str, Params], changes: Mapping[str, Params]) -> dict[str, Params]:
    """By template; one without overrides is left out."""
    every = {name: params.merged(overrides.get(name, {}), changes.get(name, {})) for name in {**overrides, **changes}}
    return {name: values for name, values in every.items() if values}


def filled(config: Config, template: DiskTemplate, group: Uuid) -> Params:
    """Complete: built-in, cluster, group."""
    found = config.groups.get(group)
    return {
        **defaults(template),
        **config.cluster.diskparams.get(template.value, {}),
        **(found.diskparams.get(template.value, {}) if found is not None else {}),
    }


def of_cluster(config: Config) -> dict[str, Params]:
    """Complete, by template: built-in, cluster."""
    return {
        template.value: {**defaults(template), **config.cluster.diskparams.get(template.value, {})}
        for template in DiskTemplate
    }
