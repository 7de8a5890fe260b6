"""Allocators: what the built-in one decides, what programs are told, what of their answers is believed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import Any

import msgspec
import pytest
from logic.plan_env import GROUP, PlanEnv, file_disk, make_config, make_instance, make_node, node_uuid, up

from ganeti import errors
from ganeti.calls.iallocator import IallocatorReply, IallocatorRun
from ganeti.calls.node import HypervisorInfo, NodeInfo, NodeInfoReply, StorageInfo
from ganeti.logic import iallocator
from ganeti.logic.allocation import (
    Allocate,
    AllocateSecondary,
    ChangeGroup,
    Evacuate,
    Evacuation,
    MultiAllocate,
    NewDisk,
    NewNic,
    NodeEvacuate,
    Relocate,
    Request,
)
from ganeti.model.config import Config
from ganeti.model.objects import AllocPolicy, Disk, DiskTemplate, Group, Instance, Put
from ganeti.model.types import Uuid

HAIL = "/usr/lib/ganeti/iallocators/hail"
OTHER = Uuid("00000000-0000-4000-8000-0000000000bb")


def wanted(name: str = "new.example.com", **changes: Any) -> Allocate:
    plain = Allocate(
        name=name,
        hypervisor="fake",
        template=DiskTemplate.FILE,
        memory=512,
        disks=(NewDisk(size=2048),),
        nics=(NewNic(mac="aa:00:00:00:00:01", mode="bridged", link="br0"),),
        os="busybox",
    )
    return msgspec.structs.replace(plain, **changes)


def drbd_disk(name: str, primary: int, secondary: int) -> Disk:
    ends = (node_uuid(primary), node_uuid(secondary))
    return Disk(uuid=Uuid(f"{name}-d"), template=DiskTemplate.DRBD, size=1024, logical_id=(*ends, 11000, 0, 0, "s"))


def mirrored(name: str, primary: int, secondary: int) -> Instance:
    return up(make_instance(name, node=primary, disks=(drbd_disk(name, primary, secondary),)))


def shared(name: str, node: int) -> Instance:
    disk = msgspec.structs.replace(file_disk(name), template=DiskTemplate.SHAREDFILE)
    return up(make_instance(name, node=node, disks=(disk,)))


def told(memory: dict[Uuid, int] | None = None, disk: dict[Uuid, int] | None = None, total: int = 8192) -> Any:
    def answer(node: Uuid, call: NodeInfo) -> NodeInfoReply:
        free = (memory or {}).get(node, 4096)
        machine = HypervisorInfo(memory_total=total, memory_free=free, memory_dom0=512, cpu_total=8)
        space = StorageInfo(total=100_000, free=(disk or {}).get(node, 50_000))
        return NodeInfoReply(
            boot_id="b",
            hypervisors=dict.fromkeys(call.hypervisors, machine),
            storage=dict.fromkeys(call.templates, space),
        )

    return answer


def world(*instances: Instance, nodes: int = 4, **cluster: Any) -> PlanEnv:
    env = PlanEnv(make_config(*instances, nodes=[make_node(number + 1) for number in range(nodes)], **cluster))
    env.rpc.answers[NodeInfo] = told()
    return env


def ask(env: PlanEnv, request: Request[Any], allocator: str = "builtin") -> Any:
    return asyncio.run(env.allocate(request, allocator))


def refusal(env: PlanEnv, request: Request[Any], allocator: str = "builtin") -> errors.GanetiError:
    with pytest.raises((errors.PrereqError, errors.ExecError)) as caught:
        ask(env, request, allocator)
    return caught.value


def change(env: PlanEnv, *objects: Any) -> None:
    env.config = env.config.apply(Put(each) for each in objects)


def node(env: PlanEnv, number: int, **changes: Any) -> None:
    change(env, msgspec.structs.replace(env.config.nodes[node_uuid(number)], **changes))


# The built-in allocator


def test_instances_that_are_promised_are_counted_before_they_exist():
    env = world(nodes=2)
    env.rpc.answers[NodeInfo] = told({node_uuid(1): 1000, node_uuid(2): 700})
    first = ask(env, wanted("a"))
    assert first.nodes == (node_uuid(1),)
    second = ask(env, wanted("a", memory=900))  # the same job asks again about the same instance
    assert second.nodes == (node_uuid(1),)


def test_flags_keep_nodes_out():
    env = world()
    node(env, 1, drained=True)
    node(env, 2, offline=True, master_candidate=False)
    node(env, 3, vm_capable=False)
    assert {ask(env, wanted(f"i{number}")).nodes for number in range(10)} == {(node_uuid(4),)}
    node(env, 4, drained=True)
    assert "offline, drained, not vm_capable" in str(refusal(env, wanted()))


def test_the_load_is_spread():
    env = world(nodes=5)
    places = [ask(env, MultiAllocate(instances=tuple(wanted(f"i{n}", memory=128) for n in range(20))))]
    count = [sum(each.nodes == (node_uuid(n),) for each in places[0].placed) for n in range(1, 6)]
    assert count == [4, 4, 4, 4, 4]


def test_what_does_not_run_yet_but_shall_is_taken_off_the_free_memory():
    sleeping = up(make_instance("sleeping", node=1, beparams={"maxmem": 4000}))
    env = world(sleeping, nodes=2)
    assert ask(env, wanted()).nodes == (node_uuid(2),)
    node(env, 2, drained=True)
    assert "96 MiB of memory free, 512 MiB wanted" in str(refusal(env, wanted()))


def test_disk_space_is_looked_at():
    env = world(nodes=2)
    env.rpc.answers[NodeInfo] = told(disk={node_uuid(1): 2047})
    assert {ask(env, wanted(f"i{number}")).nodes for number in range(5)} == {(node_uuid(2),)}


def test_mirrors_get_two_nodes_of_one_group():
    env = world(nodes=4)
    change(env, Group(uuid=OTHER, name="other"))
    node(env, 1, group=OTHER)
    placed = ask(env, wanted(template=DiskTemplate.DRBD))
    assert len(set(placed.nodes)) == 2
    assert node_uuid(1) not in placed.nodes
    node(env, 3, drained=True)
    node(env, 4, drained=True)
    assert "no other node beside it" in str(refusal(env, wanted(template=DiskTemplate.DRBD)))


def test_policies_of_groups_decide():
    env = world(nodes=2)
    change(env, Group(uuid=OTHER, name="other", alloc_policy=AllocPolicy.LAST_RESORT))
    node(env, 2, group=OTHER)
    env.rpc.answers[NodeInfo] = told({node_uuid(1): 600, node_uuid(2): 4000})
    assert ask(env, wanted()).nodes == (node_uuid(1),)
    assert ask(env, wanted(memory=700)).nodes == (node_uuid(2),)  # no place in the preferred one
    assert ask(env, wanted(group=OTHER)).nodes == (node_uuid(2),)
    change(env, Group(uuid=OTHER, name="other", alloc_policy=AllocPolicy.UNALLOCABLE))
    assert "600 MiB of memory free" in str(refusal(env, wanted(memory=700)))
    assert ask(env, wanted(memory=700, group=OTHER)).nodes == (node_uuid(2),)  # named: it is wanted so


def test_a_policy_that_forbids_it_is_named_and_can_be_ignored():
    env = world(nodes=2)
    err = refusal(env, wanted(memory=65536))
    assert "policy of node group default" in str(err)
    assert "memory-size 65536" in str(err)
    env.rpc.answers[NodeInfo] = told(dict.fromkeys([node_uuid(1), node_uuid(2)], 100_000), total=200_000)
    assert ask(env, wanted(memory=65536, ignore_ipolicy=True)).nodes


def test_too_many_processors_are_warned_of_and_avoided():
    busy = make_instance("busy", node=1, beparams={"vcpus": 32})
    env = world(busy, nodes=2)
    assert ask(env, wanted()).warnings == ()
    node(env, 2, drained=True)
    placed = ask(env, wanted())
    assert placed.nodes == (node_uuid(1),)
    assert "33 virtual processors" in placed.warnings[0]
    assert env.warnings == [placed.warnings[0]]


def test_exclusion_tags_keep_instances_apart():
    one = make_instance("db1", node=1, tags=("service:db",))
    env = world(one, nodes=2, tags=("htools:iextags:service",))
    env.rpc.answers[NodeInfo] = told({node_uuid(2): 1000})
    assert ask(env, wanted(tags=("service:db",))).nodes == (node_uuid(2),)
    assert ask(env, wanted(tags=("service:web",))).nodes == (node_uuid(1),)
    node(env, 2, drained=True)
    assert "exclusion tag service:db" in str(refusal(env, wanted(tags=("service:db",))))


def test_only_the_allowed_nodes_are_taken():
    env = world()
    allowed = wanted(restrict_to=(node_uuid(3),))
    assert ask(env, allowed).nodes == (node_uuid(3),)


def test_a_silent_node_is_told_with_the_reason():
    env = world(nodes=1)
    env.rpc.fail(NodeInfo, "timeout")
    assert "it said no" in str(refusal(env, wanted()))


def test_relocation_stays_in_the_group_and_leaves_both_nodes():
    env = world(mirrored("m", 1, 2), nodes=4)
    change(env, Group(uuid=OTHER, name="other"))
    node(env, 4, group=OTHER)
    assert ask(env, Relocate(instance=Uuid("uuid-m"))).nodes == (node_uuid(3),)
    env = world(shared("s", 1), nodes=2)
    assert ask(env, Relocate(instance=Uuid("uuid-s"))).nodes == (node_uuid(2),)
    assert env.reserved[node_uuid(2)] == 128


def test_a_secondary_for_an_instance_without_one():
    env = world(make_instance("p", node=1), nodes=2)
    assert ask(env, AllocateSecondary(instance=Uuid("uuid-p"))).nodes == (node_uuid(2),)


def evacuation(env: PlanEnv, mode: Evacuate, *names: str) -> Evacuation:
    uuids = tuple(Uuid(f"uuid-{name}") for name in names)
    found = ask(env, NodeEvacuate(instances=uuids, mode=mode, node=node_uuid(1)))
    assert isinstance(found, Evacuation)
    return found


def test_evacuation_moves_what_can_move_and_says_why_the_rest_stays():
    env = world(shared("s", 1), up(make_instance("f", node=1)), make_instance("d", node=1, disks=()))
    found = evacuation(env, Evacuate.ALL, "s", "f", "d")
    assert [each.name for each in found.moved] == ["s"]
    assert {each.name: each.reason.split(":")[0] for each in found.failed} == {
        "d": "it has no disks to take along",
        "f": "its disks (file) lie on one node alone",
    }
    ((op,),) = found.jobs
    assert (op.op_id, op.instance_name, op.allow_failover) == ("OP_INSTANCE_MIGRATE", "s", True)
    assert op.target_node in {f"node{number}.example.com" for number in (2, 3, 4)}


def test_evacuation_of_a_primary_swaps_the_mirrors():
    env = world(mirrored("m", 1, 2), mirrored("n", 3, 1))
    found = evacuation(env, Evacuate.PRIMARY, "m", "n")
    assert [(each.name, each.nodes) for each in found.moved] == [("m", (node_uuid(2), node_uuid(1)))]
    assert found.failed[0].reason.endswith("node1.example.com is not its primary node")
    assert [[op.op_id for op in job] for job in found.jobs] == [["OP_INSTANCE_MIGRATE"]]


def test_change_of_group_needs_another_group():
    env = world(shared("s", 1), nodes=3)
    request = ChangeGroup(instances=(Uuid("uuid-s"),))
    assert "no other" in ask(env, request).failed[0].reason
    change(env, Group(uuid=OTHER, name="other"))
    node(env, 3, group=OTHER)
    (moved,) = ask(env, request).moved
    assert (moved.group, moved.nodes) == ("other", (node_uuid(3),))


# Programs


def answers(env: PlanEnv, *replies: Any) -> list[dict[str, Any]]:
    """The program answers with these in turn; returns what it is given."""
    questions: list[dict[str, Any]] = []
    left = list(replies)

    def answer(where: Uuid, call: IallocatorRun) -> IallocatorReply:
        assert where == env.config.cluster.master_node
        questions.append(json.loads(call.request))
        found = left.pop(0)
        if isinstance(found, IallocatorReply):
            return found
        return IallocatorReply(status=0, output=json.dumps(found), complaints="")

    env.rpc.answers[IallocatorRun] = answer
    return questions


def good(result: Any) -> dict[str, Any]:
    return {"success": True, "info": "fine", "result": result}


def test_a_program_is_told_the_cluster_and_its_answer_is_reserved():
    env = world(up(make_instance("old", node=1)), nodes=2)
    questions = answers(env, good(["node2.example.com"]))
    assert ask(env, wanted(), "mine").nodes == (node_uuid(2),)
    (question,) = questions
    assert question["version"] == 2
    assert question["enabled_hypervisors"] == ["fake"]
    assert set(question["nodegroups"][GROUP]) == {"name", "alloc_policy", "networks", "ipolicy", "tags"}
    assert question["nodes"]["node1.example.com"]["free_memory"] == 4096 - 128
    assert question["nodes"]["node1.example.com"]["i_pri_up_memory"] == 128
    assert question["instances"]["old"]["nodes"] == ["node1.example.com"]
    assert question["request"]["type"] == "allocate"
    assert question["request"]["required_nodes"] == 1
    assert env.reserved == {node_uuid(2): 512}


def test_old_programs_say_nodes_for_result():
    env = world(nodes=2)
    answers(env, {"success": True, "info": "", "nodes": ["node2.example.com"]})
    assert ask(env, wanted(), "mine").nodes == (node_uuid(2),)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (IallocatorReply(status=1, output="", complaints="no such luck"), "status 1: no such luck"),
        (IallocatorReply(status=0, output="{", complaints=""), "not JSON"),
        ([], "not an object"),
        ({"success": True}, "lacks success"),
        ({"success": False, "info": "full"}, "no solution: full"),
        (good(["node1.example.com", "node2.example.com"]), "1 node(s) were asked for, it names 2"),
        (good("node1.example.com"), "not a list of names"),
        (good(["nobody"]), "no node 'nobody'"),
        (good(["node4.example.com"]), "does not fit: node node4.example.com takes no instances"),
    ],
)
def test_answers_that_cannot_be_used(reply, text):
    env = world()
    node(env, 4, drained=True)
    answers(env, reply, reply, reply)
    assert text in str(refusal(env, wanted(), "mine"))
    assert env.reserved == {}


def test_a_place_that_was_taken_meanwhile_is_asked_for_again():
    env = world(nodes=2)
    replies = iter(["node1.example.com", "node2.example.com"])

    def answer(where: Uuid, call: IallocatorRun) -> IallocatorReply:
        name = next(replies)
        if name == "node1.example.com":
            change(env, up(make_instance("faster", node=1, beparams={"maxmem": 4000})))
        return IallocatorReply(status=0, output=json.dumps(good([name])), complaints="")

    env.rpc.answers[IallocatorRun] = answer
    assert ask(env, wanted(), "mine").nodes == (node_uuid(2),)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ([[], []], "three lists"),
        ([[["s", "default"]], [], []], "right length"),
        ([[["x", "default", []]], [], []], "'x' was not asked about"),
        ([[], [], [[{"OP_ID": "OP_CLUSTER_DESTROY"}]]], "not for an allocator"),
        ([[], [], [[{"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "x"}]]], "'x', which was not asked about"),
        ([[], [], [[{"OP_ID": "OP_INSTANCE_MIGRATE", "instance_name": "s", "z": 1}]]], "unknown field"),
        ([[], [], [[]]], "not a list of opcodes"),
    ],
)
def test_plans_of_evacuation_that_are_not_believed(result, text):
    env = world(shared("s", 1))
    answers(env, good(result))
    request = NodeEvacuate(instances=(Uuid("uuid-s"),), mode=Evacuate.ALL, node=node_uuid(1))
    assert text in str(refusal(env, request, "mine"))


def test_parameters_become_options():
    request = NodeEvacuate(instances=(), mode=Evacuate.ALL, node=node_uuid(1), ignore_soft_errors=True)
    given = {"a": "b", "flag": True, "one": 1, "not": False}
    assert iallocator.options(given, request) == ("--a=b", "--flag", "--one=1", "--ignore-soft-errors")


# hail


def run_hail(env: PlanEnv, directory: Any) -> None:
    def answer(where: Uuid, call: IallocatorRun) -> IallocatorReply:
        path = directory / "request"
        path.write_text(call.request)
        done = subprocess.run([HAIL, str(path)], capture_output=True, text=True, check=False, timeout=60)
        return IallocatorReply(status=done.returncode, output=done.stdout, complaints=done.stderr)

    env.rpc.answers[IallocatorRun] = answer


def spacious(config: Config) -> Config:
    cluster = msgspec.structs.replace(config.cluster, ipolicy={"vcpu-ratio": 8.0})
    return config.apply([Put(cluster)])


@pytest.mark.skipif(not os.path.exists(HAIL), reason="needs the allocator hail, of the package ganeti-htools")
def test_hail_understands_the_questions_and_is_understood(tmp_path):
    env = world(mirrored("m", 1, 2), mirrored("n", 2, 3), nodes=5)
    env.config = spacious(env.config)
    run_hail(env, tmp_path)
    node(env, 5, offline=True, master_candidate=False)
    single = ask(env, wanted(template=DiskTemplate.PLAIN), "hail")
    assert len(single.nodes) == 1
    pair = ask(env, wanted(template=DiskTemplate.DRBD), "hail")
    assert len(set(pair.nodes)) == 2
    assert node_uuid(5) not in pair.nodes
    assert ask(env, Relocate(instance=Uuid("uuid-m")), "hail").nodes[0] in (node_uuid(3), node_uuid(4))
    several = ask(env, MultiAllocate(instances=(wanted("a"), wanted("b"))), "hail")
    assert {each.name for each in several.placed} == {"a", "b"}
    leaving = NodeEvacuate(instances=(Uuid("uuid-m"),), mode=Evacuate.PRIMARY, node=node_uuid(1))
    found = ask(env, leaving, "hail")
    assert [(each.name, each.nodes) for each in found.moved] == [("m", (node_uuid(2), node_uuid(1)))]
    assert [[op.op_id for op in job] for job in found.jobs] == [["OP_INSTANCE_MIGRATE"]]
    assert "no solution" in str(refusal(env, wanted(memory=30_000), "hail"))
