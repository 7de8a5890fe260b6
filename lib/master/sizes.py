"""How large what is kept of a job may become: a job with its log has to fit into one message to the candidates."""

from __future__ import annotations

from typing import Any

from ganeti.store import parcel
from ganeti.store.api import Write
from ganeti.wire import codec

#: bytes, as they are sent to the candidates: of a job when it is submitted, and with its results
SUBMITTED, ENDED = 8 << 20, 16 << 20
#: characters of its values that are hidden: all that there are travel together to a candidate that lacks them
HIDDEN = 256 << 10
#: of one log entry, and of all of a job
ENTRY, LOG = 256 << 10, 12 << 20
#: of the archived jobs of one commit, before the last one of them
ARCHIVED = 16 << 20
#: what an entry takes besides its text
_ENTRY_FRAME = 200


def fits(write: Write, limit: int) -> bool:
    return parcel.fits((write,), limit)


def of_entry(message: Any) -> int:
    """Bytes of a log entry. Any: JSON."""
    text = codec.pack(message).decode()
    for _ in range(2):  # a row in a batch in a message
        text = codec.dumps(text)
    return len(text) + _ENTRY_FRAME


def cut(message: Any) -> Any:
    """A log entry that is not too large. Any: JSON."""
    if not isinstance(message, str) or len(message) * 16 <= ENTRY or of_entry(message) <= ENTRY:
        return message
    kept = message[: ENTRY // 16]
    return f"{kept} ... ({len(message) - len(kept)} more characters are not kept)"
