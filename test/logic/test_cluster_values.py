"""Every setting of the cluster that can be changed: what is stored, and what is refused."""

from __future__ import annotations

import pytest
from logic.plan_env import GROUP, PlanEnv, execute, make_config, make_instance, node_uuid, refused

from ganeti import errors
from ganeti.calls.volume import VolumeInfo
from ganeti.model import diskparams
from ganeti.model.objects import DiskTemplate, Nic
from ganeti.model.types import Uuid
from ganeti.ops.base import decode
from ganeti.ops.cluster import OpClusterSetParams

SPEC = {"cpu-count": 1, "disk-count": 1, "disk-size": 1024, "memory-size": 128, "nic-count": 0, "spindle-use": 1}


@pytest.mark.parametrize(
    ("given", "field", "stored"),
    [
        ({"nicparams": {"mode": "routed", "link": "100"}}, "nicparams", {"mode": "routed", "link": "100"}),
        ({"ndparams": {"ssh_port": "2222"}}, "ndparams", {"ssh_port": 2222}),
        ({"diskparams": {"drbd": {"protocol": "A"}}}, "diskparams", {"drbd": {"protocol": "A"}}),
        ({"os_hvp": {"debian": {"fake": {}}}}, "os_hvp", {}),
        ({"os_hvp": {"debian": {"kvm": {"acpi": "false"}}}}, "os_hvp", {"debian": {"kvm": {"acpi": False}}}),
        ({"osparams": {"debian": {"size": "big"}}}, "osparams", {"debian": {"size": "big"}}),
        ({"hidden_os": [["add", "b"], ["add", "a"], ["remove", "c"]]}, "hidden_os", ("a", "b")),
        ({"blacklisted_os": [["add", "b"]]}, "blacklisted_os", ("b",)),
        ({"ipolicy": {"vcpu-ratio": "2.5"}}, "ipolicy", {"vcpu-ratio": 2.5}),
        ({"ipolicy": {"disk-templates": ["file"]}}, "ipolicy", {"disk-templates": ["file"]}),
        ({"mac_prefix": "AA:BB:CC"}, "mac_prefix", "aa:bb:cc"),
        ({"master_netdev": "eth0"}, "master_netdev", "eth0"),
        ({"master_netmask": 24}, "master_netmask", 24),
        ({"vg_name": "xenvg"}, "volume_group_name", "xenvg"),
        ({"vg_name": ""}, "volume_group_name", ""),
        ({"drbd_helper": "/bin/true"}, "drbd_usermode_helper", "/bin/true"),
        ({"file_storage_dir": "/data/files"}, "file_storage_dir", "/data/files"),
        ({"shared_file_storage_dir": "/data/shared"}, "shared_file_storage_dir", "/data/shared"),
        ({"default_iallocator": "builtin"}, "default_iallocator", "builtin"),
        ({"default_iallocator_params": {"a": "1"}}, "default_iallocator_params", {"a": "1"}),
        ({"maintain_node_health": True}, "maintain_node_health", True),
        ({"enabled_user_shutdown": True}, "enabled_user_shutdown", True),
        ({"prealloc_wipe_disks": True}, "prealloc_wipe_disks", True),
        ({"lvm_self_repair": True}, "lvm_self_repair", True),
        ({"use_external_mip_script": True}, "use_external_mip_script", True),
        ({"modify_etc_hosts": True}, "modify_etc_hosts", True),
        ({"modify_ssh_setup": True}, "modify_ssh_setup", True),
        ({"reserved_lvs": ["xenvg/root.*"]}, "reserved_lvs", ("xenvg/root.*",)),
        ({"uid_pool": [[20, 30], [10, 12]]}, "uid_pool", ((10, 12), (20, 30))),
        ({"add_uids": [[5, 5]]}, "uid_pool", ((5, 5),)),
        ({"compression_tools": ["lzop"]}, "compression_tools", ("lzop",)),
        ({"compression_tools": []}, "compression_tools", ("gzip", "gzip-fast", "gzip-slow")),
        ({"hv_state": {"kvm": {"mem_node": "100"}}}, "hv_state_static", {"kvm": {"mem_node": 100}}),
        ({"disk_state": {"plain": {"disk_total": 5}}}, "disk_state_static", {"plain": {"disk_total": 5}}),
    ],
)
def test_a_setting_is_stored(given, field, stored):
    env = PlanEnv(make_config())
    execute(decode({"OP_ID": "OP_CLUSTER_SET_PARAMS", **given}), env)
    assert getattr(env.config.cluster, field) == stored


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"nicparams": {"mode": "tunnel"}}, "mode is 'tunnel'"),
        ({"nicparams": {"vlan": "10"}}, "takes no vlan"),
        ({"ndparams": {"colour": "red"}}, "unknown node parameter 'colour'"),
        ({"diskparams": {"tape": {}}}, "no disk template 'tape'"),
        ({"diskparams": {"drbd": {"protocol": "X"}}}, "protocol is 'X'"),
        ({"diskparams": {"drbd": {"net-custom": "--discard-my-data"}}}, "must not have --discard-my-data"),
        ({"diskparams": {"drbd": {"disk-custom": "'open"}}}, "cannot be split"),
        ({"os_hvp": {"debian": {"vmware": {}}}}, "no hypervisor 'vmware'"),
        ({"os_hvp": {"debian": {"kvm": {"migration_port": 5}}}}, "migration_port"),
        ({"os_hvp": {"debian": {"kvm": {"initrd_path": "x"}}}}, "initrd_path"),
        ({"ipolicy": {"vcpu-ratio": 0}}, "not more than 0"),
        ({"ipolicy": {"disk-templates": []}}, "at least one disk template"),
        ({"ipolicy": {"minmax": [{"min": SPEC}]}}, "min and max"),
        ({"ipolicy": {"minmax": [{"min": SPEC, "max": {"cpu-count": 1}}]}}, "max has no disk-count"),
        ({"ipolicy": {"std": {"memory-size": "64"}}}, "standard memory-size is 64"),
        ({"ipolicy": {"std": {"colour": 1}}}, "unknown key 'colour'"),
        ({"ipolicy": {"minmax": [{"min": {**SPEC, "cpu-count": 3}, "max": SPEC}]}}, "more than the greatest"),
        ({"mac_prefix": "01:00:00"}, "MAC prefix"),
        ({"master_netdev": "a/b"}, "network interface"),
        ({"master_netmask": 33}, "1 to 32"),
        ({"vg_name": "a b"}, "volume group"),
        ({"drbd_helper": "true"}, "absolute"),
        ({"file_storage_dir": "/etc/x"}, "file storage directory"),
        ({"reserved_lvs": ["["]}, "pattern '['"),
        ({"uid_pool": [[0, 5]]}, "no range of user ids"),
        ({"uid_pool": [[10, 20], [15, 30]]}, "overlap"),
        ({"remove_uids": [[10, 20]]}, "not in the pool"),
        ({"compression_tools": ["a b"]}, "compression tool"),
        ({"hv_state": {"vmware": {}}}, "no hypervisor 'vmware'"),
        ({"hv_state": {"kvm": {"colour": 1}}}, "unknown key 'colour'"),
        ({"hvparams": {"kvm": {"security_model": "pool"}}}, "no user ids"),
        ({"beparams": {"memory": "1x"}}, "parameter memory: cannot use '1x'"),
    ],
)
def test_a_setting_is_refused(given, text):
    err = refused(decode({"OP_ID": "OP_CLUSTER_SET_PARAMS", **given}), PlanEnv(make_config()))
    assert (err.code, text in str(err)) == ("wrong_input", True), str(err)


