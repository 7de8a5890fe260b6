"""Reinstall and console: what they refuse, their steps, their results."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from logic.plan_env import (
    BUSYBOX,
    PlanEnv,
    effects,
    execute,
    guest_of,
    make_config,
    make_instance,
    make_node,
    plan,
    refused,
    shape,
    unit_of,
    up,
)

from ganeti import errors
from ganeti.calls.instance import Console, GuestState, InstanceConsole
from ganeti.calls.os import OsDiagnose
from ganeti.calls.volume import VolumeClose
from ganeti.logic.base import RESOLVERS
from ganeti.model.locks import Level
from ganeti.ops.instance import OpInstanceConsole, OpInstanceReinstall

NAME = "web1.example.com"
OTHER = msgspec.structs.replace(
    BUSYBOX, name="debian", variants=("min", "full"), parameters=(("mirror", "where from"),)
)


def down_env(**changes: object) -> PlanEnv:
    env = PlanEnv(make_config(make_instance(**changes)))
    env.rpc.answers[OsDiagnose] = (BUSYBOX, OTHER)
    return env


def reinstall(**more: object) -> OpInstanceReinstall:
    return OpInstanceReinstall(instance_name=NAME, **more)


def test_steps_keep_the_os():
    steps = plan(reinstall(), down_env())
    assert shape(steps) == ["record instance-reinstall", "os_create", "parallel volume_close"]
    install = effects(steps)[0]
    assert install.call.reinstall
    assert install.undo.undoes == install.call.request


def test_another_os_is_recorded_before_it_is_installed():
    env = down_env()
    steps = plan(reinstall(os_type="debian+min", osparams={"mirror": "here"}), env)
    assert shape(steps) == ["commit put", "record instance-reinstall", "os_create", "parallel volume_close"]
    spec = effects(steps)[0].call.spec
    assert (spec.instance.os, spec.osparams) == ("debian+min", {"mirror": "here"})
    execute(reinstall(os_type="debian+min"), env)
    found = env.config.instance(NAME)
    assert (found.os, found.osparams) == ("debian+min", {})


@pytest.mark.parametrize(
    ("op", "changes", "code"),
    [
        (reinstall(), {"disks": ()}, "wrong_input"),
        (reinstall(), {"os": ""}, "wrong_input"),
        (reinstall(), {"blocked": "half moved"}, "wrong_state"),
        (reinstall(os_type="none"), {}, "unknown_entity"),
        (reinstall(os_type="debian"), {}, "wrong_input"),
        (reinstall(os_type="debian+other"), {}, "wrong_input"),
        (reinstall(os_type="debian+min", osparams={"x": "1"}), {}, "wrong_input"),
    ],
)
def test_refused(op, changes, code):
    assert refused(op, down_env(**changes)).code == code


def test_variant_that_is_not_listed_can_be_forced():
    assert plan(reinstall(os_type="debian+other", force_variant=True), down_env())


def test_refused_while_it_is_up_or_runs():
    env = PlanEnv(make_config(up(make_instance())))
    assert "gnt-instance stop" in refused(reinstall(), env).hint
    env = down_env()
    env.rpc.running[env.config.instance(NAME).uuid] = guest_of(env.config.instance(NAME))
    assert "is running" in refused(reinstall(), env).message


def test_refused_when_the_node_is_offline():
    offline = [make_node(1, offline=True, master_candidate=False), make_node(2)]
    assert refused(reinstall(), PlanEnv(make_config(make_instance(), nodes=offline))).code == "wrong_state"


def test_hooks_run_for_the_new_os():
    env = down_env()
    unit = unit_of(reinstall(os_type="debian+min"))
    found = unit.hooks(asyncio.run(unit.check(env)), env.config)
    assert found.environment["INSTANCE_OS_TYPE"] == "debian+min"


def resolve(env: PlanEnv) -> list[str]:
    arguments = {"instance": env.config.instance(NAME).uuid}
    return list(asyncio.run(RESOLVERS["instance-reinstall"](arguments, env)))


def test_interrupted_closes_the_disks_and_warns_of_them():
    env = down_env()
    (told,) = resolve(env)
    assert "half written" in told
    assert [type(call) for _, call in env.rpc.calls] == [VolumeClose]
    env.rpc.fail(VolumeClose)
    assert "could not be closed" in resolve(env)[1]


def test_interrupted_when_the_instance_is_gone():
    assert list(asyncio.run(RESOLVERS["instance-reinstall"]({"instance": "x"}, PlanEnv(make_config()))))


def running_env(**changes: object) -> PlanEnv:
    env = PlanEnv(make_config(up(make_instance())))
    instance = env.config.instance(NAME)
    env.rpc.running[instance.uuid] = msgspec.structs.replace(guest_of(instance), **changes)
    return env


def test_console_result_has_the_form_of_the_list_field():
    env = running_env()
    env.rpc.answers[InstanceConsole] = Console(kind="ssh", host="node1.example.com", command=("client", NAME))
    assert execute(OpInstanceConsole(instance_name="web1"), env) == {
        "instance": NAME,
        "kind": "ssh",
        "host": "node1.example.com",
        "port": None,
        "user": "root",
        "command": ["client", NAME],
        "display": None,
        "message": None,
    }
    locks = unit_of(OpInstanceConsole(instance_name="web1")).locks(env.config).wanted
    assert [exclusive for key, exclusive in locks.items() if key.level is Level.INSTANCE] == [False]


def test_console_of_one_that_does_not_run_is_an_execution_error():
    env = down_env()
    with pytest.raises(errors.ExecError, match="not running"):
        execute(OpInstanceConsole(instance_name="web1"), env)
    with pytest.raises(errors.ExecError, match="not running"):
        execute(OpInstanceConsole(instance_name="web1"), running_env(state=GuestState.SHUTDOWN))


def test_console_on_an_offline_node_is_refused():
    offline = [make_node(1, offline=True, master_candidate=False), make_node(2)]
    env = PlanEnv(make_config(make_instance(), nodes=offline))
    assert refused(OpInstanceConsole(instance_name="web1"), env).code == "wrong_state"
