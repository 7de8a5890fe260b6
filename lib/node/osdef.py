"""What an OS directory says about itself. Pure: the contents of its files in, a judgement out."""

from __future__ import annotations

import re
from collections.abc import Collection

import msgspec

from ganeti.calls.os import OsDefinition

#: versions of the script interface that we speak
API_VERSIONS = (20, 15, 10)
#: of scripts that get everything as arguments
_ARGUMENTS = 5
SCRIPTS = ("create", "create_untrusted", "import", "export", "rename", "verify")
NAME = re.compile(r"[a-zA-Z0-9_-]+\Z")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in the directory; None: no such file."""

    name: str
    path: str  # logical
    api_version: str | None = None
    variants: str | None = None
    parameters: str | None = None
    hypervisors: str | None = None
    scripts: dict[str, str] = {}  # script → why it cannot be run, or empty
    distrust: tuple[str, ...] = ()  # who else than root could have changed it


def judge(found: Found) -> OsDefinition:
    """The definition, with every reason why it is not valid."""
    problems: list[str] = []
    versions = _versions(found, problems)
    problems += [f"script {name} {problem}" for name, problem in found.scripts.items() if problem]
    if not {"create", "create_untrusted"} & set(found.scripts):
        problems.append("there is no script create")
    problems += found.distrust
    return OsDefinition(
        name=found.name,
        path=found.path,
        valid=not problems,
        reason="; ".join(problems),
        remarks=_remarks(found.scripts),
        variants=tuple(_lines(found.variants)),
        parameters=tuple(_parameters(found.parameters)),
        api_versions=versions,
        hypervisors=tuple(_lines(found.hypervisors)),
        trusted="create_untrusted" not in found.scripts,
        scripts=tuple(name for name in SCRIPTS if name in found.scripts),
    )


def api_version(definition: OsDefinition) -> int:
    """The highest that both sides speak."""
    return max(set(definition.api_versions) & set(API_VERSIONS))


def split_name(full: str) -> tuple[str, str]:
    """(name, variant) of `name` or `name+variant`."""
    name, _, variant = full.partition("+")
    return name, variant


def variant(definition: OsDefinition, full: str) -> str:
    """What scripts are told: the one in the name, else the first listed, else empty."""
    wanted = split_name(full)[1]
    return wanted or next(iter(definition.variants), "")


def why_not_usable(definition: OsDefinition, full: str, hypervisor: str) -> str:
    """Why scripts of this definition cannot serve an instance, or nothing."""
    if not definition.valid:
        return f"OS {definition.name} is not valid here: {definition.reason}"
    if split_name(full)[1] and not definition.variants:
        return f"OS {definition.name} has no variants, but the instance's OS is {full}"
    if definition.hypervisors and hypervisor not in definition.hypervisors:
        return f"OS {definition.name} is for {', '.join(definition.hypervisors)} only, not for {hypervisor}"
    return ""


def _remarks(there: Collection[str]) -> str:
    """What cannot be done with its instances because a script is not there, or nothing."""
    if not {"import", "export"} & set(there):
        told = ["no scripts for exports: whole disks are moved"]
    else:
        told = [f"no {script} script: {what}" for script, what in _NEEDS.items() if script not in there]
    if "create_untrusted" in there and "create" not in there:
        told.append("no create script: create_untrusted needs the cluster's install image to run in")
    if "rename" not in there:
        told.append("no rename script: instances do not learn of a new name")
    return "; ".join(told)


_NEEDS = {
    "export": "warning, its import script has nothing to read; instances cannot be exported by scripts",
    "import": "warning, nothing reads what its export script writes; instances cannot be imported by scripts",
}


def _versions(found: Found, problems: list[str]) -> tuple[int, ...]:
    if found.api_version is None:
        problems.append("there is no file ganeti_api_version")
        return ()
    words = found.api_version.split()
    wrong = [word for word in words if not word.isdecimal()]
    if wrong or not words:
        problems.append(
            f"ganeti_api_version has {wrong[0]!r}, not a number" if wrong else "ganeti_api_version is empty"
        )
        return ()
    versions = tuple(sorted({int(word) for word in words}, reverse=True))
    if not set(versions) & set(API_VERSIONS):
        its, ours = (", ".join(map(str, numbers)) for numbers in (versions, API_VERSIONS))
        if versions == (_ARGUMENTS,):
            problems.append(
                f"its scripts are for the old OS API {its}, which passes arguments and is not spoken any more;"
                f" supported are {ours}"
            )
        else:
            problems.append(f"it has the API versions {its}, supported are {ours}")
    return versions


def _lines(text: str | None) -> list[str]:
    lines = (line.strip() for line in (text or "").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _parameters(text: str | None) -> list[tuple[str, str]]:
    found = []
    for line in _lines(text):
        name, _, help_text = line.replace("\t", " ").partition(" ")
        found.append((name.lower(), help_text.strip()))
    return found
