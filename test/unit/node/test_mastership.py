"""The master daemon of a node, as other nodes may ask about it."""

import pytest

from ganeti import errors
from ganeti.calls.node import MasterPing, MasterStop
from ganeti.calls.store import StoreCheck
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.node.base import Context, NodeEnv
from ganeti.node.catalogue import HANDLERS
from ganeti.paths import Paths
from ganeti.rpc import term
from ganeti.rpc.term import TermKeeper


def _node(tmp_path, seen):
    where = Paths(str(tmp_path), "node1.example.com")
    (tmp_path / "var/lib/ganeti/node").mkdir(parents=True)
    term.store(where, seen)
    return NodeEnv(
        paths=where,
        runner=HostRunner(where),
        clock=SystemClock(),
        hypervisors={},
        storage={},
        services={"terms": TermKeeper(where)},
    )


def _ask(call, env):
    return HANDLERS[type(call)](call, env, Context())


def test_stop_of_a_daemon_that_does_not_run_says_so(tmp_path):
    assert _ask(MasterStop(seen=7), _node(tmp_path, 7)) is False


def test_stop_by_a_node_that_missed_a_mastership_is_refused(tmp_path):
    with pytest.raises(errors.StaleTermError, match="saw term 6, this node saw term 7"):
        _ask(MasterStop(seen=6), _node(tmp_path, 7))


def test_ping_without_a_daemon_is_false(tmp_path):
    assert _ask(MasterPing(), _node(tmp_path, 1)) is False


def test_check_of_no_copy_is_empty_and_tells_nothing_wrong(tmp_path):
    reply = _ask(StoreCheck(), _node(tmp_path, 1))
    assert (reply.serial, reply.content, reply.problem) == (0, "", "")
