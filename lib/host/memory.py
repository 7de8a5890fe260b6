"""How the C library keeps memory that Python has given back to it."""

from __future__ import annotations

import ctypes

# mallopt(3), as <malloc.h> numbers them
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
#: blocks of so many bytes are given back to the system when they are freed
LARGE = 512 << 10
#: and so is free memory at the end of the heap
_SPARE = 1 << 20


def keep_little() -> None:
    """For a daemon that lives long and decodes large messages; to be called before it has threads.

    Each thread would have a heap of its own, where what is freed after one large message waits for another in the same
    thread. Threads of Python take turns: one heap serves them all. A threshold that is set is not raised by the
    library when large blocks come and go.
    """
    library = _library()
    if library is not None:
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, LARGE)
        library.mallopt(_TRIM_THRESHOLD, _SPARE)


def give_back() -> None:
    """Pages that nothing lies on go back to the system now."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


def _library() -> ctypes.CDLL | None:
    """None: it is not the one that knows these calls."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
