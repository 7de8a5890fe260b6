"""List fields of job filters."""

from __future__ import annotations

from ganeti import errors
from ganeti.model.jobs import FilterRule
from ganeti.query.fields import Field, Kind, Resource, table
from ganeti.query.view import View

OTHER = Kind.OTHER


def _every(view: View) -> list[FilterRule]:
    """In the order in which they are looked at."""
    return sorted(view.filters, key=lambda rule: (rule.priority, rule.watermark, rule.uuid))


def _lookup(view: View, uuid: str | int) -> FilterRule:
    found = next((rule for rule in view.filters if rule.uuid == uuid), None)
    if found is None:
        raise errors.PrereqError("unknown_entity", f"there is no job filter {str(uuid)[:80]!r}")
    return found


def _action(rule: FilterRule) -> object:
    return rule.action[0] if len(rule.action) == 1 else list(rule.action)


FILTER = Resource(
    name="filter",
    fields=table((
        Field("watermark", "Watermark", OTHER, "Highest job number when it was set", lambda _, rule: rule.watermark),
        Field("priority", "Priority", OTHER, "Lower ones are looked at first", lambda _, rule: rule.priority),
        Field("predicates", "Predicates", OTHER, "What a job must fulfil", lambda _, rule: list(rule.predicates)),
        Field("action", "Action", OTHER, "What is done with the jobs", lambda _, rule: _action(rule)),
        Field("reason_trail", "ReasonTrail", OTHER, "Why it was set", lambda _, rule: list(rule.reason_trail)),
        Field("uuid", "UUID", OTHER, "Unique id", lambda _, rule: rule.uuid),
    )),
    every=_every,
    name_field="uuid",
    lookup=_lookup,
    identity=lambda rule: rule.uuid,
)  # fmt: skip
