"""The check of the cluster: hosts, mirrors, OS definitions, exclusion; and no false alarms while things settle."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from logic.plan_env import BUSYBOX, PlanEnv, execute, make_config, make_instance, make_node, node_uuid, up
from logic.test_verify import CODED, OTHER_NIC, env_of, lines, reply

from ganeti.calls.mirror import MirrorStatus
from ganeti.calls.node import NodeVerify
from ganeti.calls.os import OsDiagnose
from ganeti.calls.volume import Look, VolumeReply, VolumesLook
from ganeti.logic import verify_host
from ganeti.logic.findings import Findings
from ganeti.model.jobs import Undo
from ganeti.model.objects import Disk, DiskTemplate
from ganeti.model.types import RequestId, Uuid
from ganeti.ops.cluster import OpClusterVerifyConfig

THIRD_NIC = msgspec.structs.replace(OTHER_NIC, mac="aa:00:00:44:55:77")
GOOD = MirrorStatus(connection="Connected", role="Primary", disk="UpToDate", peer_disk="UpToDate")
WITH_DRBD = {"enabled_disk_templates": (DiskTemplate.FILE, DiskTemplate.DRBD)}


def volume(name: str) -> Disk:
    return Disk(uuid=Uuid(name), template=DiskTemplate.PLAIN, size=1024, logical_id=("xenvg", name))


def mirrored(*, minors: tuple[int, int] = (0, 1)) -> Disk:
    return Disk(
        uuid=Uuid("mirror"),
        template=DiskTemplate.DRBD,
        size=1024,
        logical_id=(node_uuid(1), node_uuid(2), 11000, *minors, "secret"),
        children=(volume("data"), volume("meta")),
    )


def mirrored_env(*, looks: dict[int, Look] | None = None, **replies: Any) -> PlanEnv:
    """One running instance on nodes 1 and 2; `looks` by node; `node1=…` changes that node's reply."""
    env = env_of(up(make_instance(disks=(mirrored(),))), **WITH_DRBD)
    config = env.config
    usual = {1: (0,), 2: (1,), 3: ()}
    held = ("/dev/xenvg/data", "/dev/xenvg/meta")

    def verify(node: Uuid, call: NodeVerify) -> Any:
        number = int(node[-1])
        changes = {"minors": usual[number], "volumes": held if number < 3 else (), "drbd_version": "8.4.11"}
        return reply(node, config, **(changes | replies.get(f"node{number}", {})))

    env.rpc.answers[NodeVerify] = verify
    good = Look(volume=VolumeReply(path="/dev/drbd0", size=1024), mirror=GOOD)
    env.rpc.answers[VolumesLook] = lambda node, call: tuple((looks or {}).get(int(node[-1]), good) for _ in call.disks)
    return env


def codes(env: PlanEnv) -> list[str]:
    return [":".join(text.removeprefix("  - ").split(":")[:2]) for text in lines(env)]


def test_healthy_mirrors_are_no_fault_and_their_volumes_no_orphans():
    env = mirrored_env()
    assert execute(CODED, env) is True
    assert lines(env) == []


@pytest.mark.parametrize(
    ("node2", "found"),
    [
        ({"minors": ()}, "ERROR:ENODEDRBD"),
        ({"minors": (1, 7)}, "ERROR:ENODEDRBD"),
        ({"minors": (), "drbd_problem": "no module"}, "ERROR:ENODEDRBD"),
        ({"drbd_version": "9.1"}, "WARNING:ENODEDRBDVERSION"),
        ({"volumes": ("/dev/xenvg/data", "/dev/xenvg/meta", "/dev/xenvg/ghost")}, "ERROR:ENODEORPHANLV"),
        ({"missing_bridges": ("br7",)}, "ERROR:ENODENET"),
        ({"bad_programs": {"/usr/bin/oob": "it is not there"}}, "ERROR:ENODEOOBPATH"),
        ({"bad_programs": {verify_host.MASTER_IP_SCRIPT: "it is not executable"}}, "ERROR:ENODEUSERSCRIPTS"),
        ({"distrusted": ("/etc/x (mode 0757) can be written by everybody",)}, "ERROR:ENODEUSERSCRIPTS"),
        ({"bad_storage_paths": ("'/etc' is /etc",)}, "ERROR:ENODEFILESTORAGEPATHS"),
        ({"helper_problem": "the install image cannot be read"}, "ERROR:ENODEOS"),
    ],
)
def test_fault_of_a_host(node2, found):
    env = mirrored_env(node2=node2)
    assert execute(CODED, env) is found.startswith("WARNING")
    assert codes(env) == [found]


