"""What a check of the cluster found: codes, collecting, and the lines that people and scripts read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ganeti import errors

#: object type of each code; codes are part of what scripts know
CODES: dict[str, str] = {
    **dict.fromkeys(
        (
            "ECLUSTERCFG",
            "ECLUSTERCERT",
            "ECLUSTERCLIENTCERT",
            "ECLUSTERFILECHECK",
            "ECLUSTERDANGLINGNODES",
            "ECLUSTERDANGLINGINST",
        ),
        "cluster",
    ),
    "EGROUPDIFFERENTPVSIZE": "group",
    **dict.fromkeys(
        (
            "EINSTANCEBADNODE",
            "EINSTANCEDOWN",
            "EINSTANCELAYOUT",
            "EINSTANCEMISSINGDISK",
            "EINSTANCEFAULTYDISK",
            "EINSTANCEWRONGNODE",
            "EINSTANCESPLITGROUPS",
            "EINSTANCEPOLICY",
            "EINSTANCEUNSUITABLENODE",
            "EINSTANCEMISSINGCFGPARAMETER",
        ),
        "instance",
    ),
    **dict.fromkeys(
        (
            "ENODEDRBD",
            "ENODEDRBDVERSION",
            "ENODEDRBDHELPER",
            "ENODEFILECHECK",
            "ENODEHOOKS",
            "ENODEHV",
            "ENODELVM",
            "ENODEN1",
            "ENODENET",
            "ENODEOS",
            "ENODEORPHANINSTANCE",
            "ENODEORPHANLV",
            "ENODERPC",
            "ENODESSH",
            "ENODEVERSION",
            "ENODESETUP",
            "ENODETIME",
            "ENODEOOBPATH",
            "ENODEUSERSCRIPTS",
            "ENODEFILESTORAGEPATHS",
            "ENODEFILESTORAGEPATHUNUSABLE",
            "ENODESHAREDFILESTORAGEPATHUNUSABLE",
            "ENODEGLUSTERSTORAGEPATHUNUSABLE",
            "EEXTAGS",
        ),
        "node",
    ),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    item: str  # name of the object; empty for the cluster
    text: str
    is_warning: bool = False


class Findings:
    """Collects what is wrong. With `simulate` every check counts as failed (a test aid for scripts)."""

    def __init__(self, *, simulate: bool = False, ignore: Iterable[str] = ()) -> None:
        self._simulate = simulate
        self._ignore = frozenset(ignore)
        self._found: list[Finding] = []

    def check(self, is_well: bool, code: str, item: str, text: str, *, is_warning: bool = False) -> bool:
        """Note it when it is not well. Returns `is_well`."""
        if not is_well or self._simulate:
            warns = is_warning or code in self._ignore
            self._found.append(Finding(code=code, item=item, text=text, is_warning=warns))
        return is_well

    def take(self) -> Sequence[Finding]:
        """What was found since the last call."""
        found, self._found = self._found, []
        return found


def line(found: Finding, *, with_codes: bool) -> str:
    level = "WARNING" if found.is_warning else "ERROR"
    kind = CODES[found.code]
    if with_codes:
        return f"  - {level}:{found.code}:{kind}:{found.item}:{found.text}"
    item = f"{kind} {found.item}" if found.item else kind
    return f"  - {level}: {item}: {found.text}"


def known_codes(untrusted: Iterable[str]) -> frozenset[str]:
    """Raises PrereqError(wrong_input)."""
    wanted = frozenset(untrusted)
    unknown = sorted(wanted - set(CODES))
    if unknown:
        raise errors.PrereqError(
            "wrong_input", f"there is no error code {unknown[0]!r}", hint="there are " + ", ".join(sorted(CODES))
        )
    return wanted
