"""Out-of-band helpers, storage units, hard reboots."""

import pytest

from ganeti import errors
from ganeti.calls.power import NodePowercycle, OobAsk, OobDo, StorageLoss, StorageLost, StorageModify, StorageRepair
from ganeti.host.clock import SystemClock
from ganeti.node import power
from ganeti.node.base import Context, NodeEnv
from ganeti.paths import Paths
from ganeti.testing.script import Script

TORN = "  xenvg|8188.00|7000.00|wz-pn-|4.00|2|1\n"


def env_of(root, *steps):
    """An empty root is a real node's."""
    tools = Script(*steps)
    where = Paths(str(root), "node1")
    return NodeEnv(paths=where, runner=tools, clock=SystemClock(), hypervisors={}, storage={}), tools


@pytest.fixture
def helper(tmp_path):
    path = tmp_path / "usr/bin/oob"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_helper_is_run_with_command_and_node(tmp_path, helper):
    env, tools = env_of(tmp_path, (f"{helper} power-status node2", "answer"), (f"{helper} power-on node2", ""))
    question = OobAsk(program="/usr/bin/oob", command="power-status", target="node2", timeout_s=5)
    assert power.ask(question, env, Context()) == "answer"
    power.do(
        OobDo(program="/usr/bin/oob", command="power-on", target="node2", timeout_s=5, request="r"), env, Context()
    )
    tools.assert_finished()


@pytest.mark.parametrize(
    "bad",
    [{"program": "/usr/bin/none"}, {"program": "oob"}, {"command": "power-off"}, {"target": "-x"}, {"target": "a b"}],
)
def test_other_programs_and_words_are_refused(tmp_path, helper, bad):
    env, _ = env_of(tmp_path)
    wanted = {"program": "/usr/bin/oob", "command": "health", "target": "node2", "timeout_s": 5} | bad
    with pytest.raises(errors.NodeFailure):
        power.ask(OobAsk(**wanted), env, Context())


def test_a_helper_that_everybody_could_have_changed_is_not_run(tmp_path, helper):
    env, tools = env_of(tmp_path)
    question = OobAsk(program="/usr/bin/oob", command="power-status", target="node2", timeout_s=5)
    for place, bad, fine in ((helper, 0o757, 0o755), (helper.parent, 0o777, 0o755)):
        place.chmod(bad)
        with pytest.raises(errors.NodeFailure, match="can be written by everybody"):
            power.ask(question, env, Context())
        place.chmod(fine)
    tools.assert_finished()
    assert OobAsk.needs_term


def test_virtual_node_is_not_rebooted(tmp_path):
    env, _ = env_of(tmp_path)
    with pytest.raises(errors.NodeFailure, match="virtual node"):
        power.powercycle(NodePowercycle(request="r"), env, Context())


def test_storage_units_are_changed_by_lvm():
    loss = (("vgs ...", TORN), ("lvs ... xenvg", ""))
    repaired = (*loss, ("vgreduce --yes --removemissing xenvg", ""))
    env, tools = env_of("", ("pvchange --allocatable n /dev/sdb", ""), *loss, *repaired)
    power.modify(StorageModify(name="/dev/sdb", allocatable=False, request="r"), env, Context())
    assert power.lost(StorageLost(name="xenvg"), env, Context()) == StorageLoss(missing=1)
    power.repair_group(StorageRepair(name="xenvg", request="r"), env, Context())
    tools.assert_finished()
    for name in ("sdb", "/dev/../etc/passwd", "/dev/x y"):
        with pytest.raises(errors.NodeFailure):
            power.modify(StorageModify(name=name, allocatable=True, request="r"), env, Context())
    with pytest.raises(errors.NodeFailure):
        power.repair_group(StorageRepair(name="-f", request="r"), env, Context())
    with pytest.raises(errors.NodeFailure):
        power.lost(StorageLost(name="a b"), env, Context())


def test_a_virtual_node_has_lost_no_physical_volume(tmp_path):
    env, tools = env_of(tmp_path)
    assert power.lost(StorageLost(name="xenvg"), env, Context()) == StorageLoss()
    power.repair_group(StorageRepair(name="xenvg", request="r"), env, Context())
    tools.assert_finished()
