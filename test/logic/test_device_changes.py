"""Disks and NICs added, changed and removed: what is stored, told, plugged and refused."""

from __future__ import annotations

import msgspec
import pytest
from logic.plan_env import (
    PlanEnv,
    effects,
    execute,
    file_disk,
    guest_of,
    make_config,
    make_instance,
    plan,
    refused,
    shape,
    up,
)

from ganeti.calls.devices import InstanceDevices, InstanceMemory, InstanceRunning, Running
from ganeti.calls.volume import VolumeInfo, VolumeReply
from ganeti.logic import guests, plugging
from ganeti.logic.steps import Commit
from ganeti.model.objects import DiskMode, DiskTemplate, Network, Nic, Put
from ganeti.model.types import Uuid
from ganeti.ops.base import decode

NAME = "web1.example.com"
TEMPLATES = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE, DiskTemplate.DISKLESS)
OLD_MAC = "aa:00:00:11:22:33"


def op(**fields):
    return decode({"OP_ID": "OP_INSTANCE_SET_PARAMS", "instance_name": NAME, **fields})


def two_disks():
    return make_instance(disks=(file_disk(NAME), msgspec.structs.replace(file_disk(NAME, 1), name="data")))


def down_env(instance=None):
    return PlanEnv(make_config(instance or two_disks(), enabled_disk_templates=TEMPLATES))


def running_env(instance=None, *, why_fixed=""):
    """Started as it is configured now."""
    instance = up(instance or two_disks())
    env = PlanEnv(make_config(instance, enabled_disk_templates=TEMPLATES))
    env.rpc.running[instance.uuid] = guest_of(instance)
    has = guests.guest_spec(env.config, instance)
    env.rpc.answers[InstanceRunning] = Running(spec=has, why_fixed=why_fixed)
    return env


def web1(env):
    return env.config.instance(NAME)


def devices_call(env):
    (call,) = [call for _, call in env.rpc.calls if isinstance(call, InstanceDevices)]
    return call.spec.instance


# What is stored and told


def test_disks_are_added_changed_and_removed_at_any_place():
    env = down_env()
    told = execute(
        op(disks=[
            ["add", 0, {"size": "2g", "mode": "ro", "name": "boot"}],
            ["remove", "data", {}],
            ["modify", -1, {"mode": "ro", "name": "root", "exportable": "no"}],
        ]),
        env,
    )  # fmt: skip
    first, second = web1(env).disks
    assert (first.name, first.size, first.mode, first.template) == ("boot", 2048, DiskMode.RO, DiskTemplate.FILE)
    assert (second.uuid, second.name, second.mode, second.exportable) == (f"{NAME}-disk0", "root", DiskMode.RO, False)
    assert told == [
        ["disk/0", "add:size=2048,mode=ro"],
        ["disk/2", "remove"],
        ["disk.mode/1", "ro"],
        ["disk.name/1", "root"],
        ["disk.exportable/1", "no"],
    ]


def test_a_new_disk_lies_beside_the_others_under_a_name_that_none_had():
    env = down_env()
    execute(op(disks=[["add", -1, {"size": 1024}]]), env)
    new = web1(env).disks[2]
    assert new.logical_id == ("loop", f"/srv/ganeti/file-storage/{NAME}/disk-{new.uuid}")


def test_nics_are_added_changed_and_removed():
    env = down_env()
    told = execute(
        op(nics=[
            ["add", 0, {"mode": "routed", "link": "100", "ip": "192.0.2.9", "name": "outside"}],
            ["modify", 1, {"mac": "generate", "ip": "192.0.2.8", "link": "br1"}],
        ]),
        env,
    )  # fmt: skip
    first, second = web1(env).nics
    assert (first.name, first.ip, first.params) == ("outside", "192.0.2.9", {"mode": "routed", "link": "100"})
    assert (second.ip, second.params, second.mac != OLD_MAC) == ("192.0.2.8", {"link": "br1"}, True)
    assert [what for what, _ in told] == ["nic.0", "nic.mac/1", "nic.ip/1", "nic.link/1"]
    execute(op(nics=[["modify", 1, {"ip": "none", "link": "default"}], ["remove", "outside", {}]]), env)
    assert [(nic.ip, nic.params) for nic in web1(env).nics] == [(None, {})]


