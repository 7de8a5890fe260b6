"""OP_CLUSTER_RENEW_CRYPTO: new keys and certificates while the cluster works.

Nothing is taken away before what comes in its place is known everywhere: new certificates are trusted beside the old
ones until all nodes have switched, and so are authorities. Whatever interrupts it, every node can still talk to every
other, and the same command goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from ganeti import errors
from ganeti.calls.base import Call
from ganeti.calls.renewal import (
    AuthorityBegin,
    AuthorityWrite,
    CertificateBegin,
    CertificateLook,
    CertificateReply,
    CertificateSign,
    CertificateSwitch,
    SecretsUnstage,
    SignReply,
)
from ganeti.logic import cluster_values, shared_secrets, ssh_keys
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model import ssh
from ganeti.model.config import Config
from ganeti.model.locks import ALL, BIG, LockPlan, exclusive
from ganeti.model.objects import Node, Put
from ganeti.model.types import Uuid
from ganeti.ops.crypto import OpClusterRenewCrypto

AUTHORITY_KEY = "ca.key"
R = TypeVar("R")
_END = "-----END CERTIFICATE-----\n"


class RenewFacts(msgspec.Struct, frozen=True, kw_only=True):
    digests: dict[Uuid, str]  # of the certificates in use, by node


def authorities(text: str) -> tuple[str, ...]:
    """Each certificate of `Cluster.ca_certificate`."""
    return tuple(part + _END for part in text.split(_END) if part.strip())


def settled(config: Config, digests: dict[Uuid, str]) -> tuple[Node, ...]:
    """Nodes as they really are, where a renewal was interrupted. Pure."""
    found = []
    for uuid, digest in digests.items():
        node = config.nodes[uuid]
        if node.certificate_digest != digest or node.renewing_digest:
            found.append(msgspec.structs.replace(node, certificate_digest=digest, renewing_digest=""))
    return tuple(found)


@implements(OpClusterRenewCrypto)
class ClusterRenewCrypto(LogicalUnit[OpClusterRenewCrypto, RenewFacts]):
    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(cluster=exclusive(BIG), nodes=exclusive(ALL))

    async def check(self, env: Env) -> RenewFacts:
        self._check_ssh(env.config)
        online = [node.uuid for node in env.config.online_nodes]
        looks = await env.rpc.many(online, CertificateLook())
        silent = [look for look in looks.values() if isinstance(look, errors.RpcError)]
        if silent:
            raise errors.PrereqError(
                "environment_error",
                "not all nodes answer: " + "; ".join(str(err) for err in silent),
                hint="bring them back, or mark them offline: those have to be added again with --readd afterwards",
            )
        return RenewFacts(
            digests={node: look.digest for node, look in looks.items() if isinstance(look, CertificateReply)}
        )

    def _check_ssh(self, config: Config) -> None:
        op = self.op
        if not op.renew_ssh_keys:
            if op.ssh_key_type is not None or op.ssh_key_bits:
                raise errors.PrereqError(
                    "wrong_input", "a kind of SSH keys is given, but no new ones are wanted", hint="add --new-ssh-keys"
                )
            return
        if not config.cluster.modify_ssh_setup:
            raise errors.PrereqError(
                "wrong_state",
                "this cluster does not look after SSH keys: it was made with --no-ssh-init",
                hint="to have it do so: gnt-cluster modify --modify-ssh-setup=yes, then gnt-cluster redist-conf; else "
                "exchange them with your own tools",
            )
        self._ssh_keys(config)

    def _ssh_keys(self, config: Config) -> tuple[str, int]:
        """Kind and length, in bits, of the new ones. Raises PrereqError."""
        wanted = cluster_values.ssh_keys(config.cluster, self.op.ssh_key_type, self.op.ssh_key_bits or None)
        return ssh.settings(msgspec.structs.replace(config.cluster, **wanted))

    async def execute(self, facts: RenewFacts, env: Env) -> None:
        op = self.op
        if op.cluster_certificate or op.node_certificates:
            await self._settle(facts, env)
            if op.cluster_certificate:
                await self._add_authority(env)
            await self._renew_certificates(env)
            if op.cluster_certificate:
                await self._drop_old_authorities(env)
            for node in env.config.nodes.values():
                if node.offline:
                    env.warn(
                        f"node {node.name} is offline and keeps its old certificate",
                        hint=f"when it is back: gnt-node add --readd {node.name}",
                    )
        if op.renew_ssh_keys:
            await ssh_keys.renew(env, *self._ssh_keys(env.config))
        if op.secrets:
            await self._put_secrets(env)

    async def _settle(self, facts: RenewFacts, env: Env) -> None:
        changed = settled(env.config, facts.digests)
        if changed:
            env.report("an earlier renewal was interrupted; going on from there")
            await env.commit(*(Put(node) for node in changed), title="take over the certificates in use")
            await env.membership.publish_trust(everywhere=True)

    async def _add_authority(self, env: Env) -> None:
        cluster = env.config.cluster
        env.report("making a new certificate authority")
        new = await env.rpc.one(cluster.master_node, AuthorityBegin(request=env.new_request(), cluster=cluster.name))
        old = tuple(each for each in authorities(cluster.ca_certificate) if each != new)
        both = msgspec.structs.replace(cluster, ca_certificate="".join((*old, new)))
        await env.commit(Put(both), title="trust the new authority beside the old one")
        await self._write_authorities(env)

    async def _write_authorities(self, env: Env) -> None:
        env.report("distributing the certificates of the authority")
        call = AuthorityWrite(request=env.new_request(), certificates=authorities(env.config.cluster.ca_certificate))
        await everywhere(env, call)

    async def _renew_certificates(self, env: Env) -> None:
        online = [node.uuid for node in env.config.online_nodes]
        env.report(f"making new certificates for {len(online)} nodes")
        begin = CertificateBegin(request=env.new_request())
        requests = await everywhere(env, begin)
        signed = {uuid: await self._sign(env, env.config.nodes[uuid], text) for uuid, text in requests.items()}
        beside = [
            msgspec.structs.replace(env.config.nodes[uuid], renewing_digest=made.digest)
            for uuid, made in signed.items()
        ]
        await env.commit(*(Put(node) for node in beside), title="trust the new certificates beside the old ones")
        await env.membership.publish_trust(everywhere=True)
        env.report("switching to the new certificates")
        for uuid, made in signed.items():
            await env.rpc.one(uuid, CertificateSwitch(request=env.new_request(), certificate=made.certificate))
        after = [
            msgspec.structs.replace(env.config.nodes[uuid], certificate_digest=made.digest, renewing_digest="")
            for uuid, made in signed.items()
        ]
        await env.commit(*(Put(node) for node in after), title="trust the old certificates no more")
        await env.membership.publish_trust(everywhere=True)

    @staticmethod
    async def _sign(env: Env, node: Node, signing_request: str) -> SignReply:
        call = CertificateSign(
            request=env.new_request(),
            signing_request=signing_request,
            name=node.name,
            uuid=node.uuid,
            address=node.primary_ip,
        )
        return await env.rpc.one(env.config.cluster.master_node, call)

    async def _drop_old_authorities(self, env: Env) -> None:
        """The key first, where nodes may become master: with either key certificates are made that all take."""
        cluster = env.config.cluster
        key = await shared_secrets.read(env, (AUTHORITY_KEY,), is_staged=True)
        capable = [node.uuid for node in env.config.online_nodes if node.master_capable]
        refuse(await shared_secrets.write(env, capable, key))
        new = authorities(cluster.ca_certificate)[-1]
        await env.commit(
            Put(msgspec.structs.replace(cluster, ca_certificate=new)), title="trust the old authority no more"
        )
        await self._write_authorities(env)
        await env.rpc.one(cluster.master_node, SecretsUnstage(request=env.new_request(), names=(AUTHORITY_KEY,)))

    async def _put_secrets(self, env: Env) -> None:
        names = self.op.secrets
        env.report("distributing " + ", ".join(names))
        new = await shared_secrets.read(env, names, is_staged=True)
        refuse(await shared_secrets.write(env, [node.uuid for node in env.config.online_nodes], new))
        await env.rpc.one(env.config.cluster.master_node, SecretsUnstage(request=env.new_request(), names=tuple(names)))
        for node in env.config.nodes.values():
            if node.offline:
                env.warn(
                    f"node {node.name} is offline and keeps the old " + ", ".join(names),
                    hint="gnt-cluster redist-conf, when it is back",
                )


async def everywhere(env: Env, call: Call[R]) -> dict[Uuid, R]:
    """What all online nodes reply. Raises ExecError when one fails."""
    results = await env.rpc.many([node.uuid for node in env.config.online_nodes], call)
    refuse(answer for answer in results.values() if isinstance(answer, errors.RpcError))
    return {node: answer for node, answer in results.items() if not isinstance(answer, errors.RpcError)}


def refuse(failed: Iterable[errors.RpcError]) -> None:
    """Raises ExecError with all of them, if there are any."""
    found: Sequence[errors.RpcError] = tuple(failed)
    if found:
        raise errors.ExecError(
            "; ".join(str(err) for err in found),
            hint="nothing is lost: old and new keys are both good; remedy that, or mark these nodes offline, and run "
            "the command again",
        )
