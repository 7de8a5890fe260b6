"""Keys are renewed by real node handlers; whatever call fails, all nodes go on trusting each other."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from logic.plan_env import PlanEnv, check, execute, make_config, make_node, node_uuid, refused, unit_of

from ganeti import errors, paths
from ganeti.calls.base import Call, ChangingCall
from ganeti.calls.renewal import (
    AuthorityBegin,
    AuthorityWrite,
    CertificateBegin,
    CertificateLook,
    CertificateSign,
    CertificateSwitch,
    Secrets,
    SecretsRead,
    SecretsUnstage,
    SecretsWrite,
)
from ganeti.host import files, tls
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.logic.shared_secrets import share
from ganeti.master.membership import trusted
from ganeti.model.locks import ALL, BIG, Level, LockKey
from ganeti.model.types import Uuid
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.node.catalogue import MODULES
from ganeti.node.renewal import stage
from ganeti.ops.crypto import OpClusterRenewCrypto
from ganeti.paths import Paths
from ganeti.rpc import credentials
from ganeti.rpc.credentials import Credentials
from ganeti.rpc.identity import Identity
from ganeti.rpc.trust import Trust

NOW = time.time()
OLD = tls.make_authority("cluster.example.com", now=NOW)
CALLS = (
    AuthorityBegin, AuthorityWrite, CertificateBegin, CertificateLook, CertificateSign, CertificateSwitch,
    SecretsRead, SecretsUnstage, SecretsWrite,
)  # fmt: skip
EVERYTHING = OpClusterRenewCrypto(cluster_certificate=True, secrets=("hmac.key",))
assert MODULES


class Nodes:
    """Three nodes' directories with credentials, and an environment whose calls go to their handlers."""

    def __init__(self, root: str, *, offline: int = 0) -> None:
        self.places: dict[Uuid, NodeEnv] = {}
        members = []
        for number in (1, 2, 3):
            node = make_node(number, offline=number == offline)
            pair = tls.make_node(OLD, name=node.name, uuid=node.uuid, address=node.primary_ip, now=NOW)
            digest = tls.digest(pair.certificate)
            node = msgspec.structs.replace(node, certificate_digest=digest)
            me = Identity(cluster="cluster.example.com", node=node.name, uuid=node.uuid, address=node.primary_ip)
            where = Paths(f"{root}/{number}", node.name)
            trust = Trust(term=1, serial=1, digests={digest: node.name})
            credentials.install(
                where,
                Credentials(
                    identity=me,
                    authority=OLD.certificate,
                    authority_key=OLD.key,
                    bundle=pair.bundle,
                    trust=trust,
                    term=1,
                ),
            )
            self.places[node.uuid] = NodeEnv(
                paths=where,
                runner=HostRunner(where),
                clock=SystemClock(),
                hypervisors={},
                storage={},
                services={"identity": me},
            )
            members.append(node)
        config = make_config(nodes=members)
        (cluster,) = (config.cluster,)
        cluster = msgspec.structs.replace(cluster, ca_certificate=OLD.certificate)
        self.env = PlanEnv(msgspec.structs.replace(config, cluster=cluster))
        self.fails_at = -1
        self.is_lost = False  # the failing call is done, its answer is not
        self.count = 0
        for kind in CALLS:
            self.env.rpc.answers[kind] = self._answer

    def _answer(self, node: Uuid, call: Call[Any]) -> Any:
        self.count += 1
        name = self.env.config.nodes[node].name
        failure = errors.RpcError(name, "timeout", "no answer")
        if self.count == self.fails_at and not self.is_lost:
            return failure
        try:
            answer = HANDLERS[type(call)](call, self.places[node], Context())
        except errors.GanetiError as err:
            return errors.RpcError(name, "failed", str(err))
        self.check_trust()
        return failure if self.count == self.fails_at else answer

    def read(self, number: int, file: paths.File) -> str:
        return files.read_text(self.places[node_uuid(number)].paths.local(file)) or ""

    def check_trust(self) -> None:
        """Every online node's certificate is one that all others take."""
        known = trusted(self.env.config)
        online = [node.uuid for node in self.env.config.online_nodes]
        for node in online:
            own = files.read_text(self.places[node].paths.local(paths.NODE_CERT)) or ""
            assert tls.digest(own) in known
            for other in online:
                assert tls.is_signed_by(own, files.read_text(self.places[other].paths.local(paths.CA_CERT)) or "")

    def check_new(self) -> None:
        """All of it is new and the same, nothing waits any more."""
        self.check_trust()
        authorities = {self.read(number, paths.CA_CERT) for number in (1, 2, 3)}
        assert authorities == {self.env.config.cluster.ca_certificate}
        assert OLD.certificate not in authorities.pop()
        assert len({self.read(number, paths.CA_KEY) for number in (1, 2, 3)} | {OLD.key}) == 2
        assert tls.belongs(self.read(1, paths.CA_KEY), self.env.config.cluster.ca_certificate)
        for number in (1, 2, 3):
            node = self.env.config.nodes[node_uuid(number)]
            assert tls.digest(self.read(number, paths.NODE_CERT)) == node.certificate_digest
            assert node.renewing_digest == ""
            assert self.read(number, paths.CONFD_KEY) == "fresh\n"
            assert [self.read(number, paths.staged(name)) for name in ("server.key", "ca.key", "hmac.key")] == [""] * 3


