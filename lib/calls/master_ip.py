"""Calls about the cluster's own address, which the master node has beside its own."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import ChangingCall, Reserve, call


class MasterAddress(msgspec.Struct, frozen=True, kw_only=True):
    ip: str
    netmask: int  # prefix length
    netdev: str
    by_script: bool = False  # the administrator's own script sets it up


@call(reply=None, reserve=Reserve.QUORUM)
class MasterIpUp(ChangingCall[None], frozen=True, tag="master_ip_up"):
    """Have the address on this node; there already: fine. Refused when another host answers at it."""

    address: MasterAddress


@call(reply=None, reserve=Reserve.QUORUM)
class MasterIpDown(ChangingCall[None], frozen=True, tag="master_ip_down"):
    """Give the address up; not there: fine."""

    address: MasterAddress
