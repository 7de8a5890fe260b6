"""The first node of a cluster has its SSH keys from the beginning, and an init that is broken off leaves none."""

import os

import msgspec
import pytest

from ganeti import paths
from ganeti.bootstrap.init import write_first_node
from ganeti.bootstrap.membership import remove_everything
from ganeti.host import files, ssh, tls
from ganeti.model.objects import Cluster, Group, Node
from ganeti.node import ssh_files
from ganeti.node.ssh import public_key
from ganeti.paths import Paths
from ganeti.store.api import Note

NOW = 1_700_000_000.0
MINE = b"ssh-rsa AAAA me@home"


@pytest.fixture
def where(tmp_path):
    made = Paths(str(tmp_path), "node1.example.com")
    for directory in paths.DIRECTORIES:
        files.make_directory(made, directory)
    os.makedirs(made.local("/root/.ssh"))
    with open(made.local(ssh_files.authorized_keys(made)), "wb") as file:
        file.write(MINE)
    return made


def make(where, **changes):
    authority = tls.make_authority("c.example.com", now=NOW)
    own = tls.make_node(authority, name="node1.example.com", uuid="n1", address="192.0.2.1", now=NOW)
    cluster = Cluster(
        uuid="c",
        name="c.example.com",
        master_node="n1",
        master_ip="192.0.2.9",
        master_netdev="lo",
        ca_certificate=authority.certificate,
        modify_ssh_setup=True,
        ssh_key_type="ed25519",
    )
    node = Node(
        uuid="n1",
        name="node1.example.com",
        primary_ip="192.0.2.1",
        secondary_ip="192.0.2.1",
        group="g",
        certificate_digest=tls.digest(own.certificate),
        master_candidate=True,
    )
    objects = [msgspec.structs.replace(cluster, **changes), Group(uuid="g", name="default"), node]
    write_first_node(where, objects, authority=authority, own=own, now=NOW, note=Note(actor="test"))


def test_it_lets_itself_in_and_knows_itself(where):
    os.makedirs(where.local("/etc/ssh"))
    host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
    with open(where.local("/etc/ssh/ssh_host_ed25519_key.pub"), "w", encoding="ascii") as file:
        file.write(f"{host_key} root@node1\n")
    make(where)
    assert ssh_files.ours(ssh_files.read(where)) == (public_key(where),)
    assert files.read_text(where.local(paths.KNOWN_HOSTS)) == f"node1.example.com,192.0.2.1 {host_key}\n"
    assert ssh.is_set_up(where)
    for _ in range(2):
        remove_everything(where)
        assert ssh_files.read(where) == MINE
        assert not os.path.exists(where.local(paths.SSH_DIR))
        assert not os.path.exists(where.local(paths.KNOWN_HOSTS))


def test_a_cluster_that_leaves_ssh_alone_touches_nothing(where):
    make(where, modify_ssh_setup=False)
    assert ssh_files.read(where) == MINE
    assert not ssh.is_set_up(where)
    assert not os.path.exists(where.local(paths.SSH_DIR))
