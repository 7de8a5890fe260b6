"""config.data: written, read again, upgraded, refused."""

import copy
import itertools
import json

import msgspec
import pytest

from ganeti import errors
from ganeti.model import classic, classic_read
from ganeti.model.config import Config
from ganeti.model.objects import (
    AdminState,
    AllocPolicy,
    Cluster,
    DetachedDisk,
    Disk,
    DiskMode,
    DiskTemplate,
    Group,
    Instance,
    Network,
    Nic,
    Node,
)

BUILTIN = {"kvm": {"kernel_path": "/boot/k", "acpi": True}, "fake": {"migration_mode": "live"}}


def _config():
    mirror = Disk(
        uuid="d2",
        template=DiskTemplate.DRBD,
        size=1024,
        logical_id=("n1", "n2", 11000, 0, 0, "0123abcd"),
        children=(
            Disk(uuid="d3", template=DiskTemplate.PLAIN, size=1024, logical_id=("xenvg", "a_data")),
            Disk(uuid="d4", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "a_meta")),
        ),
    )
    file = Disk(
        uuid="d1",
        template=DiskTemplate.FILE,
        size=512,
        logical_id=("loop", "/srv/x"),
        mode=DiskMode.RO,
        name="root",
        params={"a": 1},
    )
    nics = (
        Nic(uuid="i1", mac="aa:00:00:00:00:01", ip="192.0.2.5", network="net1"),
        Nic(uuid="i2", mac="aa:00:00:00:00:02", name="eth1", params={"mode": "routed"}),
    )
    return Config.load(
        [
            Cluster(
                uuid="c",
                name="cluster.example.com",
                master_node="n1",
                master_ip="192.0.2.1",
                master_netdev="br0",
                enabled_hypervisors=("kvm", "fake"),
                enabled_disk_templates=(DiskTemplate.DRBD, DiskTemplate.FILE),
                hvparams={"kvm": {"kernel_path": "/boot/other"}},
                beparams={"vcpus": 2},
                nicparams={"link": "br0"},
                ndparams={"spindle_count": 2},
                os_hvp={"debian": {"kvm": {"acpi": False}}},
                osparams={"debian": {"dhcp": "yes"}},
                ipolicy={"vcpu-ratio": 2.0},
                diskparams={"drbd": {"metavg": "vg"}},
                tcpudp_port_pool=(11003, 11001),
                volume_group_name="xenvg",
                candidate_pool_size=3,
                lvm_self_repair=True,
                lvm_self_repaired="xenvg on node2",
                serial_no=12,
                ctime=1.5,
                mtime=2.5,
                tags=("b", "a"),
            ),
            Group(uuid="g1", name="default", alloc_policy=AllocPolicy.LAST_RESORT, networks={"net1": {"link": "br1"}}),
            Node(
                uuid="n1",
                name="node1",
                primary_ip="192.0.2.2",
                secondary_ip="192.0.2.2",
                group="g1",
                master_candidate=True,
                certificate_digest="ab" * 32,
                ndparams={"oob_program": "/bin/x"},
            ),
            Node(uuid="n2", name="node2", primary_ip="192.0.2.3", secondary_ip="10.0.0.3", group="g1", offline=True),
            Network(
                uuid="net1",
                name="lan",
                network="192.0.2.0/28",
                gateway="192.0.2.1",
                reserved=("192.0.2.14",),
            ),
            Instance(
                uuid="v1",
                name="web1",
                primary_node="n1",
                os="debian+min",
                hypervisor="kvm",
                admin_state=AdminState.UP,
                disks_active=True,
                disks=(file, mirror),
                nics=nics,
                hvparams={"acpi": False},
                beparams={"maxmem": 512},
                osparams={"dhcp": "no"},
                network_port=11002,
                ctime=7.0,
                mtime=9.0,
            ),
            Instance(
                uuid="v2",
                name="web2",
                primary_node="n2",
                os="debian",
                hypervisor="fake",
                disks=(
                    Disk(
                        uuid="d20",
                        template=DiskTemplate.BLOCKDEV,
                        size=100,
                        logical_id=("manual", "/dev/disk/by-id/wwn-1"),
                    ),
                ),
            ),
            *_detached(),
        ]
    )