def test_a_setting_goes_back_to_its_default():
    old = {
        "nicparams": {"mode": "routed", "link": "1"},
        "ipolicy": {"vcpu-ratio": 2.0},
        "ndparams": {"ovs": True},
        "diskparams": {"plain": {"stripes": 2}},
        "os_hvp": {"debian": {"kvm": {"acpi": False}}},
        "osparams": {"debian": {"a": "1"}},
    }
    env = PlanEnv(make_config(**old))
    op = OpClusterSetParams(
        nicparams={"mode": "default", "link": None},
        ipolicy={"vcpu-ratio": "default"},
        ndparams={"ovs": "default"},
        diskparams={"plain": {"stripes": "default"}},
        os_hvp={"debian": {"kvm": {"acpi": "default"}}},
        osparams={"debian": {"a": "default"}},
    )
    execute(op, env)
    cluster = env.config.cluster
    kept = (cluster.nicparams, cluster.ipolicy, cluster.ndparams, cluster.diskparams, cluster.os_hvp, cluster.osparams)
    assert kept == ({},) * 6


def test_a_pool_of_user_ids_is_cut():
    env = PlanEnv(make_config(uid_pool=((10, 20), (30, 30))))
    execute(OpClusterSetParams(remove_uids=((12, 15), (30, 30)), add_uids=((40, 41),)), env)
    assert env.config.cluster.uid_pool == ((10, 11), (16, 20), (40, 41))


def test_new_nic_defaults_must_fit_every_instance():
    env = PlanEnv(make_config(make_instance()))
    err = refused(OpClusterSetParams(nicparams={"mode": "routed"}), env)
    assert "instance web1.example.com does not fit" in str(err)
    own = make_instance(nics=(Nic(uuid=Uuid("n"), mac="aa:00:00:00:00:01", params={"mode": "bridged"}),))
    execute(OpClusterSetParams(nicparams={"mode": "routed"}), PlanEnv(make_config(own)))


def test_all_instances_that_use_a_hypervisor_are_named():
    env = PlanEnv(make_config(*(make_instance(f"web{number}", nics=()) for number in range(12))))
    text = str(refused(OpClusterSetParams(enabled_hypervisors=("kvm",)), env))
    assert "web0, web1" in text
    assert "and 2 more" in text


def test_a_diskless_instance_keeps_its_template_enabled():
    env = PlanEnv(make_config(make_instance(disks=())))
    assert "diskless is in use" in str(refused(OpClusterSetParams(enabled_disk_templates=("file",)), env))


def test_a_stricter_policy_names_the_instances_that_break_it():
    env = PlanEnv(make_config(make_instance()))
    execute(OpClusterSetParams(ipolicy={"disk-templates": ["plain"]}), env)
    assert "web1.example.com" in env.warnings[0]


def test_a_directory_that_a_node_does_not_allow_is_refused():
    env = PlanEnv(make_config())
    env.rpc.answers[VolumeInfo] = lambda node, call: (
        errors.RpcError("node2", "failed", "not allowed") if node == node_uuid(2) else None
    )
    assert "node2.example.com does not take volumes" in str(refused(OpClusterSetParams(file_storage_dir="/data"), env))


def test_disk_parameters_are_filled_level_by_level():
    config = make_config(diskparams={"plain": {"stripes": 2}})
    assert diskparams.filled(config, DiskTemplate.PLAIN, GROUP) == {"stripes": 2}
    assert diskparams.filled(config, DiskTemplate.FILE, GROUP) == {}
