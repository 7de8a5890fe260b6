from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from ganeti.paths import SOCKET_DIR, Paths


@pytest.fixture
def where() -> Iterator[Paths]:
    """A virtual node with a short path, as a socket's path must be short."""
    root = tempfile.mkdtemp(prefix="luxi")
    try:
        paths = Paths(root, "node1.example.com")
        os.makedirs(paths.local(SOCKET_DIR))
        yield paths
    finally:
        shutil.rmtree(root)
