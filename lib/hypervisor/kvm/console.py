"""The log of a guest's serial console. The emulator appends to it, so cutting it from outside is safe."""

from __future__ import annotations

import os

LIMIT = 16 << 20  # bytes; above it the log is cut
KEEP = 256 << 10


def read_end(path: str, max_bytes: int) -> str:
    """The last bytes as text; no log: empty."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - max_bytes))
            return file.read(max_bytes).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def trim(path: str) -> None:
    """Keep only the end of a log that has grown too long. What is written meanwhile may be lost."""
    try:
        if os.stat(path).st_size <= LIMIT:
            return
    except FileNotFoundError:
        return
    end = read_end(path, KEEP)
    os.truncate(path, 0)
    with open(path, "ab") as file:
        file.write(end.encode())
