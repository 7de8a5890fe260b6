"""The access log: one line for each request, in the common log format."""

from __future__ import annotations

import logging
import time

from ganeti import paths
from ganeti.host import files
from ganeti.host.daemon import LogFile
from ganeti.paths import Paths

LOG_NAME = "rapi-access"
log = logging.getLogger("ganeti.access")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def open_log(where: Paths) -> LogFile:
    """From now on lines of `log` go to their own file. Raises OSError."""
    file = paths.log_file(LOG_NAME)
    uid, gid = files.owner_ids(file, is_virtual=where.is_virtual)
    handler = LogFile(where.local(file), mode=file.mode, uid=uid, gid=gid)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return handler


def line(address: str, user: str, now: float, request: str, *, status: int, size: int) -> str:
    """What a client sent is made harmless: no line breaks, no quotes."""
    local = time.localtime(now)
    zone = time.strftime("%z", local)
    # %b would follow the locale
    stamp = f"{local.tm_mday:02}/{_MONTHS[local.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S', local)} {zone}"
    return f'{address or "-"} - {_harmless(user) or "-"} [{stamp}] "{_harmless(request)}" {status} {size}'


def _harmless(untrusted: str) -> str:
    return "".join(
        character if character.isprintable() and character not in '"\\' and character.isascii() else "?"
        for character in untrusted[:2000]
    )
