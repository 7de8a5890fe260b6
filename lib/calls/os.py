"""Calls about OS definitions and their scripts."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call
from ganeti.calls.helper import Helper
from ganeti.calls.instance import GuestSpec
from ganeti.model.objects import Params


class OsDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One OS directory of a node."""

    name: str
    path: str
    valid: bool
    reason: str  # why not, or empty
    remarks: str = ""  # what cannot be done with its instances, though it is valid
    variants: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()  # (name, help)
    api_versions: tuple[int, ...] = ()
    hypervisors: tuple[str, ...] = ()  # empty: any
    trusted: bool = True
    scripts: tuple[str, ...] = ()  # which of create, import, export, rename, verify there are


@call(reply=tuple[OsDefinition, ...])
class OsDiagnose(Call[tuple[OsDefinition, ...]], frozen=True, tag="os_diagnose"):
    """All OS definitions of the node, the broken ones too."""


@call(reply=str, time=Time.SLOW, reserve=Reserve.SCRIPTS, has_effect=True)
class OsVerify(Call[str], frozen=True, tag="os_verify"):
    """Let the OS's verify script look at complete parameters. Replies what it says is wrong, or nothing."""

    os: str  # with its variant
    osparams: Params
    debug: int = 0


@call(reply=None, time=Time.LONG, reserve=Reserve.SCRIPTS)
class OsCreate(ChangingCall[None], frozen=True, tag="os_create"):
    """Run the create script on the open disks, or create_untrusted in the helper. Fails with the end of its log."""

    spec: GuestSpec
    reinstall: bool = False
    debug: int = 0
    helper: Helper | None = None  # None: this cluster has no install image


@call(reply=str, time=Time.LONG, reserve=Reserve.SCRIPTS)
class OsRename(ChangingCall[str], frozen=True, tag="os_rename"):
    """Run the rename script; `spec` has the new name. Replies a warning, or nothing."""

    spec: GuestSpec
    old_name: str
    debug: int = 0


@call(reply=None, time=Time.SLOW, reserve=Reserve.SCRIPTS)
class OsStop(ChangingCall[None], frozen=True, tag="os_stop"):
    """Nothing but the stop of the script that `undoes` names, when it still runs."""
