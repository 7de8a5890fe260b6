"""Power, health, hard reboots and storage units of nodes; the test operation of the queue."""

from __future__ import annotations

import msgspec
import pytest
from logic.plan_env import (
    PlanEnv,
    execute,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    plan,
    refused,
    shape,
    unit_of,
)

from ganeti import errors
from ganeti.calls.power import NodePowercycle, OobAsk, OobDo, StorageModify
from ganeti.logic.node_power import answer
from ganeti.ops.power import OpNodeModifyStorage, OpNodePowercycle, OpOobCommand, OpRepairNodeStorage
from ganeti.ops.test import OpTestJqueue

OOB = {"ndparams": {"oob_program": "/usr/bin/oob"}}


def env_of() -> PlanEnv:
    """The third node has no helper; the second one is offline."""
    nodes = [make_node(1, **OOB), make_node(2, offline=True, master_candidate=False, **OOB), make_node(3)]
    env = PlanEnv(make_config(nodes=nodes))
    env.rpc.answers[OobAsk] = '{"powered": true}'
    return env


def test_status_is_asked_on_the_master_for_those_that_have_a_helper():
    env = env_of()
    assert execute(OpOobCommand(command="power-status"), env) == [
        [[0, "node1.example.com"], [0, {"powered": True}]],
        [[0, "node2.example.com"], [0, {"powered": True}]],
        [[0, "node3.example.com"], [3, None]],
    ]
    assert [(node, call.target) for node, call in env.rpc.calls] == [
        (node_uuid(1), "node1.example.com"),
        (node_uuid(1), "node2.example.com"),
    ]


def test_power_is_recorded_and_one_failure_does_not_stop_the_others():
    env = env_of()
    op = OpOobCommand(command="power-off", node_names=("node2",))
    assert execute(op, env) == [[[0, "node2.example.com"], [0, None]]]
    assert env.config.node("node2").powered is False
    assert shape(plan(op, env)) == ["oob_do"]
    env.rpc.fail(OobDo)
    op = OpOobCommand(command="power-on", power_delay=3)
    assert [row[1][0] for row in execute(op, env)] == [2, 2, 3]
    assert env.config.node("node2").powered is False
    assert env.slept == [3, 3]


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (OpOobCommand(command="power-off", node_names=("node1",), ignore_status=True), "wrong_input"),
        (OpOobCommand(command="power-cycle"), "wrong_input"),
        (OpOobCommand(command="power-off", node_names=("node3",)), "wrong_state"),
        (OpNodePowercycle(node_name="node1"), "wrong_input"),
        (OpNodeModifyStorage(node_name="node1", storage_type="lvm-vg", changes={}), "wrong_input"),
        (OpNodeModifyStorage(node_name="node1", storage_type="lvm-pv", changes={"size": 1}), "wrong_input"),
        (OpNodeModifyStorage(node_name="node2", storage_type="lvm-pv", changes={"allocatable": True}), "wrong_state"),
        (OpRepairNodeStorage(node_name="node1", storage_type="lvm-pv"), "wrong_input"),
    ],
)
def test_power_is_refused(op, code):
    assert refused(op, env_of()).code == code


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("power-status", "yes"),
        ("power-status", "{}"),
        ("power-status", '{"powered": 1}'),
        ("health", "{}"),
        ("health", '[["fan", "GOOD"]]'),
    ],
)
def test_answers_of_another_form_are_errors(command, text):
    with pytest.raises(errors.ExecError, match="answer"):
        answer(command, text)
    assert answer("health", '[["fan", "OK"]]') == [["fan", "OK"]]


def test_reboot_asks_also_a_node_that_is_marked_offline():
    env = env_of()
    assert unit_of(OpNodePowercycle(node_name="node2")).locks(env.config).wanted.keys().__len__() == 1  # the cluster's
    env.config = msgspec.structs.replace(env.config, nodes=make_config(nodes=[make_node(1), make_node(2)]).nodes)
    env.rpc.answers[NodePowercycle] = "rebooting in 5 seconds"
    assert execute(OpNodePowercycle(node_name="node2"), env) == "rebooting in 5 seconds"
    env.rpc.fail(NodePowercycle)
    with pytest.raises(errors.ExecError, match="failed to schedule"):
        execute(OpNodePowercycle(node_name="node2"), env)


def test_storage_units():
    env = PlanEnv(make_config(make_instance()))
    execute(
        OpNodeModifyStorage(node_name="node1", storage_type="lvm-pv", name="/dev/sdb", changes={"allocatable": False}),
        env,
    )
    ((_, call),) = env.rpc.calls
    assert (type(call), call.name, call.allocatable) == (StorageModify, "/dev/sdb", False)


def test_operation_for_tests_of_the_queue():
    env = env_of()
    op = OpTestJqueue(notify_waitlock=True, notify_exec=True, log_messages=("a", "b"))
    assert execute(op, env) is True
    assert env.log == ["jqueue-test: waitlock", "jqueue-test: exec", "TESTMSG=a", "TESTMSG=b"]
    with pytest.raises(errors.ExecError):
        execute(OpTestJqueue(fail=True), env)
