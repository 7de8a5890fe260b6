"""Private OS parameters apart from the objects that have them.

The row of an object has their names; the values are among the secrets, which are in no batch, no history and no hash.
Secrets of jobs are the hidden values of opcodes that have not ended. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ganeti.model.jobs import Job
from ganeti.model.objects import AnyObject, Cluster, Instance
from ganeti.model.types import JobId
from ganeti.ops import hidden
from ganeti.wire import codec

#: the field of an object whose values are private
_FIELDS: dict[type[AnyObject], str] = {Cluster: "osparams_private_cluster", Instance: "osparams_private"}

Secrets = dict[str, str | None]  # None: it goes


def name_of(kind: str, uuid: str) -> str:
    return f"{kind}/{uuid}"


def text_of(obj: AnyObject | None) -> str | None:
    """Its private values as they are kept, None if it has none."""
    value = getattr(obj, _FIELDS.get(type(obj), ""), None) if obj is not None else None
    return codec.dumps(value) if value else None


def without(obj: AnyObject) -> AnyObject:
    """As it is in its row."""
    field = _FIELDS.get(type(obj))
    value = getattr(obj, field) if field else None
    if field is None or not value:
        return obj
    return msgspec.structs.replace(obj, **{field: hidden.redacted({field: value})[field]})


def complete(obj: AnyObject, secrets: Mapping[str, str]) -> AnyObject:
    """With its private values, as far as they are known."""
    field = _FIELDS.get(type(obj))
    if field is None or not getattr(obj, field):
        return obj
    text = secrets.get(name_of(obj.kind, obj.uuid))
    if text is None:
        return obj
    known: dict[str, Any] = codec.decode(text, dict[str, Any])
    # a row and its secret are of one commit; were they not, the row says which values there are
    return msgspec.structs.replace(obj, **{field: _filled(getattr(obj, field), known)})


def _filled(shown: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in shown.items():
        mine = known.get(name, value)
        found[name] = _filled(value, mine) if isinstance(value, dict) and isinstance(mine, dict) else mine
    return found


def of_opcode(job: JobId, index: int) -> str:
    """Name of an opcode's secret."""
    return f"job/{job}/{index}"


def of_ended(job: Job, indexes: Iterable[int]) -> Secrets:
    """Those of these opcodes that nobody will ask for any more."""
    return {
        of_opcode(job.id, index): None
        for index in indexes
        if job.ops[index].status.is_final and hidden.has_hidden(job.ops[index].input)
    }
