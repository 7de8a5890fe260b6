"""SSH keys of nodes that come, go and are renewed, by real node handlers: those who may log in always can."""

import asyncio
import os

import msgspec
import pytest
from logic.plan_env import PlanEnv, check, execute, make_config, make_node, node_uuid, refused, unit_of

from ganeti import errors, paths
from ganeti.calls.node import SSH_AUTHORIZED, SSH_KNOWN_HOSTS, SsconfWrite
from ganeti.calls.renewal import CertificateLook, CertificateReply
from ganeti.calls.ssh import SshKeyBegin, SshKeySwitch, SshLook, SshReply
from ganeti.host import files
from ganeti.host import ssh_keys as pairs
from ganeti.host.clock import SystemClock
from ganeti.logic import ssh_keys, verify_ssh
from ganeti.logic.findings import Findings
from ganeti.model import ssh
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import Put
from ganeti.node import ssconf, ssh_files
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.node.catalogue import MODULES
from ganeti.node.ssh import public_key
from ganeti.ops.cluster import OpClusterRedistConf, OpClusterSetParams
from ganeti.ops.crypto import OpClusterRenewCrypto
from ganeti.ops.node import OpNodeAdd, OpNodeSetParams
from ganeti.paths import Paths
from ganeti.testing.script import Script

CALLS = (SshKeyBegin, SshKeySwitch, SshLook)
RENEW = OpClusterRenewCrypto(renew_ssh_keys=True)
assert MODULES


class Nodes:
    """Three nodes' directories, the third one no candidate. Before each call the lists of now arrive there."""

    def __init__(self, root, *, offline=0):
        self.places = {}
        members = []
        for number in (1, 2, 3):
            node = make_node(number, master_candidate=number != 3, offline=number == offline)
            where = Paths(f"{root}/{number}", node.name)
            files.make_directory(where, paths.NODE_DIR)
            os.makedirs(where.local("/etc/ssh"))
            with open(where.local("/etc/ssh/ssh_host_ed25519_key.pub"), "w", encoding="ascii") as file:
                file.write(new_public() + "\n")
            self.places[node.uuid] = NodeEnv(
                paths=where, runner=Script(), clock=SystemClock(), hypervisors={}, storage={}
            )
            members.append(node)
        config = make_config(nodes=members, modify_ssh_setup=True, ssh_key_type="ed25519")
        self.env = PlanEnv(config)
        self.count, self.fails_at, self.is_lost = 0, -1, False
        self.late = set()  # lists do not arrive there
        self.serial = 0
        for kind in CALLS:
            self.env.rpc.answers[kind] = self._answer
        self.env.rpc.answers[CertificateLook] = lambda node, call: CertificateReply(digest="d", authorities=())

    def send(self):
        self.serial += 1
        texts = {
            SSH_AUTHORIZED: ssh.authorized(self.env.config),
            SSH_KNOWN_HOSTS: ssh.known_hosts(self.env.config),
        }
        for node in self.env.config.online_nodes:
            if node.uuid in self.places and node.uuid not in self.late:
                ssconf.write(SsconfWrite(files=texts, serial=self.serial), self.places[node.uuid], Context(term=1))

    def _answer(self, node, call):
        self.send()
        self.count += 1
        failure = errors.RpcError(node, "timeout", "no answer")
        if self.count == self.fails_at and not self.is_lost:
            return failure
        try:
            answer = HANDLERS[type(call)](call, self.places[node], Context())
        except errors.GanetiError as err:
            return errors.RpcError(node, "failed", str(err))
        self.check_logins()
        return failure if self.count == self.fails_at else answer

    def in_use(self, number):
        return public_key(self.places[node_uuid(number)].paths)

    def let_in(self, number):
        return set(ssh_files.ours(ssh_files.read(self.places[node_uuid(number)].paths)))

    def check_logins(self):
        """Whoever the configuration says may log in has a key that all online nodes take."""
        for source in self.env.config.candidates:
            if source.ssh_key:
                own = public_key(self.places[source.uuid].paths)
                for target in self.env.config.online_nodes:
                    if target.uuid not in self.late:
                        assert own in self.let_in(int(target.uuid[-1])), (source.name, target.name)

    def learn(self):
        asyncio.run(ssh_keys.learn(self.env, [node.uuid for node in self.env.config.online_nodes]))
        self.send()
        self.check_logins()