def test_a_minor_of_no_instance_is_told_with_what_to_do():
    env = mirrored_env(node2={"minors": (1, 7)})
    execute(CODED, env)
    (text,) = lines(env)
    assert "minor 7 is in use but belongs to no instance" in text
    assert "gnt-cluster modify --maintain-node-health=yes" in text
    assert "drbdsetup down resource7" in text


def test_a_minor_of_a_node_that_has_something_to_undo_is_no_error_yet():
    env = mirrored_env(node2={"minors": (1, 7)})
    env.debts = (Undo(node=node_uuid(2), call={}, effect=RequestId("r"), title="remove what it had"),)
    assert execute(CODED, env) is True
    (text,) = lines(env)
    assert text.startswith("  - WARNING:ENODEDRBD")
    assert "has still to undo" in text
    assert "drbdsetup" not in text


@pytest.mark.parametrize(
    ("exclusive", "sizes", "count"),
    [
        (True, {1: (1000.0, 1025.0), 2: (1010.0,)}, 0),
        (True, {1: (1000.0, 1000.0), 2: (1100.0,)}, 1),
        (True, {1: (1000.0, 2000.0)}, 1),
        (False, {1: (1000.0,), 2: (2000.0,)}, 0),
        (True, {}, 0),
    ],
)
def test_physical_volumes_of_a_group_are_of_one_size_where_that_matters(exclusive, sizes, count):
    env = env_of(ndparams={"exclusive_storage": exclusive}, volume_group_name="xenvg")
    asked = []

    def verify(node: Uuid, call: NodeVerify) -> Any:
        asked.append(call.physical_volumes)
        return reply(node, env.config, pv_sizes=sizes.get(int(node[-1]), ()))

    env.rpc.answers[NodeVerify] = verify
    assert execute(CODED, env) is not bool(count)
    assert codes(env) == ["ERROR:EGROUPDIFFERENTPVSIZE"] * count
    assert exclusive in asked


@pytest.mark.parametrize(
    ("look", "found"),
    [
        (Look(volume=VolumeReply(path="", size=0, exists=False)), "ERROR:EINSTANCEMISSINGDISK"),
        (Look(volume=VolumeReply(path="", size=0), problem="busy"), "ERROR:EINSTANCEFAULTYDISK"),
        (
            Look(volume=VolumeReply(path="", size=0), mirror=MirrorStatus(connection="StandAlone", disk="UpToDate")),
            "ERROR:EINSTANCEFAULTYDISK",
        ),
        (
            Look(
                volume=VolumeReply(path="", size=0),
                mirror=MirrorStatus(connection="SyncTarget", disk="Inconsistent", peer_disk="UpToDate"),
            ),
            "WARNING:EINSTANCEFAULTYDISK",
        ),
    ],
)
def test_fault_of_a_mirror(look, found):
    env = mirrored_env(looks={2: look})
    assert execute(CODED, env) is found.startswith("WARNING")
    assert codes(env) == [found]


def test_reserved_volumes_are_no_orphans():
    env = env_of(at=2, verify={"volumes": ("/dev/xenvg/swap",)}, reserved_lvs=("xenvg/swap",))
    assert execute(CODED, env) is True


def test_helper_of_the_module_is_the_clusters():
    env = mirrored_env(
        node1={"drbd_helper": "/bin/true"}, node2={"drbd_helper": "/bin/false"}, node3={"drbd_helper": "/bin/true"}
    )
    env.config = env.config.apply([])
    cluster = msgspec.structs.replace(env.config.cluster, drbd_usermode_helper="/bin/true")
    env.config = msgspec.structs.replace(env.config, cluster=cluster)
    assert execute(CODED, env) is False
    assert codes(env) == ["ERROR:ENODEDRBDHELPER"]


