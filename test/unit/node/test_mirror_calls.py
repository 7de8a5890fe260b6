"""What a node answers about mirrors as far as no driver is needed, and what is filled in on the way to it."""

import msgspec
import pytest

from ganeti import errors
from ganeti.calls.base import encode
from ganeti.calls.export import Contents, FromDisk
from ganeti.calls.instance import GuestSpec
from ganeti.calls.mirror import (
    Half,
    MirrorAssemble,
    MirrorAttach,
    MirrorCatchUp,
    MirrorDemote,
    MirrorDetach,
    MirrorDisconnect,
    MirrorGenerations,
    MirrorPause,
    MirrorPromote,
    MirrorResize,
    MirrorRoom,
    MirrorState,
    MirrorStatus,
    MirrorSync,
    MirrorTwoPrimaries,
    MirrorWhole,
)
from ganeti.calls.volume import VolumeRemove
from ganeti.host.run import HostRunner
from ganeti.master import links
from ganeti.model import disks
from ganeti.model.config import Config
from ganeti.model.generations import Generation
from ganeti.model.objects import Cluster, Disk, DiskTemplate, Group, Instance, Node
from ganeti.node.base import HANDLERS, Context, NodeEnv
from ganeti.node.mirrors import lacks, summary
from ganeti.paths import Paths
from ganeti.storage import registry

GOOD = MirrorStatus(
    connection="Connected", role="Primary", peer_role="Secondary", disk="UpToDate", peer_disk="UpToDate"
)
SYNCING = msgspec.structs.replace(GOOD, connection="SyncSource", peer_disk="Inconsistent", percent=41.5, seconds=120)
FILE = Disk(uuid="d", template=DiskTemplate.FILE, size=1, logical_id=("loop", "/srv/ganeti/file-storage/d"))
MIRROR = Disk(
    uuid="m",
    template=DiskTemplate.DRBD,
    size=8,
    logical_id=("a", "b", 11000, 3, 5, "secret"),
    children=(
        Disk(uuid="m-data", template=DiskTemplate.PLAIN, size=8, logical_id=("vg", "m_data")),
        Disk(uuid="m-meta", template=DiskTemplate.PLAIN, size=128, logical_id=("vg", "m_meta")),
    ),
)


@pytest.fixture
def env(tmp_path):
    paths = Paths(str(tmp_path), "node1.example.com")
    runner = HostRunner(paths)
    return NodeEnv(paths=paths, runner=runner, clock=None, hypervisors={}, storage=registry.drivers(paths, runner))


@pytest.mark.parametrize(
    "call",
    [
        MirrorPromote(disk=FILE, owner="i", request="r"),
        MirrorDemote(disk=FILE, owner="i", request="r"),
        MirrorTwoPrimaries(disk=FILE, owner="i", allowed=True, request="r"),
        MirrorDisconnect(disk=FILE, owner="i", request="r"),
        MirrorDetach(disk=FILE, owner="i", request="r"),
        MirrorAttach(disk=FILE, owner="i", request="r"),
        MirrorGenerations(disks=(FILE,), owner="i"),
        MirrorRoom(disk=FILE, owner="i", size=2),
        MirrorResize(disk=FILE, owner="i", size=2, request="r"),
        MirrorPause(disk=FILE, owner="i", paused=True, request="r"),
    ],
    ids=lambda call: call.call_name,
)
def test_what_is_no_mirror_refuses_the_steps_of_mirrors(env, call):
    with pytest.raises(errors.NodeFailure, match="is not mirrored"):
        HANDLERS[type(call)](call, env, Context())


def test_what_is_no_mirror_is_assembled_and_in_sync(env):
    call = MirrorAssemble(disk=FILE, owner="i", request="r")
    assert HANDLERS[type(call)](call, env, Context()) is None
    (state,) = HANDLERS[MirrorState](MirrorState(disks=(FILE,), owner="i"), env, Context())
    assert not state.is_degraded
    assert HANDLERS[MirrorSync](MirrorSync(disks=(FILE,), owner="i"), env, Context()).is_done