def new_public():
    return pairs.public_of(pairs.make("ed25519", 256))


@pytest.fixture
def nodes(tmp_path):
    made = Nodes(str(tmp_path))
    made.learn()
    return made


def keys(nodes):
    return [nodes.env.config.nodes[node_uuid(number)].ssh_key for number in (1, 2, 3)]


def test_every_node_has_a_pair_of_its_own_and_candidates_may_log_in(nodes):
    assert keys(nodes) == [nodes.in_use(number) for number in (1, 2, 3)]
    assert len(set(keys(nodes))) == 3
    for number in (1, 2, 3):
        assert nodes.let_in(number) == set(keys(nodes)[:2])
        known = files.read_text(nodes.places[node_uuid(number)].paths.local(paths.KNOWN_HOSTS))
        assert known.count("ssh-ed25519") == 3


def test_roles_decide_at_once_who_may_log_in(nodes):
    third = nodes.env.config.nodes[node_uuid(3)]
    nodes.env.config = nodes.env.config.apply([Put(msgspec.structs.replace(third, master_candidate=True))])
    nodes.send()
    assert nodes.let_in(1) == set(keys(nodes))
    second = nodes.env.config.nodes[node_uuid(2)]
    nodes.env.config = nodes.env.config.apply([Put(msgspec.structs.replace(second, master_candidate=False))])
    nodes.send()
    assert nodes.let_in(1) == {keys(nodes)[0], keys(nodes)[2]}


def test_all_are_renewed(nodes):
    before = keys(nodes)
    execute(msgspec.structs.replace(RENEW, ssh_key_type="ecdsa"), nodes.env)
    nodes.send()
    assert not set(before) & set(keys(nodes))
    assert keys(nodes) == [nodes.in_use(number) for number in (1, 2, 3)]
    assert nodes.let_in(3) == set(keys(nodes)[:2])
    assert ssh_keys.LOGINS_S in nodes.env.slept
    assert {key.split()[0] for key in keys(nodes)} == {"ecdsa-sha2-nistp256"}
    assert ssh.settings(nodes.env.config.cluster) == ("ecdsa", 256)


@pytest.mark.parametrize("is_lost", [False, True])
@pytest.mark.parametrize("fails_at", range(1, 16))
def test_whatever_call_fails_all_can_log_in_and_the_command_goes_on(tmp_path, fails_at, is_lost):
    nodes = Nodes(str(tmp_path))
    nodes.learn()
    before = keys(nodes)
    nodes.count, nodes.fails_at, nodes.is_lost = 0, fails_at, is_lost
    try:
        execute(RENEW, nodes.env)
    except (errors.PrereqError, errors.ExecError) as err:
        assert err.hint
    assert nodes.count >= fails_at
    nodes.fails_at = -1
    nodes.send()
    nodes.check_logins()
    execute(RENEW, nodes.env)
    nodes.send()
    assert not set(before) & set(keys(nodes))
    assert keys(nodes) == [nodes.in_use(number) for number in (1, 2, 3)]
    assert all(node.ssh_renewing_key == "" for node in nodes.env.config.nodes.values())
    assert nodes.let_in(1) == set(keys(nodes)[:2])


def test_nobody_switches_as_long_as_one_node_does_not_let_the_new_keys_in(nodes):
    before = keys(nodes)
    nodes.late.add(node_uuid(3))
    with pytest.raises(errors.ExecError, match="node3"):
        execute(RENEW, nodes.env)
    assert [nodes.in_use(number) for number in (1, 2, 3)] == before
    assert nodes.env.slept
    nodes.late.clear()
    execute(RENEW, nodes.env)
    assert not set(before) & set(keys(nodes))


