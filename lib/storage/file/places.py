"""Where file volumes may lie. Pure: texts in, texts out."""

from __future__ import annotations

import posixpath
from collections.abc import Collection

import msgspec

#: beside each volume lies its mark, with this ending
MARK = ".owner"

_SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
#: no volume lies in or below these, whatever the list of allowed directories says
FORBIDDEN = frozenset(
    {"/boot", "/dev", "/etc", "/home", "/proc", "/root", "/sys", "/usr"}
    | {f"/{name}" for name in _SYSTEM}
    | {f"/usr/{name}" for name in _SYSTEM}
)


class Allowed(msgspec.Struct, frozen=True):
    """What an administrator's list of directories says."""

    directories: tuple[str, ...]
    problems: tuple[str, ...]  # lines that are not used, and why


def parse_list(text: str) -> Allowed:
    """One absolute directory per line; blank lines and those with `#` at the start are skipped."""
    directories: list[str] = []
    problems: list[str] = []
    for line in text.splitlines():
        directory = line.strip()
        if not directory or directory.startswith("#"):
            continue
        problem = why_not_directory(directory)
        if problem:
            problems.append(f"{directory!r} {problem}")
        else:
            directories.append(directory)
    return Allowed(tuple(directories), tuple(problems))


def why_not_directory(directory: str) -> str:
    """Why volumes may not lie there, or nothing."""
    if not is_normal(directory):
        return "is not an absolute, normalised path"
    banned = next((place for place in (directory, *parents(directory)) if place in FORBIDDEN), None)
    if banned == "/usr" and directory.startswith("/usr/local/"):
        return ""
    if directory == "/" or banned is not None:
        return f"is {'' if banned in (None, directory) else 'below '}{banned or directory}, where no volume may lie"
    return ""


def why_not_volume(path: str, allowed: Collection[str]) -> str:
    """Why a volume may not have this logical path, or nothing."""
    if not is_normal(path):
        return "is not an absolute, normalised path"
    if path.endswith(MARK):
        return f"ends in {MARK}, as the marks beside volumes do"
    if not any(directory in parents(path) for directory in allowed):
        return "is not below an allowed directory (" + ", ".join(sorted(allowed)) + ")"
    return ""


def is_normal(path: str) -> bool:
    return path.startswith("/") and not path.startswith("//") and "\0" not in path and posixpath.normpath(path) == path


def parents(path: str) -> tuple[str, ...]:
    """All directories above, nearest first, without the root directory."""
    found = []
    while (path := posixpath.dirname(path)) not in ("/", ""):
        found.append(path)
    return tuple(found)
