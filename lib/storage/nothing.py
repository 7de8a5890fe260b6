"""What templates answer alike whose volumes nobody makes here: there is none of ours, and nothing to ask about."""

from __future__ import annotations

from ganeti.calls.node import StorageInfo


class NothingMade:
    """The part of `Storage` that is about what this template has made on a node."""

    mirror = None

    def space(self, *, vg: str = "") -> StorageInfo:
        return StorageInfo()

    def verify(self, *, vg: str = "") -> str:
        return ""

    def origins(self) -> dict[str, str]:
        return {}

    def volumes(self) -> tuple[str, ...]:
        return ()

    def strays(self, *, vg: str = "") -> tuple[str, ...]:
        return ()
