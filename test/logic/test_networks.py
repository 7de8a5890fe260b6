"""Networks, and the addresses that NICs get of them."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from logic.plan_env import (
    GROUP,
    PlanEnv,
    check,
    execute,
    file_disk,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    plan,
    refused,
    unit_of,
)

from ganeti import errors
from ganeti.logic import guests, hooks, networking
from ganeti.logic.devices import NicSpec
from ganeti.model import pool
from ganeti.model.config import Config
from ganeti.model.jobs import Status
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import DiskTemplate, Group, Network, Nic, Put
from ganeti.model.types import Uuid
from ganeti.ops.instance import OpInstanceCreate, OpInstanceFailover, OpInstanceRemove
from ganeti.ops.network import (
    OpNetworkAdd,
    OpNetworkConnect,
    OpNetworkDisconnect,
    OpNetworkRemove,
    OpNetworkRename,
    OpNetworkSetParams,
)
from ganeti.testing.cluster import SimulatedCluster

LAN = Network(
    uuid=Uuid("00000000-0000-4000-8000-0000000000cc"),
    name="lan",
    network="198.51.100.0/29",
    gateway="198.51.100.1",
    mac_prefix="aa:bb:cc",
    reserved=("198.51.100.2",),
    tags=("x",),
)
LINK = {"mode": "bridged", "link": "br7", "vlan": ""}
OTHER = Group(uuid=Uuid("00000000-0000-4000-8000-0000000000bb"), name="rack2")


def ip(last: int) -> str:
    return f"198.51.100.{last}"


def connected(config: Config | None = None, **changes) -> Config:
    known = config or make_config()
    group = msgspec.structs.replace(known.groups[GROUP], networks={LAN.uuid: LINK})
    return known.apply([Put(msgspec.structs.replace(LAN, **changes)), Put(group), Put(OTHER)])


def on_lan(name: str, address: str | None, **changes):
    nic = Nic(uuid=Uuid(f"{name}-n"), mac=f"aa:bb:cc:00:00:{len(name):02x}", ip=address, network=LAN.uuid)
    return make_instance(name, nics=(nic,), **changes)


def create(name: str = "new.example.com", **nic: object) -> OpInstanceCreate:
    return OpInstanceCreate(
        instance_name=name, disk_template=DiskTemplate.DISKLESS, no_install=True, pnode="node1", nics=(nic,)
    )


def created_nic(env: PlanEnv, op: OpInstanceCreate) -> Nic:
    return check(op, env).instance.nics[0]


# The network itself


def test_add_reserves_the_addresses_of_nodes_and_cluster():
    env = PlanEnv(make_config())
    op = OpNetworkAdd(
        network_name="lan",
        network="192.0.2.0/24",
        gateway="192.0.2.254",
        network6="2001:db8::/64",
        gateway6="2001:db8::1",
        mac_prefix="AA:BB:CC",
        add_reserved_ips=("192.0.2.9", "192.0.2.0"),
        tags=("b", "a"),
    )
    assert unit_of(op).locks(env.config).wanted[LockKey(Level.NODE, ALL)] is False
    execute(op, env)
    found = env.config.network("lan")
    assert found.reserved == ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.9", "192.0.2.100")
    assert (found.gateway, found.gateway6, found.mac_prefix) == ("192.0.2.254", "2001:db8::1", "aa:bb:cc")
    assert unit_of(op).hooks(found, env.config).environment == {
        "OP_TARGET": "lan",
        "NETWORK_NAME": "lan",
        "NETWORK_SUBNET": "192.0.2.0/24",
        "NETWORK_GATEWAY": "192.0.2.254",
        "NETWORK_SUBNET6": "2001:db8::/64",
        "NETWORK_GATEWAY6": "2001:db8::1",
        "NETWORK_MAC_PREFIX": "aa:bb:cc",
        "NETWORK_TAGS": "a b",
    }


def test_add_without_the_check_reserves_only_what_was_asked_for():
    env = PlanEnv(make_config())
    execute(OpNetworkAdd(network_name="lan", network="192.0.2.0/24", conflicts_check=False), env)
    assert env.config.network("lan").reserved == ()


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"network_name": "LAN"}, "already_exists", "LAN"),
        ({"network_name": "a b"}, "wrong_input", "cannot be the name"),
        ({"network": "10.0.0.1/24"}, "wrong_input", "host bits"),
        ({"network": "x"}, "wrong_input", "no IPv4 subnet"),
        ({"network": "10.0.0.0/31"}, "wrong_input", "too small"),
        ({"network": "10.0.0.0/8"}, "wrong_input", "too large"),
        ({"gateway": "10.0.1.1"}, "wrong_input", "not in 10.0.0.0/24"),
        ({"gateway": "nobody"}, "wrong_input", "no IP address"),
        ({"gateway": "2001:db8::1"}, "wrong_input", "no IPv4 address"),
        ({"gateway6": "2001:db8::1"}, "wrong_input", "needs an IPv6 subnet"),
        ({"network6": "10.0.0.0/24"}, "wrong_input", "no IPv6 subnet"),
        ({"mac_prefix": "ab:00:00"}, "wrong_input", "MAC prefix"),
        ({"add_reserved_ips": ("10.1.0.1",)}, "wrong_input", "not in"),
        ({"tags": ("a b",)}, "wrong_input", "tag"),
    ],
)
def test_add_is_refused(change, code, text):
    env = PlanEnv(connected())
    if "mac_prefix" in change:
        change = {"mac_prefix": "ab:00"}
    err = refused(OpNetworkAdd(**{"network_name": "new", "network": "10.0.0.0/24", **change}), env)
    assert (err.code, text in str(err)) == (code, True), str(err)


def test_modify_takes_addresses_in_and_out():
    env = PlanEnv(connected(make_config(on_lan("web", ip(4)))))
    op = OpNetworkSetParams(
        network_name="lan", gateway="none", add_reserved_ips=(ip(5), ip(2)), remove_reserved_ips=(ip(3),)
    )
    execute(op, env)
    assert (env.config.network("lan").gateway, env.config.network("lan").reserved) == ("", (ip(2), ip(5)))
    assert len(env.warnings) == 2
    for change in ({"gateway": ip(4)}, {"add_reserved_ips": (ip(4),)}):
        err = refused(OpNetworkSetParams(network_name="lan", **change), env)
        assert (err.code, "belongs to instance web" in str(err)) == ("resource_not_unique", True)
    assert refused(OpNetworkSetParams(network_name="lan"), env).code == "wrong_input"
    both = OpNetworkSetParams(network_name="lan", add_reserved_ips=(ip(3),), remove_reserved_ips=(ip(3),))
    assert "both" in str(refused(both, env))


def test_modify_keeps_the_ipv6_subnet_of_addresses_in_use():
    env = PlanEnv(connected(make_config(on_lan("web", "2001:db8::5")), network6="2001:db8::/64"))
    assert refused(OpNetworkSetParams(network_name="lan", network6="none"), env).code == "wrong_state"
    execute(OpNetworkSetParams(network_name="lan", network6="2001:db8::/32", gateway6="2001:db8::1"), env)
    assert env.config.network("lan").gateway6 == "2001:db8::1"
    assert refused(OpNetworkSetParams(network_name="lan", network6="2001:db9::/64"), env).code == "wrong_input"


def test_rename_and_remove():
    env = PlanEnv(connected())
    op = OpNetworkRename(network_name="lan", new_name="wan")
    assert unit_of(op).hooks(check(op, env), env.config).pre == (node_uuid(1), node_uuid(2), node_uuid(3))
    assert execute(op, env) == "wan"
    assert "node group default" in str(refused(OpNetworkRemove(network_name="wan"), env))
    execute(OpNetworkDisconnect(network_name="wan", group_name="default"), env)
    execute(OpNetworkRemove(network_name="wan"), env)
    assert not env.config.networks


# Connections


def test_connect_says_how_nics_are_attached_in_the_group():
    env = PlanEnv(connected())
    op = OpNetworkConnect(
        network_name="lan", group_name="rack2", network_mode="openvswitch", network_link="ovs", network_vlan=".7"
    )
    hooked = unit_of(op).hooks(check(op, env), env.config)
    assert hooked.environment["GROUP_NETWORK_MODE"] == "openvswitch"
    assert (hooked.environment["GROUP_NETWORK_VLAN"], hooked.pre) == (".7", ())
    execute(op, env)
    assert env.config.group("rack2").networks == {LAN.uuid: {"mode": "openvswitch", "link": "ovs", "vlan": ".7"}}
    assert plan(op, env) == []
    assert "already" in env.warnings[0]


def test_connect_finds_instances_that_have_such_addresses():
    stray = make_instance(nics=(Nic(uuid=Uuid("n"), mac="aa:00:00:00:00:01", ip=ip(4)),))
    env = PlanEnv(make_config(stray).apply([Put(LAN)]))
    op = OpNetworkConnect(network_name="lan", group_name="default", network_mode="bridged", network_link="br0")
    assert f"web1.example.com ({ip(4)})" in str(refused(op, env))
    check(msgspec.structs.replace(op, conflicts_check=False), env)
    bad = msgspec.structs.replace(op, conflicts_check=False, network_vlan="7")
    assert refused(bad, env).code == "wrong_input"


def test_disconnect_of_a_network_in_use_is_refused():
    env = PlanEnv(connected(make_config(on_lan("web", ip(4)))))
    op = OpNetworkDisconnect(network_name="lan", group_name="default")
    assert unit_of(op).locks(env.config).wanted[LockKey(Level.NETWORK, LAN.uuid)] is True
    assert "by web" in str(refused(op, env))
    assert plan(msgspec.structs.replace(op, group_name="rack2"), env) == []


# NICs


def test_nic_gets_the_lowest_free_address_and_the_networks_mac_prefix():
    env = PlanEnv(connected(make_config(on_lan("web", ip(3)))))
    op = create(network="lan", ip="pool")
    assert unit_of(op).locks(env.config).wanted[LockKey(Level.NETWORK, LAN.uuid)] is False
    nic = created_nic(env, op)
    assert (nic.ip, nic.network, nic.params, nic.mac[:8]) == (ip(4), LAN.uuid, {}, "aa:bb:cc")
    instance = check(op, env).instance
    (complete,) = guests.nicparams(env.config, instance)
    assert complete["link"] == "br7"


@pytest.mark.parametrize(
    ("nic", "code", "text"),
    [
        ({"network": "wan"}, "unknown_entity", "wan"),
        ({"network": "lan", "link": "br0"}, "wrong_input", "decides about link"),
        ({"network": "lan", "ip": "192.0.2.9"}, "wrong_input", "not in network lan"),
        ({"network": "lan", "ip": ip(0)}, "resource_not_unique", "network itself"),
        ({"network": "lan", "ip": ip(1)}, "resource_not_unique", "gateway"),
        ({"network": "lan", "ip": ip(2)}, "resource_not_unique", "reserved"),
        ({"network": "lan", "ip": ip(3)}, "resource_not_unique", "belongs to web"),
        ({"ip": "pool"}, "wrong_input", "needs a network"),
        ({"ip": ip(4)}, "wrong_input", "address of network lan"),
    ],
)
def test_nic_is_refused(nic, code, text):
    err = refused(create(**nic), PlanEnv(connected(make_config(on_lan("web", ip(3))))))
    assert (err.code, text in str(err)) == (code, True), str(err)


def test_without_the_check_reserved_addresses_can_be_had_but_none_twice():
    env = PlanEnv(connected(make_config(on_lan("web", ip(3)))))
    op = msgspec.structs.replace(create(network="lan", ip=ip(2)), conflicts_check=False)
    assert created_nic(env, op).ip == ip(2)
    outside = msgspec.structs.replace(create(ip=ip(4)), conflicts_check=False)
    assert created_nic(env, outside).ip == ip(4)
    twice = msgspec.structs.replace(create(network="lan", ip=ip(3)), conflicts_check=False)
    assert "belongs to web" in str(refused(twice, env))


def test_nic_needs_the_network_in_the_nodes_group():
    nodes = [make_node(1, group=OTHER.uuid), make_node(2)]
    known = make_config(nodes=nodes)
    env = PlanEnv(connected(known))
    assert "not connected to node group rack2" in str(refused(create(network="lan", ip="pool"), env))
    assert networking.without(env.config, [NicSpec(network=LAN.uuid)]) == {node_uuid(1)}
    nowhere = env.config.apply([Put(msgspec.structs.replace(env.config.groups[GROUP], networks={}))])
    with pytest.raises(errors.PrereqError, match="no node group"):
        networking.without(nowhere, [NicSpec(network=LAN.uuid)])


def test_a_move_needs_the_network_there():
    nodes = [make_node(1), make_node(2, group=OTHER.uuid)]
    shared = msgspec.structs.replace(file_disk("web"), template=DiskTemplate.SHAREDFILE)
    instance = on_lan("web", ip(3), disks=(shared,))
    env = PlanEnv(connected(make_config(instance, nodes=nodes)))
    with pytest.raises(errors.PrereqError, match="not connected to node group rack2"):
        networking.check_move(env.config, instance, env.config.node("node2"))
    networking.check_move(env.config, instance, env.config.node("node1"))
    op = OpInstanceFailover(instance_name="web", target_node="node2")
    assert "not connected" in str(refused(op, env))


def test_hooks_are_told_of_the_network():
    instance = on_lan("web", ip(3))
    config = connected(make_config(instance))
    found = hooks.instance_environment(config, instance)
    assert {key.removeprefix("INSTANCE_NIC0_"): value for key, value in found.items() if "NIC0" in key} == {
        "IP": ip(3), "MAC": "aa:bb:cc:00:00:03", "MODE": "bridged", "LINK": "br7", "BRIDGE": "br7", "VLAN": "",
        "UUID": "web-n", "NETWORK_NAME": "lan", "NETWORK_UUID": LAN.uuid, "NETWORK_SUBNET": LAN.network,
        "NETWORK_GATEWAY": LAN.gateway, "NETWORK_MAC_PREFIX": "aa:bb:cc", "NETWORK_TAGS": "x",
    }  # fmt: skip
    assert guests.guest_spec(config, instance).networks == (LAN,)


def test_addresses_are_counted_once():
    config = connected(make_config(on_lan("web", ip(3)), on_lan("db", ip(4))))
    lan = config.network("lan")
    assert pool.used(lan, [ip(3), ip(4)]) == {0, 1, 2, 3, 4, 7}
    assert pool.first_free(config, lan, {ip(5)}) == ip(6)
    assert pool.first_free(config, lan, {ip(5), ip(6)}) is None
    gone = config.apply([Put(on_lan("db", None))])
    assert pool.first_free(gone, lan, ()) == ip(4)


def test_many_creations_at_once_get_different_addresses_and_removal_frees_them(tmp_path):
    async def story() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        await cluster.run(OpNetworkAdd(network_name="lan", network=LAN.network))
        connect = OpNetworkConnect(network_name="lan", group_name="default", network_mode="bridged", network_link="br0")
        await cluster.run(connect)
        names = [f"i{number}.example.com" for number in range(8)]
        jobs = [
            await cluster.submit(
                OpInstanceCreate(
                    instance_name=name,
                    disk_template=DiskTemplate.DISKLESS,
                    os_type="test-os",
                    pnode=f"node{number % 3 + 1}",
                    nics=({"network": "lan", "ip": "pool"},),
                    hypervisor="fake",
                    beparams={"memory": 16},
                    ignore_ipolicy=True,
                )
            )
            for number, name in enumerate(names)
        ]
        ended = [await cluster.wait(job) for job in jobs]
        made = [job.status is Status.SUCCESS for job in ended]
        held = [instance.nics[0].ip for instance in cluster.config.instances.values()]
        assert sorted(held) == [ip(n) for n in range(1, 7)]
        assert made.count(False) == 2
        why = [str(job.ops[0].result) for job in ended if job.status is not Status.SUCCESS]
        assert all("all addresses of network lan" in text for text in why), why
        first = next(name for name, is_made in zip(names, made, strict=True) if is_made)
        freed = cluster.config.instance(first).nics[0].ip
        await cluster.run(OpInstanceRemove(instance_name=first))
        again = next(name for name, is_made in zip(names, made, strict=True) if not is_made)
        job = await cluster.run(msgspec.structs.replace(create(again, network="lan", ip="pool"), ignore_ipolicy=True))
        assert job.status is Status.SUCCESS, job.ops[0].result
        assert cluster.config.instance(again).nics[0].ip == freed

    asyncio.run(story())
