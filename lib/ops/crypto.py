"""Operations on the keys and certificates of a cluster."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ganeti.ops.base import Cli, OpCode, operation, opt

#: existing clients may name DSA; it is refused with the reason
SshKeyType = Literal["rsa", "dsa", "ecdsa", "ed25519"]
#: that may be renewed by what waits on the master's node
Secret = Literal["rapi.pem", "hmac.key", "cluster-domain-secret", "spice.pem", "spice-ca.pem"]


@operation(cli=Cli(tool="gnt-cluster", verb="renew-crypto", custom=True, common=()))
class OpClusterRenewCrypto(OpCode, frozen=True, tag="OP_CLUSTER_RENEW_CRYPTO"):
    """Give the cluster new keys and certificates while it works."""

    cluster_certificate: Annotated[
        bool, opt("--new-cluster-certificate", help="new certificate authority, and new certificates of all nodes")
    ] = False
    node_certificates: Annotated[
        bool, opt("--new-node-certificates", help="new keys and certificates on all nodes")
    ] = False
    renew_ssh_keys: Annotated[bool, opt("--new-ssh-keys", help="new SSH keys on all nodes")] = False
    ssh_key_type: Annotated[
        SshKeyType | None,
        opt("--ssh-key-type", help="kind of the new SSH keys, now and from now on", metavar="TYPE"),
    ] = None
    ssh_key_bits: Annotated[
        int,
        opt("--ssh-key-bits", help="length of the new SSH keys, now and from now on", metavar="BITS", ge=0, le=16384),
    ] = 0
    secrets: Annotated[
        tuple[Secret, ...], Meta(description="secret files whose new contents wait on the master's node")
    ] = ()
    verbose: Annotated[bool, opt("-v", "--verbose", help="tell more of what is done")] = False
    debug: bool = False
