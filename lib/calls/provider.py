"""Calls about providers of external storage."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, call


class ProviderDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's directory of a node."""

    name: str
    path: str  # logical
    valid: bool
    reason: str  # why not, or empty
    parameters: tuple[tuple[str, str], ...] = ()  # (name, help)


@call(reply=tuple[ProviderDefinition, ...])
class ProviderDiagnose(Call[tuple[ProviderDefinition, ...]], frozen=True, tag="provider_diagnose"):
    """All providers of the node, the broken ones too."""
