"""Lists as operations: for clients that submit a job where others ask directly."""

from __future__ import annotations

from typing import Any

from ganeti.ops.base import OpCode, operation


@operation(summary="what")
class OpQuery(OpCode, frozen=True, tag="OP_QUERY"):
    """Answer a query. Result: the fields' definitions, and rows of [status, value]."""

    what: str
    fields: tuple[str, ...]
    qfilter: list[Any] | None = None  # Any: JSON; the query checks it
    use_locking: bool = False  # without meaning: every answer is of one moment


@operation(summary="what")
class OpQueryFields(OpCode, frozen=True, tag="OP_QUERY_FIELDS"):
    """Describe the fields of a query. Result: their definitions, all of them when none are named."""

    what: str
    fields: tuple[str, ...] | None = None


@operation()
class OpClusterQuery(OpCode, frozen=True, tag="OP_CLUSTER_QUERY"):
    """Tell the settings of the cluster. Result: an object, as QueryClusterInfo answers it."""


@operation()
class OpClusterConfigQuery(OpCode, frozen=True, tag="OP_CLUSTER_CONFIG_QUERY"):
    """Tell single values of the configuration. Result: list of values in the order of the fields."""

    output_fields: tuple[str, ...]
