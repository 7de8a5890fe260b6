"""Forms that threads read."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

#: forms whose tables msgspec has made
_ready: set[Any] = set()
_making = threading.Lock()


def make_ready(form: Any) -> None:
    """To be called before msgspec reads a form where there are threads. Any: types and unions.

    msgspec makes the tables of a struct when it is first read, and a second thread that reads it meanwhile ends the
    process by a segmentation fault (0.22.0 and before).
    """
    if form not in _ready:
        with _making:
            msgspec.json.Decoder(form)
            _ready.add(form)
