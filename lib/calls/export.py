"""Calls about exports that lie on a node."""

from __future__ import annotations

from ganeti.calls.base import Call, call


@call(reply=tuple[str, ...])
class ExportList(Call[tuple[str, ...]], frozen=True, tag="export_list"):
    """Names of the complete exports."""
