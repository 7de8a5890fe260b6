"""The snapshot's indexes: the same whether objects came one by one, all at once, or went again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti import errors
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Delete, Instance, Nic, Put
from ganeti.model.types import Uuid

CLUSTER = Cluster(
    uuid=Uuid("c"), name="cluster.example.com", master_node=Uuid("n0"), master_ip="192.0.2.1", master_netdev="lo"
)
INDEXES = ("instance_names", "primaries", "secondaries", "macs", "ports")


def instance(number: int, node: int, mac: int, port: int | None) -> Instance:
    return Instance(
        uuid=Uuid(f"i{number}"),
        name=f"Inst{number}.example.com",
        primary_node=Uuid(f"n{node}"),
        os="noop",
        hypervisor="fake",
        nics=(Nic(uuid=Uuid(f"nic{number}"), mac=f"aa:00:00:00:00:{mac:02x}"),),
        network_port=port,
    )


PUTS = st.builds(
    lambda *values: Put(instance(*values)),
    st.integers(0, 4), st.integers(0, 2), st.integers(0, 3), st.none() | st.integers(11000, 11002),
)  # fmt: skip
CHANGES = PUTS | st.builds(lambda number: Delete("instance", Uuid(f"i{number}")), st.integers(0, 4))


@given(st.lists(st.lists(CHANGES, max_size=6), max_size=5))
def test_indexes_when_changes_come_in_any_portions_then_they_are_those_of_a_load(portions):
    config = Config.load([CLUSTER])
    for portion in portions:
        config = config.apply(portion)
    loaded = Config.load(config.objects())
    for name in INDEXES:
        assert getattr(config, name) == getattr(loaded, name), name
    assert all(config.primaries.values())
    for found in config.instances.values():
        assert found.uuid in config.primaries[found.primary_node]


def test_indexes_when_a_change_does_not_touch_them_then_they_are_the_same_objects():
    before = Config.load([CLUSTER, instance(1, 0, 0, 11000)])
    after = before.apply([Put(msgspec.structs.replace(before.instance("inst1"), beparams={"vcpus": 2}))])
    assert after.instances is not before.instances
    for name in INDEXES:
        assert getattr(after, name) is getattr(before, name), name


def test_apply_when_a_name_is_taken_then_it_is_refused():
    config = Config.load([CLUSTER, instance(1, 0, 0, None)])
    double = msgspec.structs.replace(instance(2, 0, 1, None), name="inst1.EXAMPLE.com")
    with pytest.raises(errors.PrereqError, match="already"):
        config.apply([Put(double)])