def _detached():
    """One of each kind, as far as it matters where they lie."""
    mirror = Disk(
        uuid="d6",
        template=DiskTemplate.DRBD,
        size=64,
        logical_id=("n1", "n2", 11007, 3, 4, "0123abcd"),
        children=(
            Disk(uuid="d7", template=DiskTemplate.PLAIN, size=64, logical_id=("xenvg", "b_data")),
            Disk(uuid="d8", template=DiskTemplate.PLAIN, size=128, logical_id=("xenvg", "b_meta")),
        ),
    )
    file = Disk(uuid="d5", template=DiskTemplate.FILE, size=64, logical_id=("loop", "/srv/y"), name="spare")
    shared = Disk(uuid="d9", template=DiskTemplate.SHAREDFILE, size=64, logical_id=("loop", "/srv/z"))
    return [
        DetachedDisk(
            uuid=disk.uuid, name=disk.uuid, disk=disk, nodes=nodes, owner="v1", instance_name="web1",
            ctime=3.0, mtime=4.0, serial_no=2,
        )
        for disk, nodes in ((file, ("n2",)), (mirror, ("n2", "n1")), (shared, ("n1",)))
    ]  # fmt: skip


def _export(config, serial=77):
    return classic.export(config, serial=serial, builtin=BUILTIN, with_secrets=True)


def _read(document):
    numbers = itertools.count(1)
    return classic_read.read(document, builtin=BUILTIN, new_uuid=lambda: f"new-{next(numbers)}")


def test_what_was_exported_is_read_back_object_by_object():
    config = _config()
    document = json.loads(json.dumps(_export(config)))
    found = _read(document)
    assert found.notes == ()
    assert found.serial == 77
    # the order of these says nothing
    cluster = msgspec.structs.replace(config.cluster, tags=("a", "b"), tcpudp_port_pool=(11001, 11003))
    for obj in (cluster, *list(config.objects())[1:]):
        assert found.config.get(obj.kind, obj.uuid) == obj
    assert _export(found.config) == document


def test_the_document_has_the_form_that_readers_expect():
    document = _export(_config())
    assert document["version"] == 3_000_000
    assert set(document) == {
        "version", "serial_no", "ctime", "mtime", "cluster", "nodes", "instances", "nodegroups", "networks", "disks",
        "filters",
    }  # fmt: skip
    cluster = document["cluster"]
    assert cluster["hvparams"]["kvm"] == {"kernel_path": "/boot/other", "acpi": True}
    assert cluster["beparams"]["default"]["vcpus"] == 2
    assert cluster["beparams"]["default"]["maxmem"] == 128
    assert cluster["nicparams"]["default"] == {"mode": "bridged", "link": "br0", "vlan": ""}
    assert cluster["ipolicy"]["vcpu-ratio"] == 2.0
    assert cluster["ipolicy"]["spindle-ratio"] == 32.0
    assert cluster["data_collectors"]["lv"] == {"active": True, "interval": 5_000_000}
    instance = document["instances"]["v1"]
    assert instance["disks"] == ["d1", "d2"]
    assert instance["network_port"] == 11002
    assert "network_port" not in document["instances"]["v2"]
    assert instance["nics"][1] == {
        "mac": "aa:00:00:00:00:02", "nicparams": {"mode": "routed"}, "uuid": "i2", "name": "eth1",
    }  # fmt: skip
    mirror = document["disks"]["d2"]
    assert mirror["dev_type"] == "drbd"
    assert mirror["iv_name"] == "disk/1"
    assert mirror["nodes"] == ["n1", "n2"]
    assert [child["dev_type"] for child in mirror["children"]] == ["plain", "plain"]
    assert [child["nodes"] for child in mirror["children"]] == [["n1", "n2"], ["n1", "n2"]]
    assert document["disks"]["d1"]["nodes"] == ["n1"]
    detached = document["disks"]["d5"]
    assert (detached["nodes"], detached["name"], detached["logical_id"]) == (["n2"], "spare", ["loop", "/srv/y"])
    assert all("d5" not in instance["disks"] for instance in document["instances"].values())
    assert document["disks"]["d6"]["nodes"] == ["n1", "n2"]
    assert document["disks"]["d9"]["nodes"] == []
    assert document["disks"]["d20"]["logical_id"] == ["manual", "/dev/disk/by-id/wwn-1"]
    assert document["disks"]["d20"]["nodes"] == []
    network = document["networks"]["net1"]
    assert network["reservations"] == "0000010000000000"
    assert network["ext_reservations"] == "1100000000000011"


def test_what_others_do_not_know_is_there_only_if_it_says_something():
    cluster = msgspec.structs.replace(_config().cluster, lvm_self_repair=False, lvm_self_repaired="")
    document = _export(Config.load([cluster, *list(_config().objects())[1:]]))
    assert not [name for name in document["cluster"] if name.startswith("lvm_")]
    assert not ["detached" for uuid in ("d1", "d2") if "detached" in document["disks"][uuid]]


