"""Parameters: types, levels, resets; the instance policy."""

from __future__ import annotations

from typing import Any

import pytest

from ganeti import errors
from ganeti.model import params, policy
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Group, Node
from ganeti.model.types import Uuid


def config(**cluster: Any) -> Config:
    made = Cluster(
        uuid=Uuid("c"), name="c", master_node=Uuid("n"), master_ip="192.0.2.1", master_netdev="lo", **cluster
    )
    group = Group(
        uuid=Uuid("g"), name="default", ndparams={"spindle_count": 3, "ssh_port": 23}, ipolicy={"vcpu-ratio": 2.0}
    )
    node = Node(
        uuid=Uuid("n"),
        name="n",
        primary_ip="192.0.2.1",
        secondary_ip="192.0.2.1",
        group=group.uuid,
        ndparams={"ssh_port": 24},
    )
    return Config.load([made, group, node])


@pytest.mark.parametrize(
    ("given", "typed"),
    [
        ({"memory": "1g"}, {"minmem": 1024, "maxmem": 1024}),
        ({"memory": None}, {"minmem": None, "maxmem": None}),
        ({"maxmem": 300}, {"maxmem": 300}),
        ({"vcpus": "4"}, {"vcpus": 4}),
        ({"vcpus": "Default"}, {"vcpus": None}),
        ({"auto_balance": "False"}, {"auto_balance": False}),
        ({"auto_balance": True}, {"auto_balance": True}),
        ({"auto_balance": 0}, {"auto_balance": False}),
    ],
)
def test_parse_be(given, typed):
    assert params.parse_be(given) == typed


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"vcpus": "many"}, "write a whole number"),
        ({"vcpus": True}, "write a whole number"),
        ({"vcpus": 1.5}, "write a whole number"),
        ({"vcpus": 0}, "must be at least 1"),
        ({"memory": "1 parsec"}, "cannot read"),
        ({"memory": [1]}, "write a whole number"),
        ({"auto_balance": "maybe"}, "write true or false"),
        ({"colour": 1}, "always_failover, auto_balance, maxmem"),
        ({"memory": 1, "maxmem": 1}, "not both"),
    ],
)
def test_parse_be_when_wrong_then_says_what_to_write(given, text):
    with pytest.raises(errors.PrereqError, match=text) as caught:
        params.parse_be(given)
    assert caught.value.code == "wrong_input"


def test_parse_nic():
    assert params.parse_nic({"mode": "routed", "link": "100", "vlan": False}) == {
        "mode": "routed", "link": "100", "vlan": "",
    }  # fmt: skip
    with pytest.raises(errors.PrereqError, match="one of bridged"):
        params.parse_nic({"mode": "token-ring"})
    with pytest.raises(errors.PrereqError, match="write text"):
        params.parse_nic({"link": 5})


def test_parse_of_a_number():
    declared = {"cpu_speed": params.NODE["cpu_speed"]}
    assert params.parse(declared, {"cpu_speed": "1.5"}, "node") == {"cpu_speed": 1.5}
    with pytest.raises(errors.PrereqError, match="write a number"):
        params.parse(declared, {"cpu_speed": "fast"}, "node")


def test_merged_drops_what_is_reset():
    assert params.merged({"a": 1, "b": 2}, {"b": None, "c": 3}) == {"a": 1, "c": 3}


def test_be_levels():
    filled = params.filled_be(
        config(beparams={"vcpus": 2, "maxmem": 256}), {"vcpus": 3}, {"maxmem": 512, "minmem": None}
    )
    assert (filled["vcpus"], filled["maxmem"], filled["minmem"], filled["auto_balance"]) == (3, 512, 128, True)


def test_nd_levels():
    filled = params.filled_nd(config(ndparams={"spindle_count": 2, "ovs": True}), config().nodes[Uuid("n")])
    assert (filled["spindle_count"], filled["ssh_port"], filled["ovs"], filled["cpu_speed"]) == (3, 24, True, 1.0)


def test_nic_levels():
    filled = params.filled_nic(config(nicparams={"link": "br1"}), {"vlan": "5"}, {"mode": "openvswitch"})
    assert filled == {"mode": "openvswitch", "link": "br1", "vlan": "5"}


def test_hv_levels_with_os_and_variant():
    made = config(
        hvparams={"kvm": {"a": "cluster", "b": "cluster"}},
        os_hvp={"deb": {"kvm": {"b": "os", "c": "os"}}, "deb+min": {"kvm": {"c": "variant"}}},
    )
    builtin = dict.fromkeys("abcde", "builtin")
    filled = params.filled_hv(
        made, builtin, hypervisor="kvm", os="deb+min", overrides={"d": "own"}, temporary={"e": "now", "a": None}
    )
    assert filled == {"a": "cluster", "b": "os", "c": "variant", "d": "own", "e": "now"}


def test_os_levels():
    made = config(osparams={"deb": {"x": "1", "y": "1"}, "deb+min": {"y": "2"}})
    assert params.filled_os(made, "deb+min", {"z": "3"}) == {"x": "1", "y": "2", "z": "3"}
    assert params.filled_os(made, "deb", {}) == {"x": "1", "y": "1"}


@pytest.mark.parametrize(
    ("nic", "ip", "text"),
    [
        ({"mode": "routed", "link": "1", "vlan": ""}, None, "needs an ip"),
        ({"mode": "bridged", "link": "", "vlan": ""}, None, "needs a link"),
        ({"mode": "bridged", "link": "b", "vlan": "5"}, None, "takes no vlan"),
    ],
)
def test_check_nic(nic, ip, text):
    with pytest.raises(errors.PrereqError, match=text):
        params.check_nic(nic, ip)


# Policy


def sizes(**changes: Any) -> policy.Sizes:
    plain = {"template": "file", "memory": 128, "vcpus": 1, "disks": (1024,), "nics": 1, "spindle_use": 1}
    return policy.Sizes(**{**plain, **changes})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"template": "diskless", "disks": ()}, []),
        ({"memory": 64}, ["memory-size 64 is not in 128 to 32768"]),
        ({"disks": (512, 512)}, ["disk-size 512 is not in 1024 to 1048576"]),
        ({"nics": 9, "vcpus": 9}, ["cpu-count 9 is not in 1 to 8", "nic-count 9 is not in 1 to 8"]),
    ],
)
def test_policy_names_what_is_out_of_bounds(changes, found):
    assert policy.violations(policy.builtin(), sizes(**changes)) == found


def test_policy_is_kept_when_one_pair_fits():
    small = {"min": {"memory-size": 1}, "max": {"memory-size": 64}}
    big = {"min": {"memory-size": 4096}, "max": {"memory-size": 8192}}
    given = {**policy.builtin(), "minmax": [small, big]}
    assert policy.violations(given, sizes(memory=64)) == []
    assert policy.violations(given, sizes(memory=5000)) == []
    assert len(policy.violations(given, sizes(memory=128))) == 1


def test_policy_limits_templates():
    given = {**policy.builtin(), "disk-templates": ["drbd"]}
    assert policy.violations(given, sizes()) == ["disk template file is not allowed"]


def test_policy_levels():
    filled = policy.filled(config(ipolicy={"vcpu-ratio": 8.0, "spindle-ratio": 1.0}), Uuid("g"))
    assert (filled["vcpu-ratio"], filled["spindle-ratio"]) == (2.0, 1.0)
