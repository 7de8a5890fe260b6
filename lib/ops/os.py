"""Operations on OS definitions."""

from __future__ import annotations

from ganeti.ops.base import OpCode, operation


@operation()
class OpOsDiagnose(OpCode, frozen=True, tag="OP_OS_DIAGNOSE"):
    """What OS definitions the nodes have. Result: one row of `output_fields` per OS."""

    output_fields: tuple[str, ...]
    names: tuple[str, ...] = ()


@operation()
class OpExtStorageDiagnose(OpCode, frozen=True, tag="OP_EXT_STORAGE_DIAGNOSE"):
    """What providers of external storage the nodes have. Result: one row of `output_fields` per provider."""

    output_fields: tuple[str, ...]
    names: tuple[str, ...] = ()