def test_detached_disks_have_no_key_that_others_do_not_know_when_it_would_say_nothing():
    document = json.loads(json.dumps(_export(_config())))
    for uuid in ("d5", "d6", "d9"):
        assert set(document["disks"][uuid]) - set(document["disks"]["d2"]) - {"name"} == {"detached"}
        del document["disks"][uuid]["detached"]
    known = _read(document).config
    again = json.loads(json.dumps(_export(known)))
    assert [uuid for uuid in ("d5", "d6") if set(again["disks"][uuid]) - {"name"} != set(again["disks"]["d2"])] == []
    found = _read(again).config.disks
    assert found == known.disks
    assert {(each.owner, each.instance_name) for each in found.values()} == {("d5", ""), ("d6", "")}


def test_disks_of_no_instance_in_documents_of_others_are_detached_ones():
    document = json.loads(json.dumps(_export(_config())))
    for uuid in ("d5", "d6", "d9"):
        del document["disks"][uuid]["detached"]
    found = _read(document)
    assert {uuid: each.nodes for uuid, each in found.config.disks.items()} == {"d5": ("n2",), "d6": ("n1", "n2")}
    assert "disks that belong to no instance become detached ones: d5, d6" in found.notes
    assert "disks of no instance and no node are left out: d9" in found.notes


def test_a_disk_that_an_instance_has_is_not_detached_whatever_is_said():
    document = _broken(_put("disks", "d1", "detached", {"nodes": ["n1"], "owner": "v9", "instance_name": "x"}))
    assert "d1" not in _read(document).config.disks


TWO = {
    "version": 2_000_000,
    "serial_no": 5,
    "cluster": {
        "serial_no": 3,
        "tags": [],
        "rsahostkeypub": "AAAA",
        "highest_used_port": 11001,
        "tcpudp_port_pool": [],
        "mac_prefix": "aa:00:00",
        "volume_group_name": "xenvg",
        "default_bridge": "xen-br1",
        "default_hypervisor": "fake",
        "master_node": "node1",
        "master_ip": "192.0.2.1",
        "master_netdev": "eth0",
        "cluster_name": "old.example.com",
        "file_storage_dir": "/srv/f",
        "enabled_hypervisors": ["kvm", "fake"],
        "hvparams": {"kvm": {"kernel_path": "/boot/k", "acpi": True}},
        "beparams": {"default": {"memory": 256, "vcpus": 1, "auto_balance": True}},
        "candidate_pool_size": 10,
        "modify_etc_hosts": True,
    },
    "nodes": {
        name: {
            "name": name,
            "primary_ip": address,
            "secondary_ip": address,
            "master_candidate": True,
            "offline": False,
            "drained": False,
            "serial_no": 1,
            "tags": [],
        }
        for name, address in (("node1", "192.0.2.2"), ("node2", "192.0.2.3"))
    },
    "instances": {
        "web1": {
            "name": "web1",
            "primary_node": "node1",
            "os": "debian",
            "hypervisor": "kvm",
            "admin_up": True,
            "hvparams": {},
            "beparams": {"memory": 512},
            "nics": [{"mac": "aa:00:00:00:00:01", "ip": None, "bridge": "br7"}],
            "disk_template": "drbd",
            "network_port": None,
            "serial_no": 2,
            "tags": ["t"],
            "disks": [
                {
                    "dev_type": "drbd8",
                    "logical_id": ["node1", "node2", 11000, 0, 1, "secret"],
                    "physical_id": ["192.0.2.2", 11000, "192.0.2.3", 11000, 0, "secret"],
                    "children": [
                        {"dev_type": "lvm", "logical_id": ["xenvg", "u.disk0_data"], "children": [], "size": 1024},
                        {"dev_type": "lvm", "logical_id": ["xenvg", "u.disk0_meta"], "children": [], "size": 128},
                    ],
                    "iv_name": "disk/0",
                    "size": 1024,
                    "mode": "rw",
                }
            ],
        }
    },
}


def test_a_document_of_version_two_is_upgraded():
    found = _read(copy.deepcopy(TWO))
    config = found.config
    master = config.node("node1")
    assert config.cluster.master_node == master.uuid == "new-1"
    assert config.groups[master.group].name == "default"
    assert config.cluster.enabled_hypervisors == ("fake", "kvm")
    assert config.cluster.enabled_disk_templates == (DiskTemplate.DRBD, DiskTemplate.PLAIN)
    assert config.cluster.nicparams == {"link": "xen-br1"}
    assert config.cluster.beparams == {"minmem": 256, "maxmem": 256}
    assert config.cluster.hvparams == {}
    instance = config.instance("web1")
    assert instance.admin_state is AdminState.UP
    assert instance.disks_active
    assert instance.beparams == {"minmem": 512, "maxmem": 512}
    assert instance.nics[0].params == {"mode": "bridged", "link": "br7"}
    disk = instance.disks[0]
    assert disk.template is DiskTemplate.DRBD
    assert disk.logical_id == (master.uuid, config.node("node2").uuid, 11000, 0, 1, "secret")
    assert [child.template for child in disk.children] == [DiskTemplate.PLAIN, DiskTemplate.PLAIN]
    assert instance.secondary_nodes == (config.node("node2").uuid,)
    uuids = [obj.uuid for obj in config.objects()] + [disk.uuid, *(child.uuid for child in disk.children)]
    assert len(set(uuids)) == len(uuids)
    assert "version 2.0 becomes 3.0" in found.notes
    assert any("2 nodes" in note for note in found.notes)
    # and the upgraded one is stable
    assert _export(_read(_export(config)).config) == _export(config)


