"""The cluster's name and its own address."""

from __future__ import annotations

import pytest
from logic.plan_env import PlanEnv, execute, make_config, node_uuid, plan, refused, shape, unit_of

from ganeti.calls.master_ip import MasterIpDown, MasterIpUp
from ganeti.calls.node import AddressProbe
from ganeti.model.locks import BIG, Level, LockKey
from ganeti.ops.upkeep import OpClusterActivateMasterIp, OpClusterDeactivateMasterIp, OpClusterRename

RENAME = OpClusterRename(name="New.example.com")


def env_of(ip: str = "192.0.2.200", *, is_taken: bool = False) -> PlanEnv:
    env = PlanEnv(make_config())
    env.addresses = {
        "new.example.com": ("new.example.com", ip),
        "cluster.example.com": ("cluster.example.com", "192.0.2.100"),
    }
    env.rpc.answers[AddressProbe] = is_taken
    return env


def test_address_goes_up_and_down_on_the_master():
    for op, kind in ((OpClusterActivateMasterIp(), MasterIpUp), (OpClusterDeactivateMasterIp(), MasterIpDown)):
        env = env_of()
        execute(op, env)
        ((node, call),) = env.rpc.calls
        assert (node, type(call), call.address.ip) == (node_uuid(1), kind, "192.0.2.100")
        assert unit_of(op).locks(env.config).wanted[LockKey(Level.CLUSTER, BIG)] is True
        assert unit_of(op).hooks(call.address, env.config).environment["MASTER_IP"] == "192.0.2.100"


def test_rename_moves_the_address_between_down_and_up():
    env = env_of()
    steps = plan(RENAME, env)
    assert shape(steps) == ["master_ip_down", "commit put", "master_ip_up"]
    assert isinstance(steps[0].undo, MasterIpUp)
    assert steps[0].undo.address.ip == "192.0.2.100"
    assert steps[0].undo.undoes == steps[0].call.request
    assert execute(RENAME, env) == "new.example.com"
    assert (env.config.cluster.name, env.config.cluster.master_ip) == ("new.example.com", "192.0.2.200")


def test_rename_with_the_same_address_asks_nobody():
    env = env_of(ip="192.0.2.100")
    execute(RENAME, env)
    assert not [call for _, call in env.rpc.calls if isinstance(call, AddressProbe)]


@pytest.mark.parametrize(
    ("op", "env", "code"),
    [
        (OpClusterRename(name="cluster.example.com"), env_of(), "wrong_input"),
        (OpClusterRename(name="bad name"), env_of(), "wrong_input"),
        (OpClusterRename(name="unknown.example.com"), env_of(), "resolver_error"),
        (RENAME, env_of(is_taken=True), "resource_not_unique"),
        (RENAME, env_of(ip="2001:db8::1"), "wrong_input"),
    ],
)
def test_rename_is_refused(op, env, code):
    assert refused(op, env).code == code
