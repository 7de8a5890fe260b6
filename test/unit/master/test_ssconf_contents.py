"""The content of each ssconf file: scripts read them, so a byte counts."""

import msgspec
import pytest

from ganeti import paths, settings
from ganeti.calls.node import SSH_AUTHORIZED, SSH_KNOWN_HOSTS, WATCHER_PAUSE
from ganeti.master.ssconf import render
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Group, Instance, Network, Node, Put

CLUSTER = Cluster(
    uuid="c",
    name="cluster.example.com",
    master_node="u10",
    master_ip="192.0.2.100",
    master_netdev="br0",
    master_netmask=24,
    tags=("b", "a"),
    file_storage_dir="/srv/file",
    shared_file_storage_dir="/srv/shared",
    enabled_hypervisors=("kvm", "fake"),
    maintain_node_health=True,
    uid_pool=((1000, 1999), (3000, 3000)),
)


def node(number, **more):
    return Node(
        uuid=f"u{number}",
        name=f"node{number}.example.com",
        primary_ip=f"192.0.2.{number}",
        secondary_ip=f"198.51.100.{number}",
        group="g",
        **more,
    )


def instance(name):
    return Instance(uuid=name, name=name, primary_node="u10", os="o", hypervisor="fake")


CONFIG = Config.load(
    [
        CLUSTER,
        Group(uuid="g", name="default"),
        Group(uuid="g2", name="rack2"),
        Network(uuid="n", name="lan", network="192.0.2.0/24"),
        node(10, master_candidate=True, certificate_digest="ab12"),
        node(9, master_candidate=True, certificate_digest="cd34"),
        node(2, offline=True, ndparams={"ssh_port": 2222}),
        node(3, drained=True, vm_capable=False),
        instance("web10"),
        instance("web9"),
    ]
)
EXPECTED = {
    "cluster_name": "cluster.example.com\n",
    "cluster_tags": "a\nb\n",
    "master_ip": "192.0.2.100\n",
    "master_netdev": "br0\n",
    "master_netmask": "24\n",
    "primary_ip_family": "2\n",
    "master_node": "node10.example.com\n",
    "file_storage_dir": "/srv/file\n",
    "shared_file_storage_dir": "/srv/shared\n",
    "gluster_storage_dir": "",
    "release_version": f"{settings.VERSION}\n",
    "master_candidates": "node9.example.com\nnode10.example.com\n",
    "master_candidates_ips": "192.0.2.9\n192.0.2.10\n",
    "master_candidates_certs": "u9=CD:34\nu10=AB:12\n",
    "node_list": "node2.example.com\nnode3.example.com\nnode9.example.com\nnode10.example.com\n",
    "offline_nodes": "node2.example.com\n",
    "online_nodes": "node3.example.com\nnode9.example.com\nnode10.example.com\n",
    "node_primary_ips": "node2.example.com 192.0.2.2\nnode3.example.com 192.0.2.3\n"
    "node9.example.com 192.0.2.9\nnode10.example.com 192.0.2.10\n",
    "node_secondary_ips": "node2.example.com 198.51.100.2\nnode3.example.com 198.51.100.3\n"
    "node9.example.com 198.51.100.9\nnode10.example.com 198.51.100.10\n",
    "node_vm_capable": "node2.example.com=True\nnode3.example.com=False\n"
    "node9.example.com=True\nnode10.example.com=True\n",
    "instance_list": "web9\nweb10\n",
    "hypervisor_list": "kvm\nfake\n",
    "hvparams_chroot": "",
    "hvparams_fake": "a=1\nb=True\nc=\n",
    "hvparams_kvm": "",
    "hvparams_lxc": "",
    "hvparams_xen-hvm": "",
    "hvparams_xen-pvm": "",
    "maintain_node_health": "True\n",
    "enabled_user_shutdown": "False\n",
    "uid_pool": "1000-1999\n3000\n",
    "nodegroups": "g default\ng2 rack2\n",
    "networks": "n lan\n",
    "ssh_ports": "node2.example.com=2222\nnode3.example.com=22\nnode9.example.com=22\nnode10.example.com=22\n",
}


def rendered(config=CONFIG):
    return render(config, lambda name: {"b": True, "a": 1, "c": None} if name == "fake" else {})


@pytest.mark.parametrize("name", EXPECTED)
def test_content(name):
    assert rendered()[name] == EXPECTED[name]


def test_there_are_no_others():
    assert set(EXPECTED) == set(paths.SSCONF_NAMES)
    assert set(rendered()) == {*EXPECTED, SSH_AUTHORIZED, SSH_KNOWN_HOSTS}
    assert WATCHER_PAUSE not in EXPECTED


def test_empty_lists_are_empty_files():
    bare = msgspec.structs.replace(CLUSTER, tags=(), uid_pool=(), file_storage_dir="")
    config = Config.load([bare, Group(uuid="g", name="default"), node(10)])
    files = rendered(config)
    empty = ("cluster_tags", "uid_pool", "file_storage_dir", "instance_list", "networks", "offline_nodes")
    assert [files[name] for name in empty] == [""] * len(empty)


def test_master_is_always_among_the_candidates():
    config = CONFIG.apply([Put(msgspec.structs.replace(CONFIG.master, master_candidate=False))])
    assert rendered(config)["master_candidates"] == EXPECTED["master_candidates"]
