"""Whether the watcher rests. Every node has the time in a file, so that this can be known without a master."""

from __future__ import annotations

import logging

from ganeti import paths
from ganeti.host import files
from ganeti.paths import Paths

log = logging.getLogger(__name__)


def paused_until(where: Paths, now: float) -> float | None:
    """Epoch seconds; None: it does not rest, or not any more. A file that cannot be read as a time counts as none."""
    local = where.local(paths.WATCHER_PAUSE)
    text = files.read_text(local)
    if text is None or not text.strip():
        return None
    try:
        until = float(text)
    except ValueError:
        log.warning("%s does not hold a time: %r", local, text[:40])
        return None
    return until if until > now else None