def test_the_older_form_of_changes_is_understood():
    env = down_env()
    execute(op(disks=[["add", {"size": 1024}]], nics=[[0, {"ip": "192.0.2.8"}]]), env)
    execute(op(disks=[["remove", {}]], nics=[["remove", {}]], ignore_ipolicy=True), env)
    assert (len(web1(env).disks), web1(env).nics) == (2, ())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"disks": [["add", -1, {}]]}, "has no size"),
        ({"disks": [["add", 5, {"size": 1}]]}, "index from 0 to 2"),
        ({"disks": [["add", "data", {"size": 1}]]}, "index from 0 to 2"),
        ({"disks": [["add", -1, {"size": 64, "name": "data"}]]}, "called 'data'"),
        ({"disks": [["modify", 0, {"size": 64}]]}, "grow-disk"),
        ({"disks": [["modify", 0, {"mode": "w"}]]}, "neither rw nor ro"),
        ({"disks": [["modify", 0, {"colour": "red"}]]}, "'colour' cannot be changed"),
        ({"disks": [["modify", 0, {}]]}, "nothing to change"),
        ({"disks": [["modify", 7, {"mode": "ro"}]]}, "no disk 7"),
        ({"disks": [["remove", "swap", {}]]}, "no disk 'swap'"),
        ({"disks": [["remove", -1, {}], ["remove", -1, {}]]}, "last disk"),
        ({"disks": [["add", -1, {"size": 64}]] * 15}, "17 disks are too many"),
        ({"disks": [["attach", -1, {}]]}, "which disk is to be attached"),
        ({"disks": [["attach", -1, {"size": 8}]]}, "which disk is to be attached"),
        ({"disks": [["attach", -1, {"uuid": 7}]]}, "no name or uuid"),
        ({"disks": [["detach", 7, {}]]}, "no disk 7"),
        ({"disks": [["detach", 0, {"name": "x"}]]}, "nothing is set"),
        ({"disks": [["add", 0, {"size": 8}], ["detach", 0, {}]]}, "was not there before"),
        ({"disks": [["detach", 0, {}], ["detach", 0, {}]]}, "last disk"),
        ({"nics": [["detach", 0, {}]]}, "detach is for disks"),
        ({"disks": [["explode", -1, {}]]}, "unknown action 'explode'"),
        ({"disks": [["add"]]}, "[action, device, values]"),
        ({"disks": [["remove", 0, {"size": 1}]]}, "nothing is set"),
        ({"nics": [["add", -1, {}]] * 8}, "9 NICs are too many"),
        ({"nics": [["modify", 0, {"mac": "auto"}]]}, "mac=generate"),
        ({"nics": [["modify", 0, {"mac": "zz"}]]}, "no MAC address"),
        ({"nics": [["modify", 0, {"mode": "routed"}]]}, "needs an ip"),
        ({"nics": [["modify", 0, {"ip": "auto"}]]}, "ip=auto"),
        ({"nics": [["modify", 0, {"colour": 1}]]}, "unknown key 'colour'"),
        ({"nics": [["add", -1, {"bridge": "br0", "link": "br0"}]]}, "give one of them"),
    ],
)
def test_a_change_is_refused(fields, text):
    err = refused(op(**fields), down_env())
    assert (err.code, text in str(err)) == ("wrong_input", True), str(err)


def test_a_taken_address_is_refused():
    other = make_instance("web2.example.com", nics=(Nic(uuid=Uuid("n2"), mac="aa:00:00:00:00:02"),))
    env = PlanEnv(make_config(two_disks(), other))
    assert refused(op(nics=[["add", -1, {"mac": "aa:00:00:00:00:02"}]]), env).code == "resource_not_unique"


def test_a_diskless_instance_takes_no_disks():
    assert "diskless" in str(refused(op(disks=[["add", -1, {"size": 64}]]), down_env(make_instance(disks=()))))


def test_a_disk_needs_room_on_the_node():
    err = refused(op(disks=[["add", -1, {"size": "60g"}]]), down_env())
    assert (err.code, "61440 MiB wanted, 50000 MiB free" in str(err)) == ("insufficient_resources", True)