@pytest.mark.parametrize(
    ("own", "count"),
    [
        ((BUSYBOX,), 0),
        ((), 1),
        ((msgspec.structs.replace(BUSYBOX, valid=False, reason="no create"),), 1),
        ((msgspec.structs.replace(BUSYBOX, variants=("tiny",)),), 1),
        # the second one of a name is not used
        ((BUSYBOX, msgspec.structs.replace(BUSYBOX, valid=False)), 0),
    ],
)
def test_definitions_are_the_same_everywhere(own, count):
    env = env_of()
    env.rpc.answers[OsDiagnose] = lambda node, call: own if node == node_uuid(3) else (BUSYBOX,)
    assert execute(CODED, env) is (count == 0)
    assert codes(env) == ["ERROR:ENODEOS"] * count


def test_definition_on_one_node_only_is_told_of_the_others():
    env = env_of()
    env.rpc.answers[OsDiagnose] = lambda node, call: (BUSYBOX,) if node == node_uuid(3) else ()
    execute(CODED, env)
    assert codes(env) == ["ERROR:ENODEOS", "ERROR:ENODEOS"]


def test_change_that_is_on_its_way_is_no_fault():
    env = env_of()
    asked: list[Uuid] = []

    def verify(node: Uuid, call: NodeVerify) -> Any:
        asked.append(node)
        late = node == node_uuid(2) and asked.count(node) < 3
        return reply(node, env.config, files={"/var/lib/ganeti/ca.pem": "old" if late else "new"})

    env.rpc.answers[NodeVerify] = verify
    assert execute(CODED, env) is True
    assert env.slept == [0.25, 0.25]


def test_instances_that_exclude_each_other():
    tags = ("service:db",)
    pair = [
        make_instance(tags=tags),
        make_instance("web2.example.com", tags=tags, nics=(OTHER_NIC,)),
        make_instance("web3.example.com", node=2, tags=tags, nics=(THIRD_NIC,)),
    ]
    env = env_of(*pair, tags=("htools:iextags:service",))
    assert execute(CODED, env) is True
    assert codes(env) == ["WARNING:EEXTAGS"]
    assert codes(env_of(*pair)) == []


def test_offline_secondary_is_a_warning():
    nodes = [make_node(1), make_node(2, offline=True, master_candidate=False)]
    env = env_of(up(make_instance(disks=(mirrored(),))), nodes=nodes)
    env.rpc.answers[VolumesLook] = lambda node, call: (Look(volume=VolumeReply(path="", size=0), mirror=GOOD),)
    execute(CODED, env)
    assert "WARNING:EINSTANCEBADNODE" in codes(env)


@pytest.mark.parametrize(
    ("days", "found"),
    [(60, []), (20, ["WARNING:ECLUSTERCERT"]), (3, ["ERROR:ECLUSTERCERT"]), (-3, ["ERROR:ECLUSTERCERT"])],
)
def test_end_of_the_authority(days, found):
    env = env_of(at=1, verify={"authority_ends": 1000.0 + days * 86400})
    assert execute(OpClusterVerifyConfig(error_codes=True), env) is not ("ERROR:ECLUSTERCERT" in found)
    assert codes(env) == found


def test_bridges_and_programs_that_a_node_needs():
    nodes = [make_node(1, ndparams={"oob_program": "/usr/bin/oob"}), make_node(2)]
    nic = msgspec.structs.replace(make_instance().nics[0], params={"mode": "bridged", "link": "br7"})
    config = make_config(make_instance(node=2, nics=(nic,)), nodes=nodes, use_external_mip_script=True)
    first, second = (config.nodes[node_uuid(number)] for number in (1, 2))
    assert "br7" in verify_host.bridges(config, second)
    assert "br7" not in verify_host.bridges(config, first)
    assert verify_host.programs(config, first) == (verify_host.MASTER_IP_SCRIPT, "/usr/bin/oob")
    assert verify_host.programs(config, second) == (verify_host.MASTER_IP_SCRIPT,)


def test_nothing_is_found_where_nobody_answers():
    found = Findings()
    verify_host.check_definitions(make_config(), {}, found)
    verify_host.check_certificate_authority(0.0, 1000.0, found)
    assert found.take() == []
