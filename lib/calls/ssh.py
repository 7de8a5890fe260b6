"""Calls by which the cluster looks after root's SSH keys. Private keys never leave their node."""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, Time, call


class SshReply(msgspec.Struct, frozen=True, kw_only=True):
    public_key: str = ""  # of root here, in use; empty: there is none
    host_keys: tuple[str, ...] = ()  # of the SSH server here
    authorized: tuple[str, ...] = ()  # keys of the cluster's nodes in root's authorized_keys
    problems: tuple[str, ...] = ()  # why keys or files here are of no use
    foreign: tuple[str, ...] = ()  # comments of other keys in it, if they were asked for
    unreachable: dict[str, str] = {}  # node name → why root cannot log in there from here


@call(reply=SshReply, time=Time.SLOW)
class SshLook(Call[SshReply], frozen=True, tag="ssh_look"):
    """Which SSH keys there are, and whether root can log in on other nodes with them."""

    reach: tuple[str, ...] = ()  # names of nodes to log in on
    foreign: bool = False  # whether to look for keys that are not the cluster's


@call(reply=str, time=Time.SLOW, reserve=Reserve.QUORUM)
class SshKeyBegin(ChangingCall[str], frozen=True, tag="ssh_key_begin"):
    """Make a new key pair beside the one in use; one that waits there already is taken. Replies the public key."""

    kind: str
    bits: int


@call(reply=None, reserve=Reserve.QUORUM)
class SshKeySwitch(ChangingCall[None], frozen=True, tag="ssh_key_switch"):
    """Use the pair of this public key from now on; in use already: those that it took the place of are removed."""

    public_key: str
