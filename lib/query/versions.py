"""Version numbers that clients ask for."""

from __future__ import annotations

import os
import struct

# The interfaces that existing clients know: they compare none of these, people read them.
PROTOCOL = 3_000_000
CONFIG = 3_000_000
OS_API = 20
EXPORT = 0


def architecture() -> list[str]:
    """Word size and machine, such as `["64bits", "x86_64"]`."""
    return [f"{struct.calcsize('P') * 8}bits", os.uname().machine]