def renewed_without_the_second(nodes):
    """Its key of before; it is back already, though nobody said so."""
    old = nodes.in_use(2)
    second = nodes.env.config.nodes[node_uuid(2)]
    away = msgspec.structs.replace(second, offline=True, master_candidate=False)
    nodes.env.config = nodes.env.config.apply([Put(away)])
    execute(RENEW, nodes.env)
    nodes.send()
    return old


BACK = OpNodeSetParams(node_name="node2.example.com", offline=False, master_candidate=True)


def test_an_offline_node_is_told_of_and_gets_a_new_pair_when_it_is_back(nodes):
    old = renewed_without_the_second(nodes)
    assert "node2.example.com is offline" in nodes.env.warnings[-1]
    assert nodes.in_use(2) == old
    execute(BACK, nodes.env)
    nodes.send()
    assert nodes.in_use(2) == keys(nodes)[1] not in ("", old)
    assert nodes.let_in(1) == {keys(nodes)[0], keys(nodes)[1]}


@pytest.mark.parametrize("op", [OpClusterRedistConf(), RENEW])
def test_a_node_that_was_away_during_a_renewal_is_named_by_verify_and_mended_by_redistribution(nodes, op):
    old = renewed_without_the_second(nodes)
    nodes.env.rpc.fail(SshKeyBegin)
    execute(BACK, nodes.env)
    nodes.env.rpc.answers[SshKeyBegin] = nodes._answer
    nodes.env.rpc.answers[SshLook] = lambda node, call: nodes._answer(node, SshLook())
    (text,) = verified(nodes)
    assert text.startswith("node2.example.com: ")
    assert "gnt-cluster redist-conf" in text
    execute(op, nodes.env)
    nodes.send()
    assert verified(nodes) == []
    assert nodes.in_use(2) == keys(nodes)[1] not in ("", old)
    assert all(old not in nodes.let_in(number) for number in (1, 2, 3))


@pytest.mark.parametrize("fails_at", range(1, 16))
def test_a_key_that_a_renewal_missed_is_never_let_in_again(nodes, fails_at):
    old = renewed_without_the_second(nodes)
    second = nodes.env.config.nodes[node_uuid(2)]
    nodes.env.config = nodes.env.config.apply(
        [Put(msgspec.structs.replace(second, offline=False, master_candidate=True))]
    )
    nodes.count, nodes.fails_at = 0, fails_at
    try:
        execute(RENEW, nodes.env)
    except (errors.PrereqError, errors.ExecError) as err:
        assert err.hint
    nodes.fails_at = -1
    nodes.send()
    assert old not in nodes.let_in(1)


@pytest.mark.parametrize(
    ("op", "says"),
    [
        (OpClusterRenewCrypto(node_certificates=True, ssh_key_type="rsa"), "no new ones"),
        (msgspec.structs.replace(RENEW, ssh_key_type="dsa"), "dsa"),
        (msgspec.structs.replace(RENEW, ssh_key_type="rsa", ssh_key_bits=1024), "2048"),
    ],
)
def test_what_cannot_be_made_is_refused(nodes, op, says):
    assert says in refused(op, nodes.env).message


def test_a_cluster_that_leaves_ssh_alone_refuses():
    error = refused(RENEW, PlanEnv(make_config()))
    assert "--no-ssh-init" in error.message
    assert "gnt-cluster modify --modify-ssh-setup=yes" in error.hint


def test_all_nodes_have_to_answer_before_anything_is_changed(nodes):
    nodes.env.rpc.fail(SshLook)
    with pytest.raises(errors.PrereqError, match="not all nodes answer"):
        execute(RENEW, nodes.env)


