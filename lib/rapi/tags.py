"""Entity tags: the serial number of an object, and what was shown of it."""

from __future__ import annotations

import hashlib
import re

from ganeti.rapi.ask import Answer
from ganeti.rapi.failures import bad_request

_TAG = re.compile(r"(?:W/)?\"?(\d{1,18})(?:-([0-9a-f]{8})(?:-([0-9a-f]{8}))?)?\"?\Z")


def of(serial: int, uuid: str, text: bytes) -> str:
    """`"serial-uuid-content"`: states that are not in the serial number (does it run?) are in the content."""
    return f'"{serial}-{uuid[:8]}-{hashlib.sha256(text).hexdigest()[:8]}"'


def answered(text: bytes, serial: int, uuid: str, *, known: str) -> Answer:
    """The answer with its tag; without content when the client has it already (`known`: If-None-Match)."""
    tag = of(serial, uuid, text)
    if known and is_known(known, tag):
        return Answer(text=b"", status=304, headers={"ETag": tag})
    return Answer(text=text, headers={"ETag": tag})


def is_known(header: str, tag: str) -> bool:
    """Whether If-None-Match names the tag; one without content asks for the serial number alone."""
    for untrusted in header.split(","):
        word = untrusted.strip().removeprefix("W/").strip('"')
        if word == "*" or (word and (tag.strip('"') + "-").startswith(word + "-")):
            return True
    return False


def parse(header: str) -> tuple[int, str]:
    """(serial number, start of the uuid or nothing) of If-Match. Raises HttpFailure(400)."""
    match = _TAG.match(header.strip())
    if match is None:
        raise bad_request('If-Match must be one ETag of a resource, or its serial number such as "12"')
    return int(match[1]), match[2] or ""
