"""Calls by which the keys of a cluster are renewed while it works.

No secret is in the reply of a changing call, because a node keeps these replies.
"""

from __future__ import annotations

import msgspec

from ganeti.calls.base import Call, ChangingCall, Reserve, call


class CertificateReply(msgspec.Struct, frozen=True, kw_only=True):
    digest: str  # SHA-256 of the node's certificate, lower-case hex
    authorities: tuple[str, ...]  # the same, of all that it takes certificates of


@call(reply=CertificateReply, reserve=Reserve.QUORUM)
class CertificateLook(Call[CertificateReply], frozen=True, tag="certificate_look"):
    """Which certificates the node uses."""


@call(reply=str, reserve=Reserve.QUORUM)
class CertificateBegin(ChangingCall[str], frozen=True, tag="certificate_begin"):
    """Make a new key beside the one in use; it never leaves the node. Replies a signing request, PEM."""


class SignReply(msgspec.Struct, frozen=True, kw_only=True):
    certificate: str  # PEM
    digest: str  # SHA-256, lower-case hex


@call(reply=SignReply, reserve=Reserve.QUORUM)
class CertificateSign(ChangingCall[SignReply], frozen=True, tag="certificate_sign"):
    """Sign a node's request as the cluster's authority: the staged one, or if there is none the one in use."""

    signing_request: str  # PEM; only its public key counts
    name: str
    uuid: str
    address: str


@call(reply=None, reserve=Reserve.QUORUM)
class CertificateSwitch(ChangingCall[None], frozen=True, tag="certificate_switch"):
    """Use this certificate with the new key from now on; in use already: fine."""

    certificate: str  # PEM


@call(reply=str, reserve=Reserve.QUORUM)
class AuthorityBegin(ChangingCall[str], frozen=True, tag="authority_begin"):
    """Stage a new authority beside the one in use; one that waits there already is taken. Replies its certificate."""

    cluster: str  # its name


@call(reply=None, reserve=Reserve.QUORUM)
class AuthorityWrite(ChangingCall[None], frozen=True, tag="authority_write"):
    """Take certificates of these authorities, and of no other."""

    certificates: tuple[str, ...]  # PEM


class Secrets(msgspec.Struct, frozen=True):
    """Contents of the cluster's secret files, by their names."""

    files: dict[str, str]

    def __repr__(self) -> str:
        return f"Secrets({sorted(self.files)}: <hidden>)"


@call(reply=Secrets, reserve=Reserve.QUORUM, has_effect=True)
class SecretsRead(Call[Secrets], frozen=True, tag="secrets_read"):
    """The cluster's secret files, those in use that are there, or all the new ones that wait. Told to a master only."""

    names: tuple[str, ...]
    is_staged: bool = False


@call(reply=None, reserve=Reserve.QUORUM)
class SecretsWrite(ChangingCall[None], frozen=True, tag="secrets_write"):
    """Put secret files of the cluster in the place of the old ones."""

    secrets: Secrets


@call(reply=None, reserve=Reserve.QUORUM)
class SecretsUnstage(ChangingCall[None], frozen=True, tag="secrets_unstage"):
    """These new contents are in place everywhere: they wait no more."""

    names: tuple[str, ...]
