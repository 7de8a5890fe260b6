"""How a list field is declared: one line with name, title, kind, meaning and getter."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import msgspec

from ganeti.query.view import View


class Kind(enum.Enum):
    """How a client aligns and formats the values."""

    UNKNOWN = "unknown"
    TEXT = "text"
    BOOL = "bool"
    NUMBER = "number"
    FLOAT = "float"
    UNIT = "unit"  # MiB
    TIMESTAMP = "timestamp"  # epoch seconds
    OTHER = "other"


class Need(enum.Enum):
    """Data that is not in the configuration and costs node calls or a look into the archive."""

    GUESTS = "guests"
    CONSOLE = "console"  # comes with GUESTS
    NODES = "nodes"
    ARCHIVE = "archive"
    # the objects themselves are known to the nodes alone
    OSES = "oses"
    EXPORTS = "exports"
    PROVIDERS = "providers"


class Compare(enum.Enum):
    """How a filter compares the field's values."""

    PLAIN = "plain"
    HOST_NAME = "host_name"  # equality takes a prefix that ends at a dot, in any case
    SECONDS = "seconds"  # (seconds, microseconds) by its seconds


# Any: each resource has its own objects, and values are JSON.
Getter = Callable[[View, Any], Any]


class Field(msgspec.Struct, frozen=True):
    """`get` returns the value, or an `Absent` that says why there is none."""

    name: str
    title: str
    kind: Kind
    doc: str
    get: Getter
    need: Need | None = None
    compare: Compare = Compare.PLAIN

    def definition(self) -> dict[str, str]:
        """As clients see it."""
        return {"name": self.name, "title": self.title, "kind": self.kind.value, "doc": self.doc}


def same_as(field: Field, name: str, title: str = "") -> Field:
    """An old or short name of `field`."""
    doc = field.doc if field.doc.endswith(")") else f"{field.doc} (same as {field.name})"
    return msgspec.structs.replace(field, name=name, title=title or field.title, doc=doc)


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """What can be listed: its fields and where its objects are."""

    name: str
    fields: Mapping[str, Field]
    every: Callable[[View], Sequence[Any]]  # Any: the resource's objects, in their order of listing
    name_field: str = "name"
    # the object behind a name that somebody asked for; raises PrereqError(unknown_entity)
    lookup: Callable[[View, str | int], Any] | None = None
    # instead of `lookup`, where several objects have the name
    lookup_all: Callable[[View, str | int], Sequence[Any]] | None = None
    identity: Callable[[Any], object] = id  # what makes two requested names the same object
    source: Need | None = None  # collected before there are any objects
    # objects that are left out unless a field with the reason is asked for: whether to show this one
    is_shown: Callable[[Any, Set[str]], bool] | None = None

    @property
    def has_names(self) -> bool:
        """Whether its objects can be asked for by name."""
        return self.lookup is not None or self.lookup_all is not None


def table(fields: Iterable[Field]) -> dict[str, Field]:
    """Fields by name. Raises TypeError for a name that is declared twice or a title that cannot be a heading."""
    found: dict[str, Field] = {}
    for field in fields:
        if field.name in found:
            raise TypeError(f"field {field.name} is declared twice")
        if not field.title or " " in field.title or not field.doc:
            raise TypeError(f"field {field.name} needs a title without blanks and a description")
        found[field.name] = field
    return found


def stamps(what: str) -> tuple[Field, ...]:
    """The fields that every stored object has."""
    return (
        Field("ctime", "CTime", Kind.TIMESTAMP, f"When the {what} was created", lambda _, obj: obj.ctime),
        Field("mtime", "MTime", Kind.TIMESTAMP, f"When the {what} was last changed", lambda _, obj: obj.mtime),
        Field("uuid", "UUID", Kind.TEXT, f"Unique id of the {what}", lambda _, obj: obj.uuid),
        Field("serial_no", "SerialNo", Kind.NUMBER, f"Number of changes of the {what}", lambda _, obj: obj.serial_no),
        Field("tags", "Tags", Kind.OTHER, f"Tags of the {what}", lambda _, obj: sorted(obj.tags)),
    )
