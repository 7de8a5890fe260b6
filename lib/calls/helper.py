"""Helper machines, in which a node runs scripts that it does not trust."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, call


class Helper(msgspec.Struct, frozen=True, kw_only=True):
    """How one is started: it is always an emulated machine, whatever the instance's hypervisor."""

    image: str  # logical path of the install image
    emulator: str  # logical path
    kvm_flag: str = ""  # as the parameter of KVM
    account: str = ""  # that the emulator runs as where the node daemon is root; empty: nobody
    startup_s: float = 300.0  # until it begins the script
    shutdown_s: float = 120.0  # from the script's end until it is off


@call(reply=str)
class HelperVerify(Call[str], frozen=True, tag="helper_verify"):
    """Why such a machine cannot be started on the node, or nothing."""

    helper: Helper
