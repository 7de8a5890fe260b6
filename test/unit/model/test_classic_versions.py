"""A configuration of every version from 2.0 to 3.1 is read, whole; one that is damaged is refused with the place."""

import copy
import itertools
import json

import pytest
from unit.model import classic_samples as samples
from unit.model.classic_samples import Sample, uuid

from ganeti import errors
from ganeti.bootstrap.config_import import plan
from ganeti.hypervisor import parameters
from ganeti.model import classic
from ganeti.model.disks import Mirror
from ganeti.model.objects import AdminState, AllocPolicy, DiskTemplate

VERSIONS = [pytest.param(version, id=".".join(map(str, version))) for version in samples.VERSIONS]


def read(document):
    numbers = itertools.count(1000)
    return plan(document, new_uuid=lambda: uuid(next(numbers)))


@pytest.fixture(scope="module", params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(scope="module")
def found(version):
    return read(Sample(version).document())


def test_nothing_is_lost_or_wrong(found, version):
    """Beside the public host key, which nodes tell anew, and a collector of data, which is not here."""
    wrong = [line for line in found.lines if "not kept" in line or "ERROR" in line or "left out" in line]
    expected = ["data_collectors", "rsahostkeypub"] if version >= (2, 14) else ["rsahostkeypub"]
    assert [name for name in expected for line in wrong if f"cluster.{name} is not kept" in line] == expected
    assert len(wrong) == len(expected), wrong


def test_cluster_has_its_settings(found, version):
    cluster = found.config.cluster
    assert (cluster.name, cluster.master_ip, cluster.master_netdev) == (samples.CLUSTER_NAME, "192.0.2.1", "eth0")
    assert found.config.master.name == "node1.example.com"
    assert cluster.tags == ("prod",)
    assert (cluster.candidate_pool_size, cluster.volume_group_name) == (7, "xenvg")
    assert cluster.enabled_hypervisors == ("xen-pvm", "kvm")
    assert set(cluster.enabled_disk_templates) >= {DiskTemplate.DRBD, DiskTemplate.FILE}
    assert cluster.hvparams["xen-pvm"]["kernel_args"] == "ro quiet"
    assert cluster.hvparams["kvm"] == {"serial_console": False}
    memory = {"maxmem": 192} if version >= (2, 6) else {"minmem": 192, "maxmem": 192}
    assert cluster.beparams == {"vcpus": 2, **memory}
    assert cluster.nicparams == {"link": "xen-br3"}
    assert cluster.modify_etc_hosts
    since = {
        (2, 1): ("os_hvp", {"debootstrap": {"kvm": {"acpi": False}}}),
        (2, 2): ("uid_pool", ((4000, 4100),)),
        (2, 3): ("reserved_lvs", ("xenvg/swap.*",)),
        (2, 6): ("diskparams", {"drbd": {"metavg": "metavg"}}),
        (2, 12): ("osparams_private_cluster", {"debootstrap": {"token": samples.CLUSTER_PRIVATE}}),
        (2, 13): ("compression_tools", ("gzip", "lzop")),
        (2, 14): ("enabled_user_shutdown", True),
        (2, 16): ("ssh_key_bits", 4096),
    }
    for begins, (name, value) in since.items():
        assert version < begins or getattr(cluster, name) == value, name
    if version >= (2, 6):
        (pair,) = cluster.ipolicy["minmax"]
        assert pair["max"]["memory-size"] == 4096


def test_what_is_taken_stays_taken(found):
    """Ports, minors, volumes and addresses."""
    cluster = found.config.cluster
    assert (cluster.highest_used_port, cluster.tcpudp_port_pool) == (11002, (11003, 11004))
    assert set(found.config.ports) == {11000, 11001, 11002}
    assert set(found.config.macs) == set(samples.MACS)
    (disk,) = found.config.instance("web1.example.com").disks
    mirror = Mirror.of(disk)
    first, second = (found.config.node(name).uuid for name in list(samples.NODES)[:2])
    assert disk.logical_id == (first, second, 11000, 0, 1, samples.SECRET)
    assert mirror is not None


def test_nodes_are_what_they_were_but_come_back_one_by_one(found, version):
    nodes = {name: found.config.node(name) for name in samples.NODES}
    assert len(found.config.nodes) == len(nodes)
    assert {name: node.primary_ip for name, node in nodes.items()} == samples.NODES
    assert [node.offline for node in nodes.values()] == [False, True, True]
    assert [node.master_candidate for node in nodes.values()] == [True, False, False]
    # digests there are of other certificates, and shorter
    assert {node.certificate_digest for node in nodes.values()} == {""}
    assert nodes["node1.example.com"].tags == ("tag1",)
    if version >= (2, 2):
        assert nodes["node2.example.com"].uuid == uuid(2)
        assert nodes["node2.example.com"].ctime == samples.TIME


def test_groups_networks_and_rules(found, version):
    groups = {group.name: group for group in found.config.groups.values()}
    members = {node.name: found.config.groups[node.group].name for node in found.config.nodes.values()}
    assert set(groups) == ({"default", "far"} if version >= (2, 4) else {"default"})
    assert members["node3.example.com"] == ("far" if version >= (2, 4) else "default")
    if version >= (2, 4):
        assert groups["far"].alloc_policy is AllocPolicy.LAST_RESORT
    if version >= (2, 7):
        (network,) = found.config.networks.values()
        assert (network.name, network.network, network.gateway) == ("lan", "10.1.0.0/28", "10.1.0.1")
        assert network.reserved == ("10.1.0.12",)
        assert groups["default"].networks == {uuid(40): {"mode": "bridged", "link": "br-lan"}}
    else:
        assert len(found.config.networks) == 0
    if version >= (2, 13):
        (rule,) = found.rules
        assert (rule.uuid, rule.priority, rule.watermark, rule.action) == (uuid(80), 5, 17, ("RATE_LIMIT", 3))
        assert any("1 job filters" in line for line in found.lines)
    else:
        assert found.rules == ()


def test_instances_have_disks_nics_and_parameters(found, version):
    web, file, none = (found.config.instance(f"{name}.example.com") for name in ("web1", "file1", "none"))
    assert [instance.admin_state for instance in (web, file, none)] == [
        AdminState.UP, AdminState.DOWN, AdminState.DOWN,
    ]  # fmt: skip
    assert [instance.disk_template for instance in (web, file, none)] == ["drbd", "file", "diskless"]
    assert [instance.network_port for instance in (web, file, none)] == [None, 11001, 11002]
    assert web.disks_active
    assert web.hvparams == {"kernel_path": "/boot/own"}
    assert web.beparams == ({"minmem": 256, "maxmem": 512} if version >= (2, 6) else {"minmem": 512, "maxmem": 512})
    assert web.tags == ("tag20",)
    assert web.osparams == ({"dhcp": "no"} if version >= (2, 2) else {})
    assert web.osparams_private == ({"password": samples.PRIVATE} if version >= (2, 12) else {})
    assert web.secondary_nodes == (found.config.node("node2.example.com").uuid,)
    (mirror,) = web.disks
    assert [(child.template, child.size, child.logical_id[0]) for child in mirror.children] == [
        (DiskTemplate.PLAIN, 2048, "xenvg"), (DiskTemplate.PLAIN, 128, "xenvg"),
    ]  # fmt: skip
    assert mirror.children[1].logical_id[1].endswith(".disk0_meta")
    assert file.disks[0].logical_id == ("loop", "/srv/ganeti/file-storage/file1/disk0")
    first, second = web.nics
    assert first.params == {"mode": "bridged", "link": "xen-br7"}
    assert second.ip == "10.1.0.9"
    assert second.network == (uuid(40) if version >= (2, 7) else None)


def test_uuids_of_everything_are_there_once(found):
    config = found.config
    disks = [disk for instance in config.instances.values() for disk in instance.disks]
    every = [obj.uuid for obj in config.objects()] + [disk.uuid for disk in disks]
    every += [child.uuid for disk in disks for child in disk.children]
    every += [nic.uuid for instance in config.instances.values() for nic in instance.nics]
    assert len(set(every)) == len(every)


def test_exported_and_read_again_it_is_the_same(found):
    builtin = {name: parameters.defaults(name) for name in parameters.HYPERVISORS}
    exported = classic.export(found.config, serial=5, builtin=builtin, rules=found.rules, with_secrets=True)
    again = read(json.loads(json.dumps(exported)))
    assert again.rules == found.rules
    for obj in found.config.objects():
        assert again.config.get(obj.kind, obj.uuid) == obj
    shown = json.dumps(classic.export(found.config, serial=5, builtin=builtin))
    for secret in (samples.SECRET, samples.PRIVATE, samples.CLUSTER_PRIVATE):
        assert secret not in shown


def test_export_without_secrets_makes_no_cluster():
    found = read(Sample((3, 1)).document())
    shown = classic.export(found.config, serial=5, builtin={})
    with pytest.raises(errors.PrereqError, match=r"wrong at \$\.cluster\.osparams_private_cluster.*left out") as caught:
        read(json.loads(json.dumps(shown)))
    assert "--with-secrets" in caught.value.hint


# Damaged ones


def places(value, path=()):
    """Every place of a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def changed(document, path, value):
    """A copy with that value there; `...`: without what is there."""
    copied = copy.deepcopy(document)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return copied


#: one of each, beside nothing at all
WRONG = (..., None, -1, 1.5, True, "x" * 70, [], {}, [5], {"x": 5}, [[]], {"x": {}})


@pytest.mark.parametrize("shown", [(2, 0), (2, 7), (3, 1)], ids=str)
def test_whatever_stands_anywhere_it_is_read_or_refused_with_a_place(shown):
    """Never anything else than a PrereqError that says where; each value at some places, some at each place."""
    document = Sample(shown).document()
    every = [path for path in places(document) if path]
    for number, path in enumerate(every):
        for value in (WRONG[(number * step + step) % len(WRONG)] for step in (1, 5, 7, 11)):
            try:
                read(changed(document, path, value))
            except errors.PrereqError as err:
                assert "wrong at $" in err.message, (path, value)


def test_unknown_keys_are_told_of_and_nothing_else_happens():
    document = Sample((3, 1)).document()
    before = read(copy.deepcopy(document))
    document["future"] = {"x": 1}
    document["cluster"]["colour"] = "red"
    for part in ("nodes", "instances", "nodegroups", "networks", "disks"):
        next(iter(document[part].values()))["colour"] = "blue"
    found = read(document)
    told = "\n".join(found.lines)
    names = ("$.future", "cluster.colour", "node.colour", "instance.colour", "group.colour", "network.colour")
    assert [name for name in (*names, "disk.colour") if name not in told] == []
    assert list(found.config.objects()) == list(before.config.objects())


def _twice(part, **changes):
    def change(document):
        table = document[part]
        first, second = list(table)[:2]
        for name, value in changes.items():
            table[second][name] = table[first][value] if isinstance(value, str) else value
        return f"$.{part}[{second!r}]"

    return change


def _put(path, value):
    def change(document):
        inner = document
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return "$." + path[0]

    return change


WEB, FILE = uuid(20), uuid(21)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_twice("nodes", name="name"), "already a node called"),
        (_twice("instances", name="name"), "already a instance called"),
        (_twice("nodegroups", name="name"), "already a group called"),
        (_twice("nodes", uuid="uuid"), "is no unique text"),
        (_twice("instances", uuid="uuid"), "is no unique text"),
        (_twice("nodegroups", uuid="uuid"), "is no unique text"),
        (_twice("instances", disks="disks"), "belongs to another instance too"),
        (_put(("cluster", "master_node"), uuid(9)), "there is no node"),
        (_put(("instances", WEB, "primary_node"), uuid(9)), "there is no node"),
        (_put(("instances", WEB, "disks", 0), uuid(9)), "there is no disk"),
        (_put(("instances", WEB, "nics", 1, "network"), uuid(9)), "there is no network"),
        (_put(("disks", uuid(50), "logical_id", 1), uuid(9)), "there is no node"),
        (_put(("nodes", uuid(1), "group"), uuid(9)), "there is no node group"),
        (_put(("nodegroups", uuid(30), "networks"), {uuid(9): {}}), "there is no such network"),
        (_put(("filters", uuid(80), "predicates"), [["colour", ["=", "x", 1]]]), "is not a predicate"),
        (_put(("filters", uuid(80), "action"), "SING"), "is not an action"),
        (_put(("filters", uuid(80), "priority"), -1), "priority of a job filter"),
    ],
)
def test_what_is_there_twice_or_points_nowhere_is_refused_with_its_place(change, said):
    document = Sample((3, 1)).document()
    place = change(document)
    with pytest.raises(errors.PrereqError) as caught:
        read(document)
    assert said in caught.value.message
    assert f"wrong at {place}" in caught.value.message
