"""Every fault point is passed somewhere and exercised."""

import importlib
import os
import pkgutil
import re

from crash import points

import ganeti
from ganeti.host import faults


def _import_everything() -> None:
    for found in pkgutil.walk_packages(ganeti.__path__, "ganeti."):
        if ".testing" not in found.name and not found.name.endswith("__main__"):
            importlib.import_module(found.name)


_import_everything()


def test_every_point_comes_with_its_other_side():
    """A durable step has a point before and one after it."""
    names = set(faults.POINTS)
    for name in names:
        other = name.replace("before_", "after_") if "before_" in name else name.replace("after_", "before_")
        assert other in names, f"{name} has no counterpart {other}"


def test_every_point_is_passed(repository):
    """Registered under a name that code hits."""
    registered, passed = set(), ""
    for directory, _, files in os.walk(f"{repository}/lib"):
        for file_name in files:
            if file_name.endswith(".py"):
                with open(f"{directory}/{file_name}", encoding="utf-8") as file:
                    text = file.read()
                registered |= set(re.findall(r"^(\w+) = faults\.register\(", text, re.MULTILINE))
                passed += re.sub(r"^\w+ = faults\.register\(.*$", "", text, flags=re.MULTILINE)
    unused = sorted(name for name in registered if not re.search(rf"\b{name}\b", passed))
    assert unused == []


def test_every_point_is_known_to_the_crash_tests():
    """They kill a node daemon at each, the master daemon at each that it passes, and commands at theirs."""
    known = [*points.MASTER, *points.NODE_ONLY, *points.COMMANDS]
    assert len(known) == len(set(known))
    assert sorted(known) == sorted(faults.POINTS)
