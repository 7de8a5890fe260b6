"""Operations on the tags of the cluster and its objects."""

from __future__ import annotations

from typing import Literal

from ganeti.ops.base import OpCode, operation

TagKind = Literal["cluster", "node", "instance", "nodegroup", "network"]


@operation(summary="name")
class OpTagsGet(OpCode, frozen=True, tag="OP_TAGS_GET"):
    """Tell the tags of an object. Result: list of tags."""

    kind: TagKind
    name: str = ""  # of the object; of no importance for the cluster
    use_locking: bool = False


@operation(summary="pattern")
class OpTagsSearch(OpCode, frozen=True, tag="OP_TAGS_SEARCH"):
    """Find the tags that a regular expression matches somewhere. Result: list of (path of the object, tag)."""

    pattern: str


@operation()
class OpTagsSet(OpCode, frozen=True, tag="OP_TAGS_SET"):
    """Give tags to an object; those that it has already stay."""

    kind: TagKind
    tags: tuple[str, ...]
    name: str = ""


@operation()
class OpTagsDel(OpCode, frozen=True, tag="OP_TAGS_DEL"):
    """Take tags from an object; it must have them all."""

    kind: TagKind
    tags: tuple[str, ...]
    name: str = ""