def test_a_sync_is_asked_about_often_whatever_it_estimates():
    slow = msgspec.structs.replace(SYNCING, percent=1.0, seconds=4000)
    reply = summary((GOOD, SYNCING, slow))
    assert not reply.is_done
    assert reply.wait == 5.0
    assert reply.text == (
        "disk 1: 41.50% done, 120 estimated seconds remaining; disk 2: 1.00% done, 4000 estimated seconds remaining"
    )
    unknown = summary((msgspec.structs.replace(SYNCING, seconds=None),))
    assert (unknown.wait, unknown.text) == (5.0, "disk 0: 41.50% done, no time estimate")


def test_the_end_of_a_sync_tells_which_disk_is_degraded_all_the_same():
    fine = summary((GOOD, GOOD))
    assert fine.is_done
    assert not fine.problem
    lost = msgspec.structs.replace(GOOD, connection="WFConnection", peer_disk="DUnknown")
    assert summary((GOOD, lost)).problem == "disk 1 waits for its peer (WFConnection)"


def test_only_halves_that_look_for_each_other_may_settle():
    looking = msgspec.structs.replace(GOOD, connection="WFConnection", peer_disk="DUnknown")
    alone = msgspec.structs.replace(GOOD, connection="StandAlone", peer_disk="DUnknown")
    untold = msgspec.structs.replace(looking, has_peer=False)
    assert summary((GOOD, looking)).may_settle
    assert not summary((looking, alone)).may_settle
    assert not summary((untold,)).may_settle


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"connection": "StandAlone"}, "split brain"),
        ({"connection": "StandAlone", "has_peer": False}, "is not connected"),
        ({"disk": "Diskless"}, "has lost its own volume"),
        ({"disk": "Outdated", "connection": "Connected"}, "has Outdated data"),
        ({"peer_disk": "Diskless"}, "its peer has Diskless data"),
        ({"is_up": False}, "is not active"),
    ],
)
def test_each_bad_state_has_a_name(change, problem):
    state = msgspec.structs.replace(GOOD, **change)
    assert state.is_degraded
    assert problem in state.problem


DATA = Generation(current="A", is_consistent=True)
MORE = Generation(current="B", base="A", is_consistent=True)


@pytest.mark.parametrize(
    ("own", "other", "why"),
    [
        (Half(generation=DATA), Half(generation=DATA), ""),
        (Half(generation=MORE), Half(generation=DATA), ""),
        (Half(generation=DATA), Half(generation=MORE), "on the other node without this one"),
        (Half(generation=MORE), Half(generation=Generation(current="C", base="A", is_consistent=True)), "both nodes"),
        (Half(generation=Generation(current="A")), Half(generation=Generation()), "incomplete"),
        (Half(problem="no metadata"), Half(generation=DATA), "cannot be compared with its other half: no metadata"),
        (Half(generation=DATA), Half(problem="lost"), "cannot be compared with its other half: lost"),
    ],
)
def test_a_half_says_what_it_may_lack(own, other, why):
    assert why in lacks(own, other)
    assert bool(lacks(own, other)) == bool(why)


def test_as_many_halves_are_compared_as_there_are(env):
    call = MirrorCatchUp(disks=(MIRROR,), owner="i")
    with pytest.raises(errors.NodeFailure, match="1 disks cannot be compared with 0"):
        HANDLERS[MirrorCatchUp](call, env, Context())
    told = msgspec.structs.replace(call, others=(Half(generation=DATA),))
    with pytest.raises(errors.NodeFailure, match="disk 0 cannot be compared"):
        HANDLERS[MirrorCatchUp](told, env, Context())


def test_what_is_no_mirror_is_whole(env):
    assert HANDLERS[MirrorWhole](MirrorWhole(disks=(FILE,), owner="i"), env, Context()) is None


def node(uuid, address):
    return Node(uuid=uuid, name=uuid, primary_ip="192.0.2.1", secondary_ip=address, group="g")