def _broken(change):
    document = json.loads(json.dumps(_export(_config())))
    change(document)
    return document


def _del(*path):
    def change(document):
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return change


def _put(*path_and_value):
    *path, value = path_and_value

    def change(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_put("version", 1_020_000), "$.version: version 1020000 cannot be read"),
        (_put("version", "3"), "$.version: a version number is wanted"),
        (_del("nodes"), "$.nodes: an object is wanted, not null"),
        (_put("instances", []), "$.instances: an object is wanted, not a list"),
        (_put("cluster", "master_node", "n9"), "$.cluster.master_node: there is no node 'n9'"),
        (
            _put("cluster", "candidate_pool_size", "ten"),
            "$.cluster.candidate_pool_size: a whole number is wanted, not a text",
        ),
        (_put("cluster", "beparams", 7), "$.cluster.beparams: an object is wanted, not a number"),
        (_del("cluster", "cluster_name"), "$.cluster.name"),
        (_put("nodes", "n1", "offline", "no"), "$.nodes['n1'].offline: true or false is wanted, not a text"),
        (_put("nodes", "n1", "group", "g9"), "$.nodes['n1'].group: there is no node group 'g9'"),
        (_put("instances", "v1", "primary_node", None), "$.instances['v1'].primary_node: there is no node None"),
        (_put("instances", "v1", "disks", ["x"]), "$.instances['v1'].disks[0]: there is no disk 'x' in $.disks"),
        (
            _put("instances", "v1", "admin_state", "on"),
            "$.instances['v1'].admin_state: 'on' is none of up, down, offline",
        ),
        (_put("instances", "v1", "nics", 0, "mac", 5), "$.instances['v1'].nics[0].mac: a text is wanted, not 5"),
        (_put("instances", "v1", "nics", 0, "network", "x"), "nics[0].network: there is no network 'x'"),
        (_put("disks", "d1", "size", "1g"), "$.disks['d1'].size: a whole number is wanted, not a text"),
        (_put("disks", "d2", "dev_type", "zfs"), "$.disks['d2'].dev_type: there is no disk template 'zfs'"),
        (_put("disks", "d2", "logical_id", 0, "n9"), "$.disks['d2'].logical_id[0]: there is no node 'n9'"),
        (_put("disks", "d5", "detached", "nodes", ["n9"]), "$.disks['d5'].detached.nodes[0]: there is no node 'n9'"),
        (_put("disks", "d5", "detached", "nodes", "n1"), "$.disks['d5'].detached.nodes: a list is wanted, not text"),
        (_put("disks", "d5", "detached", "owner", 5), "$.disks['d5'].owner: a text is wanted, not 5"),
        (_put("disks", "d5", "uuid", []), "$.disks['d5'].uuid: text is wanted, not a list"),
        (_put("disks", "d1", "uuid", 7), "$.disks['d1'].uuid: text is wanted, not a number"),
        (_put("disks", "d5", "size", "1g"), "$.disks['d5'].size: a whole number is wanted, not a text"),
        (_put("networks", "net1", "network", "x"), "$.networks['net1'].network"),
        (_put("networks", "net1", "ext_reservations", "012"), "$.networks['net1'].ext_reservations"),
        (_put("instances", "v2", "name", "web1"), "there is already a instance called 'web1'"),
    ],
)
def test_a_wrong_document_is_refused_with_the_place(change, said):
    with pytest.raises(errors.PrereqError) as caught:
        _read(_broken(change))
    assert said in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "text", 5, {}])
def test_what_is_no_configuration_at_all_is_refused(document):
    with pytest.raises(errors.PrereqError, match="is wrong at"):
        _read(document)


def test_what_has_no_place_here_is_told():
    document = _broken(_put("cluster", "colour", "red"))
    document["nodes"]["n1"]["colour"] = "blue"
    document["disks"]["lonely"] = {"dev_type": "plain"}
    notes = "\n".join(_read(document).notes)
    for part in ("cluster.colour", "node.colour", "lonely"):
        assert part in notes
