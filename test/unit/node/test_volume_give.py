"""A volume that is given to another instance, and back when the operation is taken back."""

import pytest

from ganeti.calls.volume import VolumeGive
from ganeti.host.clock import SystemClock
from ganeti.host.run import HostRunner
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.node import volumes
from ganeti.node.base import Context, NodeEnv
from ganeti.paths import Paths
from ganeti.storage import registry
from ganeti.storage.base import NotOurs

DISK = Disk(uuid="d-1", template=DiskTemplate.PLAIN, size=1, logical_id=("xenvg", "d.disk0"))


@pytest.fixture
def env(tmp_path):
    where = Paths(str(tmp_path), "node1.example.com")
    tools = HostRunner(where)
    return NodeEnv(
        paths=where, runner=tools, clock=SystemClock(), hypervisors={}, storage=registry.drivers(where, tools)
    )


def give(env, owner, to, *, undoes=None):
    volumes.give(VolumeGive(disk=DISK, owner=owner, to=to, origin="web1", request="r", undoes=undoes), env, Context())


def test_it_is_given_and_given_back_twice(env):
    plain = env.storage[DiskTemplate.PLAIN]
    plain.create(DISK, "i-1")
    give(env, "i-1", "i-2")
    assert plain.info(DISK, "i-2").exists
    for _ in range(2):
        give(env, "i-2", "i-1", undoes="r")
    assert plain.info(DISK, "i-1").exists


def test_what_was_never_given_or_is_gone_needs_nothing_given_back(env):
    plain = env.storage[DiskTemplate.PLAIN]
    give(env, "i-2", "i-1", undoes="r")
    plain.create(DISK, "i-3")
    give(env, "i-2", "i-1", undoes="r")
    assert plain.info(DISK, "i-3").exists
    with pytest.raises(NotOurs):
        give(env, "i-2", "i-1")