CONFIG = Config.load(
    [
        Cluster(
            uuid="c",
            name="c",
            master_node="a",
            master_ip="",
            master_netdev="",
            diskparams={"drbd": {"resync-rate": 1000, "metavg": "other"}, "plain": {"stripes": 2}},
        ),
        Group(uuid="g", name="g", diskparams={"drbd": {"resync-rate": 2000}}),
        node("a", "192.0.2.11"),
        node("b", "192.0.2.12"),
    ]
)


def test_each_node_is_told_its_own_end_and_the_parameters():
    call = VolumeRemove(disk=MIRROR, owner="i", request="r")
    at_a, at_b = (links.linked(call, uuid, CONFIG).disk for uuid in ("a", "b"))
    assert (at_a.link.minor, at_a.link.peer_minor, at_a.link.address, at_a.link.peer_address) == (
        3, 5, "192.0.2.11", "192.0.2.12",
    )  # fmt: skip
    assert (at_b.link.minor, at_b.link.peer_minor, at_b.link.address) == (5, 3, "192.0.2.12")
    assert (at_a.params["resync-rate"], at_a.params["metavg"], at_a.params["protocol"]) == (2000, "other", "C")
    assert links.linked(call, "c", CONFIG).disk.link is None


def test_an_instance_s_disks_are_filled_in_and_other_calls_stay_as_they_are():
    instance = Instance(uuid="i", name="web1", primary_node="a", os="", hypervisor="fake", disks=(FILE, MIRROR))
    told = links.linked(instance, "b", CONFIG)
    assert told.disks[0] is FILE
    assert told.disks[1].link.port == 11000
    call = VolumeRemove(disk=FILE, owner="i", request="r")
    assert links.linked(call, "a", CONFIG) is call


def test_disks_are_filled_in_wherever_a_call_carries_them():
    instance = Instance(uuid="i", name="web1", primary_node="a", os="", hypervisor="fake", disks=(MIRROR,))
    source = FromDisk(spec=GuestSpec(instance=instance, hvparams={}, beparams={}), index=0, contents=Contents.RAW)
    told = links.linked(source, "a", CONFIG)
    assert told.spec.instance.disks[0].link.minor == 3
    assert [disk.uuid for disk in links.disks(source)] == [MIRROR.uuid]


def test_the_end_of_a_peer_that_left_the_cluster_has_no_address():
    gone = msgspec.structs.replace(MIRROR, logical_id=("a", "x", 11000, 3, 5, "secret"))
    link = links.linked(gone, "a", CONFIG).link
    assert (link.minor, link.peer_address) == (3, "")


def test_minors_and_ports_in_use_are_those_of_instances_and_of_what_is_owed():
    config = CONFIG.apply([])
    instance = Instance(uuid="i", name="web1", primary_node="a", os="", hypervisor="fake", disks=(MIRROR,))
    config = Config.load([*CONFIG.objects(), instance])
    owed = msgspec.structs.replace(MIRROR, logical_id=("b", "a", 11001, 7, 8, "s"))
    assert disks.used_minors(config, "a") == {3}
    assert disks.used_minors(config, "b") == {5}
    assert disks.used_minors(config, "a", [owed]) == {3, 8}
    assert set(config.ports) == {11000}
    assert [disk.uuid for disk in links.disks(VolumeRemove(disk=owed, owner="i", request="r"))] == ["m"]


def test_a_mirror_s_new_end_keeps_its_place():
    mirror = disks.Mirror.of(MIRROR)
    assert mirror.moved("a", "c", 9).logical_id == ("c", "b", 11000, 9, 5, "secret")
    assert mirror.moved("b", "c", 9).logical_id == ("a", "c", 11000, 3, 9, "secret")
    with pytest.raises(errors.StorageError):
        disks.Mirror.of(FILE)
    assert disks.space(MIRROR) == 136
    assert disks.grown(MIRROR, 12).children[0].size == 12
    assert disks.snapshot_of(MIRROR, "s").logical_id == ("vg", "m_data.snap")
    assert encode(VolumeRemove(disk=MIRROR, owner="i", request="r"))["disk"].get("link") is None
