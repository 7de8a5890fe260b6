"""Public keys and the two texts that are made of them: nothing but a key gets through."""

import base64

import msgspec
import pytest

from ganeti.model import ssh
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Group, Node


def key(number: int, kind: str = "ssh-ed25519") -> str:
    name = kind.encode()
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + bytes([number]) * 32
    return f"{kind} {base64.b64encode(blob).decode()}"


def node(number: int, **changes: object) -> Node:
    made = Node(
        uuid=f"n{number}",
        name=f"node{number}.example.com",
        primary_ip=f"192.0.2.{number}",
        secondary_ip=f"198.51.100.{number}",
        group="g",
        ssh_key=key(number),
        ssh_host_keys=(key(100 + number),),
    )
    return msgspec.structs.replace(made, **changes)


def config(*nodes: Node, **changes: object) -> Config:
    cluster = Cluster(uuid="c", name="c", master_node="n1", master_ip="192.0.2.9", master_netdev="lo")
    cluster = msgspec.structs.replace(cluster, modify_ssh_setup=True)
    return Config.load([msgspec.structs.replace(cluster, **changes), Group(uuid="g", name="g"), *nodes])


def test_comment_is_dropped():
    assert ssh.parse_public(key(1) + " root@node1 of mine") == key(1)


@pytest.mark.parametrize(
    "untrusted",
    [
        "",
        "ssh-ed25519",
        f'command="id" {key(1)}',
        f"restrict {key(1)}",
        key(1) + "\n" + key(2),
        key(1) + "\r" + key(2),
        f"# {key(1)}",
        key(1, "ssh-dss"),
        key(1, "ssh-ed25519-cert-v01@openssh.com"),
        "ssh-rsa " + key(1).split()[1],
        "ssh-ed25519 AAAA!",
        "ssh-ed25519 " + key(1).split()[1][:20],
        key(1)[:-3] + " \u00e9"[1:],
        "ssh-rsa " + "A" * 9000,
        f"{key(1)}\0",
    ],
)
def test_what_is_no_public_key_is_refused(untrusted):
    with pytest.raises(ValueError, match=r".+"):
        ssh.parse_public(untrusted)


def test_only_those_who_may_be_master_are_let_in():
    made = config(
        node(1, ssh_renewing_key=key(11)),
        node(2, master_candidate=True),
        node(3),
        node(4, ssh_key="", ssh_host_keys=()),
    )
    assert [(each.node, each.key) for each in ssh.admin_keys(made)] == [
        ("node1.example.com", key(1)),
        ("node1.example.com", key(11)),
        ("node2.example.com", key(2)),
    ]
    assert ssh.parse_authorized(ssh.authorized(made)) == ssh.admin_keys(made)


def test_every_node_is_known_by_name_and_addresses():
    made = config(node(1), node(2, secondary_ip="192.0.2.2", ssh_host_keys=(key(5), key(6, "ssh-rsa"))))
    assert ssh.known_hosts(made) == (
        f"node1.example.com,192.0.2.1,198.51.100.1 {key(101)}\n"
        f"node2.example.com,192.0.2.2 {key(5)}\n"
        f"node2.example.com,192.0.2.2 {key(6, 'ssh-rsa')}\n"
    )
    assert ssh.parse_known_hosts(ssh.known_hosts(made)) == ssh.host_keys(made)


def test_a_cluster_that_leaves_ssh_alone_has_neither():
    made = config(node(1), node(2, master_candidate=True), modify_ssh_setup=False)
    assert (ssh.known_hosts(made), ssh.authorized(made)) == ("", "")
    assert ssh.parse_known_hosts("") == ssh.parse_authorized("") == ()


@pytest.mark.parametrize(
    "untrusted",
    [
        f"node1 {key(1)}",
        f"node1 {key(1)} more\n",
        f'node1 command="id" {key(1)}\n',
        f"@cert-authority * {key(1)}\n",
        f"no de {key(1)}\n",
        f"* {key(1)}\n",
        f"{key(1)}\n",
        "\n",
        f"node1 {key(1)}\n\n",
    ],
)
def test_a_line_with_anything_else_is_refused(untrusted):
    with pytest.raises(ValueError, match=r".+"):
        ssh.parse_known_hosts(untrusted)
    with pytest.raises(ValueError, match=r".+"):
        ssh.parse_authorized(untrusted)


@pytest.mark.parametrize(
    ("kind", "bits", "length"), [("rsa", 0, 2048), ("rsa", 4096, 4096), ("ecdsa", 0, 256), ("ed25519", 256, 256)]
)
def test_lengths(kind, bits, length):
    assert ssh.key_length(kind, bits) == length


@pytest.mark.parametrize(
    ("kind", "bits", "says"), [("dsa", 1024, "dsa"), ("x", 0, "rsa, ecdsa"), ("rsa", 1024, "2048")]
)
def test_what_openssh_would_not_take_is_refused(kind, bits, says):
    with pytest.raises(ValueError, match=says):
        ssh.key_length(kind, bits)
