"""What an operation does, as values: printed by --dry-run, executed by the engine, undone from its journal."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.mirror import MirrorSync
from ganeti.model.jobs import Recovery, Resolve, Undo
from ganeti.model.locks import Level
from ganeti.model.objects import Change
from ganeti.model.types import Uuid


class OnFailure(enum.Enum):
    UNDO = "undo"  # the operation fails, what was done is taken back
    WARN = "warn"  # reported, the operation goes on
    OWE = "owe"  # reported, the operation goes on, and the node owes the call: it is made when the node is back


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """One changing call on one node. `undo` is journalled (durably) before the call is made."""

    title: str  # such as "create disk 0 of web1 on node2"
    node: Uuid
    call: ChangingCall[Any]  # Any: the reply is not used here
    undo: ChangingCall[Any] | None = None
    on_failure: OnFailure = OnFailure.UNDO
    passes: str = ""  # field of the next step's call that gets the reply
    hint: str | None = None  # the reply is a text: one that is not empty is warned of, with this hint


class Parallel(msgspec.Struct, frozen=True, kw_only=True):
    """Effects that do not depend on each other; all undos are journalled in one commit."""

    effects: tuple[Effect, ...]


class Commit(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration change. Drops the journal written so far: what was done, stays."""

    title: str
    changes: tuple[Change, ...]
    is_final: bool = False  # after it the operation succeeds, whatever happens: `result` is stored with it
    recoveries: tuple[Recovery, ...] = ()  # journalled in the same batch, for the steps that follow
    # what nodes that cannot be reached now have to do because of it, when they are back; the call's `undoes` is set,
    # so that a failure of it is not final
    debts: tuple[Undo, ...] = ()


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Journal a `Resolve` for the steps that follow."""

    resolve: Resolve


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A call without effect whose success is needed to go on."""

    title: str
    node: Uuid
    call: Call[Any]  # Any: the reply is not used here
    passes: str = ""  # field of the next step's call that gets the reply


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Ask until the mirrors have no synchronisation to do; how far they are is told meanwhile."""

    title: str
    node: Uuid
    call: MirrorSync
    on_failure: OnFailure = OnFailure.UNDO  # what is degraded in the end, or a node that does not answer for a minute


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Give locks back early, so that others need not wait for the rest."""

    title: str
    levels: tuple[Level, ...]
    keep: tuple[str, ...] = ()  # names of these levels that are held on, one by one


Step = Effect | Parallel | Commit | Record | Ask | Wait | Release


def title(step: Step) -> str:
    """What people are told that is done."""
    if isinstance(step, Parallel):
        return "; ".join(effect.title for effect in step.effects)
    if isinstance(step, Record):
        return f"note how to decide about the {step.resolve.title}, should it be interrupted"
    return step.title
