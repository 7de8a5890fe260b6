"""What an export needs beforehand."""

from __future__ import annotations

from logic.plan_env import PlanEnv, execute, make_config, make_instance, refused

from ganeti.ops.backup import OpBackupPrepare


def test_local_export_needs_nothing_and_a_remote_one_is_refused():
    env = PlanEnv(make_config(make_instance()))
    assert execute(OpBackupPrepare(instance_name="web1", mode="local"), env) is None
    assert refused(OpBackupPrepare(instance_name="web1", mode="remote"), env).code == "wrong_input"
    assert refused(OpBackupPrepare(instance_name="gone", mode="local"), env).code == "unknown_entity"
