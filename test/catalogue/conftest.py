"""What the catalogue tests look into."""

import os
import re

import pytest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
#: tests of these folders count as exercise
FOLDERS = ("unit", "driver", "logic", "stateful", "scenario", "golden", "functional", "crash")


def _words(*folders: str) -> set[str]:
    found: set[str] = set()
    for folder in folders:
        for directory, _, names in os.walk(f"{REPOSITORY}/{folder}"):
            for name in names:
                if name.endswith(".py"):
                    with open(f"{directory}/{name}", encoding="utf-8") as file:
                        found.update(re.findall(r"[\w.-]+", file.read()))
    return found


@pytest.fixture(scope="session")
def tested() -> set[str]:
    """Every word that stands in a test."""
    return _words(*(f"test/{folder}" for folder in FOLDERS))


@pytest.fixture(scope="session")
def repository() -> str:
    return REPOSITORY