def test_a_node_that_is_added_again_has_a_new_pair(nodes):
    nodes.env.addresses["node3.example.com"] = ("node3.example.com", "192.0.2.3")
    before = keys(nodes)
    execute(OpNodeAdd(node_name="node3.example.com", readd=True), nodes.env)
    assert keys(nodes)[:2] == before[:2]
    assert keys(nodes)[2] == nodes.in_use(3) != before[2]


def test_a_node_that_does_not_tell_its_keys_is_a_member_all_the_same(nodes):
    nodes.env.addresses["node3.example.com"] = ("node3.example.com", "192.0.2.3")
    nodes.env.rpc.fail(SshKeyBegin)
    execute(OpNodeAdd(node_name="node3.example.com", readd=True), nodes.env)
    assert any("SSH keys of node node3.example.com are not known" in text for text in nodes.env.warnings)
    assert keys(nodes)[2] == ""
    nodes.env.rpc.answers[SshKeyBegin] = nodes._answer
    execute(OpClusterRedistConf(), nodes.env)
    assert keys(nodes)[2] == nodes.in_use(3) != ""


def test_redistribution_takes_over_what_has_changed_on_a_node(nodes):
    where = nodes.places[node_uuid(3)].paths
    with open(where.local("/etc/ssh/ssh_host_ed25519_key.pub"), "w", encoding="ascii") as file:
        file.write(new_public() + "\n")
    os.unlink(where.local(paths.SSH_KEY))
    assert unit_of(OpClusterRedistConf()).locks(nodes.env.config).wanted[LockKey(Level.NODE, ALL)] is True
    execute(OpClusterRedistConf(), nodes.env)
    assert nodes.env.config.nodes[node_uuid(3)].ssh_host_keys == ssh_files.host_keys(where)
    assert keys(nodes)[2] == nodes.in_use(3) != ""
    commits = len(nodes.env.commits)
    nodes.learn()
    assert len(nodes.env.commits) == commits


def test_what_is_no_key_is_not_believed(nodes):
    config = nodes.env.config
    good = config.nodes[node_uuid(3)].ssh_key
    bad = (f'command="id" {good}', f"{good}\n{good}", "ssh-rsa AAAA", "")
    reply = SshReply(public_key=bad[0], host_keys=(*bad, good, *[good] * 20))
    (node,) = ssh_keys.learnt(config, {node_uuid(3): reply})
    assert (node.ssh_key, node.ssh_host_keys) == ("", (good,) * ssh_keys.MAX_HOST_KEYS)
    nodes.env.rpc.answers[SshKeyBegin] = bad[1]
    with pytest.raises(errors.ExecError, match="are none"):
        execute(RENEW, nodes.env)
    assert nodes.env.config.nodes[node_uuid(3)].ssh_renewing_key == ""


def test_looking_after_keys_ends_and_begins_by_a_setting(nodes):
    execute(OpClusterSetParams(modify_ssh_setup=False), nodes.env)
    nodes.send()
    for number in (1, 2, 3):
        where = nodes.places[node_uuid(number)].paths
        assert nodes.let_in(number) == set()
        assert not os.path.exists(where.local(paths.KNOWN_HOSTS))
    execute(OpClusterSetParams(modify_ssh_setup=True), nodes.env)
    nodes.learn()
    assert nodes.let_in(3) == set(keys(nodes)[:2])
    assert nodes.env.log == []
    bare = PlanEnv(make_config())
    execute(OpClusterSetParams(modify_ssh_setup=True), bare)
    assert "redist-conf" in bare.log[-1]


def test_kind_of_new_keys_is_a_setting():
    env = PlanEnv(make_config(modify_ssh_setup=True, ssh_key_type="rsa", ssh_key_bits=4096))
    execute(OpClusterSetParams(ssh_key_type="ecdsa"), env)
    assert ssh.settings(env.config.cluster) == ("ecdsa", 256)
    execute(OpClusterSetParams(ssh_key_bits=384), env)
    assert ssh.settings(env.config.cluster) == ("ecdsa", 384)
    assert "dsa" in refused(OpClusterSetParams(ssh_key_type="dsa"), env).message
    assert check(OpClusterSetParams(ssh_key_type="rsa", ssh_key_bits=2048), env) is not None


