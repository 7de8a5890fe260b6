import os

import pytest

from ganeti import errors, paths
from ganeti.bootstrap import checks, init
from ganeti.bootstrap.checks import InitRequest
from ganeti.model.objects import DiskTemplate
from ganeti.paths import Paths

HYPERVISORS = ("kvm", "fake")
TEMPLATES = ("diskless", "file", "sharedfile", "plain")
ON_LVM = {"enabled_disk_templates": ("plain", "file")}


def _node(tmp_path, hosts="127.0.0.1 node1.example.com\n127.0.0.9 cluster.example.com\n", name="node1.example.com"):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hosts").write_text(hosts)
    return Paths(str(tmp_path), name)


def _check(where, **wanted):
    request = InitRequest(**{"cluster_name": "cluster.example.com", **wanted})
    return checks.check(
        request,
        where,
        known_hypervisors=HYPERVISORS,
        known_templates=TEMPLATES,
        why_not_group=lambda vg: "" if vg in ("xenvg", "fast") else f"volume group {vg} missing",
    )


def test_check_fills_in_what_was_not_said(tmp_path):
    facts = _check(_node(tmp_path))
    assert facts.node_name == "node1.example.com"
    assert (facts.node_ip, facts.secondary_ip, facts.cluster_ip) == ("127.0.0.1", "127.0.0.1", "127.0.0.9")
    assert facts.hypervisors == ("kvm",)
    assert facts.templates == (DiskTemplate.FILE, DiskTemplate.DISKLESS)
    assert (facts.netmask, facts.netdev, facts.ip_family) == (32, "lo", 2)


def test_the_usual_hypervisor_and_templates_are_xen_and_drbd_where_they_exist():
    assert checks.choose_hypervisors((), ("kvm", "xen-pvm", "fake")) == ("xen-pvm",)
    assert checks.choose_templates((), ("file", "plain", "drbd")) == (DiskTemplate.DRBD, DiskTemplate.PLAIN)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"cluster_name": "no blanks"}, "cannot be a cluster name"),
        ({"mac_prefix": "01:00:00"}, "must be even"),
        ({"mac_prefix": "zz:00:00"}, "cannot be a MAC prefix"),
        ({"candidate_pool_size": 0}, "it is 1 or more"),
        ({"file_storage_dir": "srv/x"}, "--file-storage-dir"),
        ({"shared_file_storage_dir": "/srv/../etc"}, "--shared-file-storage-dir"),
        ({"enabled_hypervisors": ("kvn",)}, "unknown hypervisor 'kvn'; known are fake, kvm"),
        ({"enabled_hypervisors": ("kvm", "kvm")}, "listed twice"),
        ({"enabled_disk_templates": ("lvm",)}, "unknown disk template"),
        ({"master_netmask": 33}, "1 to 32"),
        ({"secondary_ip": "10.0.0"}, "not an IP address"),
        ({"secondary_ip": "192.0.2.77"}, "not an address of this host"),
        ({"primary_ip_version": "6"}, "give --primary-ip-version=4"),
        ({"master_netdev": "nope0"}, "no network interface 'nope0'"),
        ({"default_iallocator": "nope"}, "no allocator 'nope'"),
        ({**ON_LVM, "vg_name": "nope"}, "volume group nope missing"),
        ({**ON_LVM, "vg_name": ""}, "no place for disks of plain"),
    ],
)
def test_check_refuses_and_says_what_to_do(tmp_path, wanted, said):
    with pytest.raises(errors.PrereqError) as caught:
        _check(_node(tmp_path), **wanted)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "group"),
    [(ON_LVM, "xenvg"), ({**ON_LVM, "vg_name": "fast"}, "fast"), ({}, ""), ({"vg_name": "nope"}, "nope")],
)
def test_the_volume_group_has_to_be_there_if_disks_lie_in_it(tmp_path, wanted, group):
    assert _check(_node(tmp_path), **wanted).volume_group == group


def test_an_allocator_may_be_installed(tmp_path):
    where = _node(tmp_path)
    directory = where.local(where.iallocator_search_path[0])
    os.makedirs(directory)
    with open(f"{directory}/hail", "w") as file:
        os.fchmod(file.fileno(), 0o755)
    _check(where, default_iallocator="hail")
    _check(where, default_iallocator="")


def test_an_address_of_another_host_is_refused(tmp_path):
    where = _node(tmp_path, hosts="192.0.2.77 node1.example.com\n127.0.0.9 cluster.example.com\n")
    with pytest.raises(errors.PrereqError, match="not an address of this host"):
        _check(where)


def test_a_name_without_address_is_refused(tmp_path):
    where = _node(tmp_path, hosts="127.0.0.1 node1.example.com\n")
    with pytest.raises(errors.ResolverError, match=r"cluster\.invalid"):
        _check(where, cluster_name="cluster.invalid")


def test_an_install_image_lies_on_the_host(tmp_path):
    where = _node(tmp_path)
    init.check_image("", where)
    with pytest.raises(errors.PrereqError, match=r"--install-image: .*No such file"):
        init.check_image("/srv/image", where)
    os.makedirs(where.local("/srv"))
    with open(where.local("/srv/image"), "wb") as file:
        file.truncate(1 << 20)
    init.check_image("/srv/image", where)


def test_a_member_is_refused_by_name(tmp_path):
    where = _node(tmp_path)
    os.makedirs(where.local(paths.DATA_DIR))
    for file, text in ((paths.IDENTITY, "{}"), (paths.ssconf("cluster_name"), "old.example.com\n")):
        with open(where.local(file), "w") as made:
            made.write(text)
    with pytest.raises(errors.PrereqError, match=r"already part of the cluster 'old\.example\.com'"):
        checks.check_not_a_member(where)


def test_an_interrupted_init_does_not_make_a_member(tmp_path):
    where = _node(tmp_path)
    os.makedirs(where.local(paths.DATA_DIR))
    for file in (paths.IDENTITY, paths.INIT_MARK):
        with open(where.local(file), "w") as made:
            made.write("{}")
    checks.check_not_a_member(where)