def test_what_would_break_the_policy_is_refused_unless_it_shall_be_ignored():
    change = {"disks": [["add", -1, {"size": 64}]]}
    assert "disk-size 64" in str(refused(op(**change), down_env()))
    env = down_env()
    execute(op(**change, ignore_ipolicy=True), env)
    assert "disk-size 64" in env.warnings[0]


# Steps


def test_the_new_volume_comes_first_and_the_old_one_goes_last():
    steps = plan(op(disks=[["add", -1, {"size": 1024}], ["remove", 0, {}]]), running_env())
    assert shape(steps) == [
        "parallel volume_create",
        "instance_devices",
        "commit put resolve",
        "parallel volume_remove",
    ]
    create, plug, remove = effects(steps)
    assert (create.undo.undoes, plug.undo.undoes) == (create.call.request, plug.call.request)
    assert [disk.uuid for disk in plug.undo.spec.instance.disks] == [f"{NAME}-disk0", f"{NAME}-disk1"]
    (commit,) = [step for step in steps if isinstance(step, Commit)]
    assert commit.recoveries[0].call["disk"]["uuid"] == remove.call.disk.uuid == f"{NAME}-disk0"


def test_changes_of_a_stopped_instance_are_one_commit():
    assert shape(plan(op(nics=[["add", -1, {}]], disks=[["modify", 0, {"mode": "ro"}]]), down_env())) == [
        "commit put final"
    ]


# Running guests


def test_only_what_is_changed_now_is_plugged():
    env = running_env()
    execute(op(nics=[["modify", 0, {"ip": "192.0.2.5"}]], hotplug=False), env)
    assert "next start" in env.warnings[0]
    execute(op(nics=[["add", -1, {}]]), env)
    plugged = devices_call(env)
    assert [nic.ip for nic in plugged.nics] == [None, None], "what waits for the next start was plugged too"
    assert [nic.ip for nic in web1(env).nics] == ["192.0.2.5", None]


def test_a_changed_nic_is_plugged_with_its_new_parameters():
    env = running_env()
    execute(op(nics=[["modify", 0, {"link": "br7"}]]), env)
    (call,) = [call for _, call in env.rpc.calls if isinstance(call, InstanceDevices)]
    assert call.spec.nicparams[0]["link"] == "br7"


def test_a_disk_that_a_guest_writes_keeps_its_mode_until_the_next_start():
    env = running_env()
    steps = plan(op(disks=[["modify", 0, {"mode": "ro"}]]), env)
    assert shape(steps) == ["commit put final"]


def test_a_guest_that_cannot_is_not_changed_unless_it_may_wait():
    change = {"nics": [["add", -1, {}]]}
    err = refused(op(**change), running_env(why_fixed="it has no ACPI"))
    assert (err.code, "it has no ACPI" in str(err), "--no-hotplug" in str(err)) == ("wrong_state", True, True)
    env = running_env(why_fixed="it has no ACPI")
    execute(op(**change, hotplug_if_possible=True), env)
    assert (len(web1(env).nics), "no ACPI" in env.warnings[0]) == (2, True)


@pytest.mark.parametrize("fields", [{"hotplug": False}, {"hotplug_if_possible": True}])
def test_a_disk_in_use_is_not_removed(fields):
    env = running_env(why_fixed="it has no ACPI")
    err = refused(op(disks=[["remove", 1, {}]], **fields), env)
    assert (err.code, "in use" in str(err)) == ("wrong_state", True)


def test_what_a_guest_was_started_as_may_be_unknown():
    env = running_env()
    env.rpc.answers[InstanceRunning] = None
    assert "not known" in str(refused(op(nics=[["add", -1, {}]]), env))
    env.rpc.fail(InstanceRunning)
    assert refused(op(nics=[["add", -1, {}]]), env).code == "environment_error"


