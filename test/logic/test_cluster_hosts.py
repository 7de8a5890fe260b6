"""Settings of the cluster that hosts must be able to fulfil: asked of them before the change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from logic.plan_env import PlanEnv, effects, execute, make_config, make_node, node_uuid, plan, refused, shape

from ganeti import errors
from ganeti.calls.master_ip import MasterIpDown, MasterIpUp
from ganeti.calls.node import NodeVerify, VerifyReply
from ganeti.model.objects import DiskTemplate
from ganeti.ops.cluster import OpClusterSetParams

PLAIN = {"enabled_disk_templates": (DiskTemplate.FILE, DiskTemplate.PLAIN), "volume_group_name": "xenvg"}
OF_VG = {"storage": {"plain": "volume group nope missing"}}
OF_DEVICE = {"missing_devices": ("nope0",)}
OF_ALLOCATOR = {"missing_allocators": ("nope",)}


def env_of(replies: Mapping[int, Any], **cluster: Any) -> PlanEnv:
    """`replies` by the node's number: fields of its answer, or the error that comes instead."""
    nodes = [make_node(1), make_node(2), make_node(3, master_capable=False, master_candidate=False)]
    env = PlanEnv(make_config(nodes=nodes, **cluster))

    def answer(node, call):
        told = replies.get(int(node[-1]), {})
        return told if isinstance(told, errors.RpcError) else VerifyReply(**told)

    env.rpc.answers[NodeVerify] = answer
    return env


@pytest.mark.parametrize(
    ("op", "replies", "says"),
    [
        ({"vg_name": "nope"}, {3: OF_VG}, "node node3.example.com: volume group nope missing"),
        ({"master_netdev": "nope0"}, {1: OF_DEVICE}, "node1.example.com has no network interface nope0"),
        ({"default_iallocator": "nope"}, {1: OF_ALLOCATOR}, "no allocator 'nope' on node node1.example.com"),
    ],
)
def test_what_the_hosts_lack_is_refused_unless_it_is_forced(op, replies, says):
    env = env_of(replies, **PLAIN)
    before = env.config.cluster
    err = refused(OpClusterSetParams(**op), env)
    assert (err.code, says in str(err), "--force" in err.hint) == ("environment_error", True, True), str(err)
    assert env.config.cluster == before
    env = env_of(replies, **PLAIN)
    execute(OpClusterSetParams(**op, force=True), env)
    assert any(says in text for text in env.warnings)
    assert env.config.cluster != before


@pytest.mark.parametrize(
    ("op", "replies", "says"),
    [
        ({"master_netdev": "nope0"}, {2: OF_DEVICE, 3: OF_DEVICE}, "node2.example.com has no network interface"),
        ({"default_iallocator": "nope"}, {2: OF_ALLOCATOR, 3: OF_ALLOCATOR}, "on node node2.example.com"),
        ({"vg_name": "nope"}, {2: errors.RpcError("node2.example.com", "timeout", "silent")}, "is not known whether"),
    ],
)
def test_what_a_node_may_need_one_day_is_warned_of(op, replies, says):
    env = env_of(replies, **PLAIN)
    execute(OpClusterSetParams(**op), env)
    assert [says in text for text in env.warnings] == [True], env.warnings


@pytest.mark.parametrize(
    "op",
    [
        {"default_iallocator": "builtin"},
        {"default_iallocator": ""},
        {"vg_name": "xenvg"},
        {"master_netdev": "lo"},
        {"candidate_pool_size": 5},
    ],
)
def test_hosts_are_not_asked_about_what_stays_or_needs_nothing(op):
    env = env_of({}, **PLAIN, master_netdev="lo", default_iallocator="hail")
    execute(OpClusterSetParams(**op), env)
    assert not [call for _, call in env.rpc.calls if isinstance(call, NodeVerify)]


def test_the_volume_group_stays_while_disks_may_lie_in_it():
    err = refused(OpClusterSetParams(vg_name=""), env_of({}, **PLAIN))
    assert "disks of plain" in str(err)
    env = env_of({}, **PLAIN)
    execute(OpClusterSetParams(vg_name="", enabled_disk_templates=("file",)), env)
    assert env.config.cluster.volume_group_name == ""


@pytest.mark.parametrize(
    "change", [{"master_netdev": "eth7"}, {"master_netmask": 24}, {"use_external_mip_script": True}]
)
def test_the_address_moves_with_what_carries_it(change):
    env = env_of({}, master_netdev="lo")
    old = env.config.cluster
    steps = plan(OpClusterSetParams(**change), env)
    assert shape(steps) == ["master_ip_down", "commit put", "master_ip_up"]
    down, up = (effect.call for effect in effects(steps))
    assert isinstance(down, MasterIpDown) and isinstance(up, MasterIpUp)
    new = msgspec.structs.replace(old, **change)
    assert (down.address.netdev, down.address.netmask, down.address.by_script) == (
        old.master_netdev, old.master_netmask, old.use_external_mip_script,
    )  # fmt: skip
    assert (up.address.netdev, up.address.netmask, up.address.by_script) == (
        new.master_netdev, new.master_netmask, new.use_external_mip_script,
    )  # fmt: skip
    assert effects(steps)[0].undo == MasterIpUp(
        address=down.address, request=effects(steps)[0].undo.request, undoes=down.request
    )
    assert {effect.node for effect in effects(steps)} == {node_uuid(1)}
