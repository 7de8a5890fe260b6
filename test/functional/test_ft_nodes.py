"""Roles of nodes, and what the cluster does when some are away."""

import asyncio
import os
import re
import shutil

from functional.kit import wait_until

from ganeti import errors, paths, settings
from ganeti.bootstrap import daemons
from ganeti.calls.node import NodeVersion
from ganeti.host import files
from ganeti.model.objects import Node
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.rpc.client import Client


def _roles(shell):
    return dict(shell.rows("gnt-node", "name,role"))


def test_drain_and_back(own_cluster):
    own_cluster.ok("gnt-node", "modify", "-D", "yes", "node3")
    assert _roles(own_cluster)["node3.vc.example"] == "D"
    text = own_cluster.fails(
        "gnt-instance", "add", "-t", "diskless", "-n", "node3", "-o", "busybox-linux", "x.vc.example"
    )
    assert "drained" in text
    own_cluster.ok("gnt-node", "modify", "-D", "no", "--auto-promote", "node3")
    own_cluster.ok("gnt-cluster", "verify")
    # a demoted candidate that comes back holds the state again
    own_cluster.ok("gnt-node", "modify", "-f", "-C", "no", "node2")
    assert _roles(own_cluster)["node2.vc.example"] == "R"
    own_cluster.ok("gnt-node", "modify", "-C", "yes", "node2")
    assert _roles(own_cluster)["node2.vc.example"] == "C"
    own_cluster.ok("gnt-debug", "delay", "0")
    wait_until("equal copies", lambda: len(set(own_cluster.positions())) == 1)


def test_the_masters_flags_are_not_changed(cluster):
    for option in ("-O", "-D"):
        assert "master" in cluster.fails("gnt-node", "modify", option, "yes", "node1")


def _stolen(node, directory):
    """All that somebody with root there can take along."""
    where = Paths(str(directory), node.name)
    shutil.copytree(node.paths.local(paths.DATA_DIR), where.local(paths.DATA_DIR))
    return where


def _asked(where, target):
    """What a node says to a call that is made with those credentials: its name, or the error."""
    me = identity.load(where)
    uuid = identity.load(target.paths).uuid
    wanted = Node(uuid=uuid, name=target.name, primary_ip=target.address, secondary_ip=target.address, group="")

    async def main():
        client = Client(where, me, nodes=lambda uuid: wanted, term=lambda: 1, port=settings.NODED_PORT)
        try:
            return (await client.at(wanted, NodeVersion())).node
        except errors.RpcError as err:
            return err
        finally:
            await client.close()

    return asyncio.run(main())


def _answers(where, nodes):
    return [_asked(where, node) for node in nodes]


def _is_refused(answer):
    return isinstance(answer, errors.RpcError) and "refused our certificate" in str(answer)


def _files_below(top):
    return [f"{directory}/{name}" for directory, _, names in os.walk(top) for name in names]


def _keys(node):
    """A piece of each private key and secret there."""
    held = (paths.NODE_CERT, paths.CA_KEY, paths.RAPI_CERT, paths.CONFD_KEY, paths.DOMAIN_SECRET, paths.SPICE_CERT)
    texts = [files.read_text(node.paths.local(file)) for file in held]
    assert all(texts)
    return [text.splitlines()[1 if "PRIVATE KEY" in text else 0].encode() for text in texts]