@pytest.fixture
def nodes(tmp_path):
    made = Nodes(str(tmp_path))
    stage(made.places[node_uuid(1)].paths, "hmac.key", "fresh\n")
    return made


def test_it_excludes_everything_else():
    wanted = unit_of(EVERYTHING).locks(make_config()).wanted
    assert wanted[LockKey(Level.CLUSTER, BIG)] is True
    assert wanted[LockKey(Level.NODE, ALL)] is True


def test_everything_is_renewed_under_the_eyes_of_all(nodes):
    execute(EVERYTHING, nodes.env)
    nodes.check_new()
    # certificates before they are used, when they are, and not more often than that
    assert nodes.env.membership.log == ["trust", "trust"]


def test_another_renewal_makes_another_authority(nodes):
    execute(EVERYTHING, nodes.env)
    first = nodes.env.config.cluster.ca_certificate
    execute(OpClusterRenewCrypto(cluster_certificate=True), nodes.env)
    assert nodes.env.config.cluster.ca_certificate != first
    nodes.check_new()


def test_certificates_alone_keep_the_authority(nodes):
    before = {number: nodes.read(number, paths.NODE_CERT) for number in (1, 2, 3)}
    execute(OpClusterRenewCrypto(node_certificates=True), nodes.env)
    assert nodes.env.config.cluster.ca_certificate == OLD.certificate
    for number, bundle in before.items():
        assert nodes.read(number, paths.NODE_CERT) != bundle
        assert nodes.read(number, paths.CONFD_KEY) == ""
    nodes.check_trust()


@pytest.mark.parametrize("is_lost", [False, True], ids=["call lost", "reply lost"])
def test_it_goes_on_wherever_it_was_interrupted(tmp_path, is_lost):
    whole = Nodes(str(tmp_path / "whole"))
    stage(whole.places[node_uuid(1)].paths, "hmac.key", "fresh\n")
    execute(EVERYTHING, whole.env)
    assert whole.count > 15
    for point in range(1, whole.count + 1):
        nodes = Nodes(str(tmp_path / str(point)))
        stage(nodes.places[node_uuid(1)].paths, "hmac.key", "fresh\n")
        nodes.fails_at, nodes.is_lost = point, is_lost
        with pytest.raises(errors.GanetiError):
            execute(EVERYTHING, nodes.env)
        nodes.check_trust()
        # the same command once more; its first act is to stage what it shall put in place
        stage(nodes.places[node_uuid(1)].paths, "hmac.key", "fresh\n")
        execute(EVERYTHING, nodes.env)
        nodes.check_new()


def test_an_offline_node_is_named(tmp_path):
    nodes = Nodes(str(tmp_path), offline=3)
    execute(OpClusterRenewCrypto(node_certificates=True), nodes.env)
    assert [warning for warning in nodes.env.warnings if "node3" in warning]
    assert nodes.env.config.nodes[node_uuid(3)].renewing_digest == ""


def test_a_silent_node_refuses_it_before_anything_is_done(nodes):
    nodes.env.rpc.fail(CertificateLook, "unreachable")
    assert refused(EVERYTHING, nodes.env).code == "environment_error"
    assert nodes.read(1, paths.staged("ca.key")) == ""


def test_what_is_known_of_certificates_is_corrected_first(nodes):
    facts = check(EVERYTHING, nodes.env)
    assert set(facts.digests) == {node_uuid(1), node_uuid(2), node_uuid(3)}


def test_a_new_node_gets_the_shared_secrets(nodes):
    import asyncio

    env = nodes.places[node_uuid(1)]
    HANDLERS[SecretsWrite](SecretsWrite(request="r", secrets=Secrets({"hmac.key": "k\n"})), env, Context())
    asyncio.run(share(nodes.env, [node_uuid(2)]))
    assert (nodes.read(2, paths.CONFD_KEY), nodes.read(3, paths.CONFD_KEY)) == ("k\n", "")


@pytest.mark.parametrize(
    "call",
    [
        SecretsRead(names=("../ca.key",)),
        SecretsRead(names=("server.pem",)),
        SecretsWrite(request="r", secrets=Secrets({"/etc/shadow": "x"})),
        SecretsWrite(request="r", secrets=Secrets({"hmac.key": ""})),
        SecretsWrite(request="r", secrets=Secrets({"hmac.key": "x" * 300_000})),
        SecretsUnstage(request="r", names=("..",)),
        AuthorityWrite(request="r", certificates=()),
        AuthorityWrite(request="r", certificates=(tls.make_authority("other", now=NOW).certificate,)),
        CertificateSwitch(request="r", certificate=OLD.certificate),
        CertificateSign(request="r", signing_request="x", name="../a", uuid="u", address="192.0.2.1"),
        CertificateSign(request="r", signing_request=tls.make_request("a")[1], name="a", uuid="u", address="nowhere"),
    ],
    ids=lambda call: call.call_name,
)
def test_a_node_refuses_what_makes_no_sense(nodes, call: ChangingCall[Any]):
    env = nodes.places[node_uuid(2)]
    with pytest.raises(errors.GanetiError):
        HANDLERS[type(call)](call, env, Context())
    assert nodes.read(2, paths.CA_CERT) == OLD.certificate


def test_secrets_do_not_show():
    assert "geheim" not in repr(SecretsWrite(request="r", secrets=Secrets({"hmac.key": "geheim"})))