def test_pending_changes_are_named():
    env = running_env()
    has = guests.guest_spec(env.config, web1(env))
    assert plugging.pending(env.config, web1(env), has) == ()
    execute(op(
        beparams={"vcpus": 2}, hotplug=False,
        nics=[["add", 0, {}], ["modify", 1, {"ip": "192.0.2.5"}]], disks=[["modify", 0, {"mode": "ro"}]],
    ), env)  # fmt: skip
    found = plugging.pending(env.config, web1(env), has)
    assert found == (
        "be/vcpus: 1 until the next start, then 2",
        "disk/0: changes with the next start",
        "nic/0: comes with the next start",
        "nic/1: changes with the next start",
    )


# Memory and primary node


def test_memory_of_a_running_guest_is_set_and_can_be_taken_back():
    env = running_env(make_instance(beparams={"minmem": 64}))
    (effect,) = effects(plan(op(runtime_mem=96), env))
    assert isinstance(effect.call, InstanceMemory)
    assert (effect.call.memory, effect.undo.memory, effect.undo.undoes) == (96, 128, effect.call.request)


def test_memory_is_refused():
    assert "not running" in str(refused(op(runtime_mem=128), down_env()))
    assert "not in 128 to 128" in str(refused(op(runtime_mem=64), running_env()))


def test_a_new_primary_node_must_have_the_disks():
    env = down_env()
    assert execute(op(pnode="node2"), env) == [["pnode", "node2"]]
    assert env.config.nodes[web1(env).primary_node].name == "node2.example.com"
    env = down_env()
    env.rpc.answers[VolumeInfo] = VolumeReply(path="", size=0, exists=False)
    assert "disk 0 of web1.example.com is not on node node2" in str(refused(op(pnode="node2"), env))
    assert "is up" in str(refused(op(pnode="node2"), running_env()))
    assert "already" in str(refused(op(pnode="node1"), down_env()))


# Networks


def on_networks():
    """web1 on node1, whose group is connected to `lan`."""
    network = Network(uuid=Uuid("lan-uuid"), name="lan", network="192.0.2.0/29", mac_prefix="aa:bb:cc")
    config = make_config(two_disks())
    group = config.group("default")
    connected = msgspec.structs.replace(group, networks={network.uuid: {"mode": "bridged", "link": "br-lan"}})
    return PlanEnv(config.apply([Put(network), Put(connected)]))


def test_a_nic_comes_to_a_network_takes_an_address_and_leaves_it():
    env = on_networks()
    told = execute(op(nics=[["modify", 0, {"network": "lan", "ip": "pool", "mac": "generate"}]]), env)
    (nic,) = web1(env).nics
    assert (nic.network, nic.ip, nic.params, nic.mac[:8]) == ("lan-uuid", "192.0.2.1", {}, "aa:bb:cc")
    assert ["nic.network/0", "lan"] in told
    execute(op(nics=[["modify", 0, {"network": "none"}]]), env)
    (nic,) = web1(env).nics
    assert (nic.network, nic.ip) == (None, None)


def test_a_network_decides_how_its_nics_are_attached():
    err = refused(op(nics=[["add", -1, {"network": "lan", "link": "br0"}]]), on_networks())
    assert "network decides about link" in str(err)


# Another kind of disk


def test_disks_are_copied_to_another_template():
    env = down_env()
    assert shape(plan(op(disk_template="sharedfile", file_driver="blktap"), env)) == [
        "parallel volume_create volume_create", "volume_copy", "volume_copy", "commit put resolve resolve",
        "parallel volume_remove volume_remove",
    ]  # fmt: skip
    assert execute(op(disk_template="sharedfile", file_driver="blktap"), env) == [["disk_template", "sharedfile"]]
    first, second = web1(env).disks
    assert (first.template, second.template, second.name) == (DiskTemplate.SHAREDFILE, DiskTemplate.SHAREDFILE, "data")
    assert first.logical_id == ("blktap", f"/srv/ganeti/shared-file-storage/{NAME}/disk-{first.uuid}")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"disk_template": "file"}, "file already"),
        ({"disk_template": "diskless"}, "diskless"),
        ({"disk_template": "sharedfile", "disks": [["remove", 0, {}]]}, "second step"),
    ],
)
def test_a_conversion_is_refused(fields, text):
    assert text in str(refused(op(**fields), down_env()))


def test_disks_of_a_running_instance_are_not_converted():
    assert "marked up" in str(refused(op(disk_template="sharedfile"), running_env()))