def test_who_leaves_keeps_nothing_and_what_it_took_along_opens_nothing(own_cluster, tmp_path):
    shell = own_cluster
    third, others = shell.nodes[2], shell.nodes[:2]
    shell.ok("gnt-cluster", "renew-crypto", "-f", "--new-cluster-domain-secret", "--new-spice-certificate")
    # it was master once, was upgraded then, and moved an instance
    for directory, name in ((paths.BACKUP_DIR, "0.1-to-0.2.tar"), (paths.CRYPTO_DIR, "key.pem")):
        files.make_directory(third.paths, directory)
        shutil.copy(third.paths.local(paths.CA_KEY), f"{third.paths.local(directory)}/{name}")
    keys = _keys(third)
    first_time = _stolen(third, tmp_path / "first")
    assert "saw term 2" in str(_answers(first_time, others)[1]), "until then they are good"

    shell.ok("gnt-node", "remove", third.name)
    wait_until(
        "its daemons end",
        lambda: not any(daemons.is_running(third.paths, each) for each in (daemons.NODED, daemons.CONFD)),
    )
    assert _files_below(third.paths.local(paths.DATA_DIR)) == []
    left = [path for top in (third.root, third.run_dir) for path in _files_below(top) if os.path.isfile(path)]
    with_keys = [path for path in left if not os.path.islink(path) and any(key in _content(path) for key in keys)]
    assert with_keys == []
    assert not [answer for answer in _answers(first_time, others) if not _is_refused(answer)]
    # nobody has it in a list; what people wrote into logs stays
    data = [path for node in others for path in _files_below(node.paths.local(paths.DATA_DIR))]
    listed = [path for path in data if not re.search(r"/state\.db|/requests\.db", path)]
    wait_until("its name is gone", lambda: not [path for path in listed if third.name.encode() in _content(path)])
    assert len(shell.rows("gnt-node", "name")) == 2
    shell.ok("gnt-cluster", "verify")

    shell.ok("gnt-node", "add", "--no-ssh-key-check", third.name)
    assert len(shell.rows("gnt-node", "name")) == 3
    shell.ok("gnt-cluster", "verify")
    second_time = _stolen(third, tmp_path / "second")
    # repaired: its disk is new
    shell.cluster.kill("node3")
    shell.ok("gnt-node", "modify", "-O", "yes", "node3")
    shell.cluster.boot("node3")
    shell.ok("gnt-node", "add", "--no-ssh-key-check", "--readd", "node3")
    assert _roles(shell)[third.name] == "C"
    for stolen in (first_time, second_time):
        assert not [answer for answer in _answers(stolen, others) if not _is_refused(answer)], stolen.root
    shell.ok("gnt-cluster", "verify")


def _content(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def test_quorum(own_cluster):
    """Three candidates: one away, all goes on; two away, nothing new is taken, questions are answered."""
    shell = own_cluster
    second, third = shell.nodes[1:]
    shell.stop_daemon(second)
    shell.ok("gnt-debug", "delay", "0")
    shell.stop_daemon(third)
    text = shell.fails("gnt-debug", "delay", "--submit", "0")
    assert second.name in text
    assert third.name in text
    assert len(shell.rows("gnt-node", "name")) == 3
    assert shell.rows("gnt-job", "id")
    shell.start_daemon(second)
    shell.start_daemon(third)

    def accepted():
        return shell.cluster.call(shell.master, ("gnt-debug", "delay", "0")).returncode == 0

    wait_until("submission works again", accepted)
    wait_until("all copies are equal", lambda: len(set(shell.positions())) == 1)
    shell.ok("gnt-cluster", "verify")


def test_a_partition_cuts_and_heals(own_cluster):
    shell = own_cluster
    shell.cluster.partition([["node1", "node2"], ["node3"]])
    shell.ok("gnt-debug", "delay", "0")
    assert shell.cluster.call(shell.master, ("gnt-cluster", "verify")).returncode == 1
    shell.cluster.heal()
    shell.ok("gnt-debug", "delay", "0")
    wait_until("all copies are equal", lambda: len(set(shell.positions())) == 1)
    wait_until("verify is clean", lambda: shell.cluster.call(shell.master, ("gnt-cluster", "verify")).returncode == 0)


def test_power_off_and_on(own_cluster):
    shell = own_cluster
    shell.ok("gnt-instance", "add", "-t", "diskless", "-n", "node2", "-o", "busybox-linux", "x.example")
    shell.cluster.kill("node2")
    assert shell.field("gnt-instance", "x.example", "status") == "ERROR_nodedown"
    shell.cluster.boot("node2")
    wait_until("it is seen as down", lambda: shell.field("gnt-instance", "x.example", "status") == "ERROR_down")
    shell.ok("gnt-instance", "startup", "x.example")
    assert shell.field("gnt-instance", "x.example", "status") == "running"


def test_the_whole_cluster_stops_and_starts(own_cluster):
    shell = own_cluster
    before = shell.rows("gnt-job", "id,status")
    shell.cluster.stop()
    shell.cluster.start()
    shell.wait_for_answers()
    assert shell.rows("gnt-job", "id,status") == before
    shell.ok("gnt-cluster", "verify")