def verified(nodes, replies=None, **changes):
    config = nodes.env.config
    members = list(config.online_nodes)
    found = Findings()
    if replies is None:
        replies = asyncio.run(verify_ssh.ask(nodes.env, config, members, foreign=False))
    replies = {
        uuid: msgspec.structs.replace(reply, unreachable={}, **(changes if uuid == node_uuid(2) else {}))
        for uuid, reply in replies.items()
    }
    verify_ssh.check(config, members, replies, found)
    taken = found.take()
    assert all(each.code == "ENODESSH" for each in taken)
    return [f"{each.item}: {each.text}" for each in taken]


def test_verify_finds_nothing_where_all_is_well(nodes):
    nodes.env.rpc.answers[SshLook] = lambda node, call: nodes._answer(node, SshLook())
    assert verified(nodes) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"authorized": ()}, "lacks the keys of node1.example.com, node2.example.com"),
        ({"public_key": "ssh-rsa AAAA"}, "is not the one"),
        ({"host_keys": ("ssh-rsa AAAA",)}, "host keys"),
        ({"problems": ("mode",)}, "mode"),
        ({"foreign": ("me@home",)}, "me@home"),
    ],
)
def test_verify_tells_what_is_wrong_on_a_node(nodes, changes, says):
    nodes.env.rpc.answers[SshLook] = lambda node, call: nodes._answer(node, SshLook())
    (text,) = verified(nodes, **changes)
    assert text.startswith("node2.example.com: ")
    assert says in text


def test_verify_tells_keys_of_nodes_that_may_not_log_in_and_unreachable_ones(nodes):
    config = nodes.env.config
    found = Findings()
    replies = {
        node.uuid: SshReply(
            public_key=node.ssh_key,
            host_keys=node.ssh_host_keys,
            authorized=tuple(keys(nodes)),
            unreachable={"node3.example.com": "Permission denied"} if node.uuid == node_uuid(1) else {},
        )
        for node in config.nodes.values()
    }
    verify_ssh.check(config, list(config.nodes.values()), replies, found)
    texts = [f"{each.item}: {each.text}" for each in found.take()]
    assert sum("1 keys of nodes that may not log in" in text for text in texts) == 3
    assert texts[-1] == "node3.example.com: root of node1.example.com cannot log in there: Permission denied"


@pytest.mark.parametrize(("kind", "count"), [("failed", 1), ("timeout", 1), ("unreachable", 0)])
def test_verify_tells_files_that_cannot_be_looked_at(nodes, kind, count):
    found = Findings()
    replies = {node_uuid(2): errors.RpcError("node2.example.com", kind, "too large")}
    verify_ssh.check(nodes.env.config, [nodes.env.config.nodes[node_uuid(2)]], replies, found)
    assert [(each.item, "too large" in each.text) for each in found.take()] == [("node2.example.com", True)] * count


def test_verify_has_the_master_reach_all_and_each_other_candidate_one(nodes):
    config = nodes.env.config
    members = list(config.online_nodes)
    names = [node.name for node in members]
    assert verify_ssh.targets(config, members) == {
        node_uuid(1): tuple(names),
        node_uuid(2): (names[(names.index("node2.example.com") + 1) % 3],),
        node_uuid(3): (),
    }
    assert verify_ssh.targets(config, [config.nodes[node_uuid(2)]]) == {
        node_uuid(1): ("node2.example.com",),
        node_uuid(2): (),
    }


def test_verify_asks_nothing_where_ssh_is_left_alone():
    env = PlanEnv(make_config())
    assert asyncio.run(verify_ssh.ask(env, env.config, list(env.config.online_nodes), foreign=True)) == {}
