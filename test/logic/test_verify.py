"""The check of the cluster: silent when all is well, exact when it is not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from logic.plan_env import (
    GROUP,
    PlanEnv,
    execute,
    guest_of,
    make_config,
    make_instance,
    make_node,
    node_uuid,
    refused,
    unit_of,
    up,
)

from ganeti.calls.instance import GuestsReply, GuestState, InstanceList
from ganeti.calls.node import HypervisorInfo, NodeInfo, NodeInfoReply, NodeVerify, NodeVersion, VerifyReply
from ganeti.logic.base import StateHolder
from ganeti.logic.cluster_verify import check_holders
from ganeti.logic.findings import CODES, Finding, Findings, line
from ganeti.model.config import Config
from ganeti.model.jobs import Undo
from ganeti.model.locks import ALL, Level, LockKey
from ganeti.model.objects import Cluster, Instance, Network, Nic, Put
from ganeti.model.types import Uuid
from ganeti.ops.cluster import OpClusterVerify, OpClusterVerifyConfig, OpClusterVerifyGroup
from ganeti.testing.cluster import SimulatedCluster

OTHER_NIC = Nic(uuid=Uuid("nic"), mac="aa:00:00:44:55:66")
YEAR_S = 365 * 86400.0
OP = OpClusterVerifyGroup(group_name="default")
CODED = OpClusterVerifyGroup(group_name="default", error_codes=True)


def reply(node: Any, config: Config, **changes: Any) -> VerifyReply:
    plain = VerifyReply(
        files={"/var/lib/ganeti/ca.pem": "abc"},
        hypervisors={"fake": ""},
        storage={"file": ""},
        volumes=tuple(
            str(disk.logical_id[1])
            for instance in config.instances.values()
            if instance.primary_node == node
            for disk in instance.disks
        ),
        state_term=1 if config.nodes[node].master_candidate else 0,
        state_serial=7 if config.nodes[node].master_candidate else 0,
        trust_serial=3,
        certificate_ends=1000.0 + YEAR_S,
    )
    return msgspec.structs.replace(plain, **changes)


def env_of(*instances: Instance, at: int = 0, verify: dict[str, Any] | None = None, **cluster: Any) -> PlanEnv:
    """Instances marked up run; node `at` answers with the changes of `verify`."""
    config = make_config(*instances, **cluster)
    env = PlanEnv(config)

    def guests(node: Any, call: Any) -> Any:
        here = [each for each in instances if each.primary_node == node and each.admin_state.value == "up"]
        return GuestsReply(guests=tuple(guest_of(each) for each in here))

    env.rpc.answers[InstanceList] = guests
    env.rpc.answers[NodeVerify] = lambda node, call: reply(
        node, config, **(verify or {} if node == node_uuid(at) else {})
    )
    return env


def lines(env: PlanEnv) -> list[str]:
    return [text for text in env.log if text.startswith("  - ") and "NOTICE" not in text]


# A healthy cluster


def test_healthy_cluster_is_well_and_says_nothing_wrong():
    env = env_of(up(make_instance()), make_instance("web2.example.com", node=2, nics=(OTHER_NIC,)))
    assert execute(OP, env) is True
    assert execute(OpClusterVerifyConfig(), env) is True
    assert lines(env) == []
    assert env.warnings == []
    assert env.log[:2] == ["* Verifying group 'default'", "* Gathering data (3 nodes)"]
    assert "  - NOTICE: 2 instance(s) without a second copy of their disks found." in env.log


def test_a_repair_that_the_cluster_did_by_itself_is_told_until_somebody_has_looked():
    env = env_of(lvm_self_repair=True, lvm_self_repaired="xenvg on node2.example.com at noon by job 7")
    assert execute(OpClusterVerifyConfig(), env) is True
    (line,) = lines(env)
    assert line.startswith("  - WARNING: cluster")
    assert "xenvg on node2.example.com at noon by job 7" in line
    assert "--lvm-self-repair=yes" in line


def test_offline_and_drained_nodes_are_no_fault():
    nodes = [
        make_node(1),
        make_node(2, offline=True, master_candidate=False),
        make_node(3, drained=True, master_candidate=False),
    ]
    env = env_of(nodes=nodes)
    assert execute(OP, env) is True
    assert execute(OpClusterVerifyConfig(), env) is True
    assert lines(env) == []
    assert "* Skipping offline node node2.example.com" in env.log


def test_verify_locks_out_what_is_just_being_made():
    wanted = unit_of(OP).locks(make_config()).wanted
    assert wanted[LockKey(Level.INSTANCE, ALL)] is False
    assert wanted[LockKey(Level.GROUP, GROUP)] is False
    assert wanted[LockKey(Level.NODE_RES, node_uuid(2))] is False


# The jobs


def test_verify_submits_the_configuration_and_each_group():
    env = env_of()
    result = execute(OpClusterVerify(error_codes=True, skip_checks=("nplusone_mem",)), env)
    assert result == {"jobs": [[True, 100], [True, 101]]}
    first, second = (job[0] for job in env.submitted)
    assert isinstance(first, OpClusterVerifyConfig)
    assert first.error_codes
    assert isinstance(second, OpClusterVerifyGroup)
    assert (second.group_name, second.skip_checks) == ("default", ("nplusone_mem",))


def test_verify_of_one_group_leaves_the_configuration_out():
    env = env_of()
    assert execute(OpClusterVerify(group_name="default"), env) == {"jobs": [[True, 100]]}


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (OpClusterVerify(ignore_errors=("ENONSENSE",)), "wrong_input"),
        (OpClusterVerify(skip_checks=("all",)), "wrong_input"),
        (OpClusterVerify(group_name="nope"), "unknown_entity"),
        (OpClusterVerifyConfig(ignore_errors=("ENONSENSE",)), "wrong_input"),
        (OpClusterVerifyGroup(group_name="default", skip_checks=("x",)), "wrong_input"),
    ],
)
def test_verify_is_refused(op, code):
    assert refused(op, env_of()).code == code


# What a node can have


@pytest.mark.parametrize(
    ("verify", "found"),
    [
        ({"hypervisors": {"fake": "broken"}}, "ERROR:ENODEHV:node:node2.example.com:hypervisor fake: broken"),
        (
            {"storage": {"file": "not writable"}},
            "ERROR:ENODEFILESTORAGEPATHUNUSABLE:node:node2.example.com:file storage: not writable",
        ),
        (
            {"unreachable": {"node3.example.com": "refused"}},
            "ERROR:ENODENET:node:node2.example.com:it cannot reach the node daemon of node3.example.com: refused",
        ),
        (
            {"unreachable_secondary": {"node3.example.com": "silence"}},
            "ERROR:ENODENET:node:node2.example.com:it cannot reach node3.example.com by the secondary network: silence",
        ),
        (
            {"files": {"/var/lib/ganeti/ca.pem": "def"}},
            "ERROR:ENODEFILECHECK:node:node2.example.com:file /var/lib/ganeti/ca.pem differs from the master's",
        ),
        ({"files": {}}, "ERROR:ENODEFILECHECK:node:node2.example.com:file /var/lib/ganeti/ca.pem is missing"),
        ({"state_serial": 0}, "ERROR:ENODEFILECHECK:node:node2.example.com:the candidate has no copy of the state"),
        (
            {"certificate_ends": 1000.0 + 86400 * 2.5},
            "ERROR:ECLUSTERCLIENTCERT:cluster:node2.example.com:its certificate ends in 2 days",
        ),
        (
            {"volumes": ("/srv/ghost/disk0",)},
            "ERROR:ENODEORPHANLV:node:node2.example.com:volume /srv/ghost/disk0 belongs to no instance",
        ),
        (
            {"volumes": ("/dev/xenvg/x.disk0",), "origins": {"/dev/xenvg/x.disk0": "web9"}},
            "ERROR:ENODEORPHANLV:node:node2.example.com:volume /dev/xenvg/x.disk0 belongs to no instance"
            " (it was made for web9)",
        ),
    ],
)
def test_fault_of_a_node_is_an_error(verify, found):
    env = env_of(at=2, verify=verify)
    assert execute(CODED, env) is False
    assert lines(env) == ["  - " + found]


@pytest.mark.parametrize(
    ("verify", "found"),
    [
        (
            {"strays": ("/srv/ganeti/file-storage/notes",)},
            "WARNING:ENODEORPHANLV:node:node2.example.com:/srv/ganeti/file-storage/notes lies among the volumes and is "
            "not one of this cluster's",
        ),
        ({"strays_more": 7}, "WARNING:ENODEORPHANLV:node:node2.example.com:and 7 more of that kind"),
        (
            {"missing_devices": ("br9",)},
            "WARNING:ENODENET:node:node2.example.com:the interface for the cluster's address is missing: br9",
        ),
        (
            {"missing_allocators": ("nope",)},
            "WARNING:ENODESETUP:node:node2.example.com:the cluster's allocator is not installed: nope",
        ),
    ],
)
def test_what_a_node_lacks_only_perhaps_is_a_warning(verify, found):
    env = env_of(at=2, verify=verify)
    assert execute(CODED, env) is True
    assert lines(env) == ["  - " + found]


def test_what_only_the_master_needs_is_an_error_there():
    for verify in ({"missing_devices": ("br9",)}, {"missing_allocators": ("nope",)}):
        env = env_of(at=1, verify=verify)
        assert execute(CODED, env) is False
        (line,) = lines(env)
        assert line.startswith("  - ERROR:")


@pytest.mark.parametrize(
    ("verify", "code"),
    [
        ({"leftovers": ("qemu 4711",)}, "ENODEHV"),
        ({"trust_serial": 2}, "ENODEFILECHECK"),
        ({"certificate_ends": 1000.0 + 86400 * 20}, "ECLUSTERCLIENTCERT"),
    ],
)
def test_small_fault_of_a_node_is_a_warning(verify, code):
    env = env_of(at=2, verify=verify)
    assert execute(CODED, env) is True
    assert len(lines(env)) == 1
    assert lines(env)[0].startswith(f"  - WARNING:{code}:")


def test_each_node_is_asked_for_each_other_one_on_both_networks():
    secondary = ["198.51.100.1", "198.51.100.2", make_node(3).primary_ip]
    nodes = [
        msgspec.structs.replace(make_node(number), secondary_ip=address)
        for number, address in enumerate(secondary, start=1)
    ]
    env = env_of(nodes=nodes)
    execute(CODED, env)
    asked = {node: call for node, call in env.rpc.calls if isinstance(call, NodeVerify)}
    everybody = {node.name: node.primary_ip for node in nodes}
    assert {node: call.reach for node, call in asked.items()} == dict.fromkeys(map(node_uuid, (1, 2, 3)), everybody)
    with_two = {node.name: node.secondary_ip for node in nodes[:2]}
    assert [(asked[node.uuid].reach_secondary, asked[node.uuid].secondary_ip) for node in nodes] == [
        (with_two, "198.51.100.1"),
        (with_two, "198.51.100.2"),
        ({}, ""),
    ]


def test_silent_node_is_one_error():
    env = env_of()
    env.rpc.fail(NodeVersion, "unreachable")
    assert execute(CODED, env) is False
    assert len(lines(env)) == 3
    assert all(text.startswith("  - ERROR:ENODERPC:node:node") for text in lines(env))


def test_clock_and_version_of_a_node():
    env = env_of()
    answer = env.rpc.answers[NodeVersion]
    env.rpc.answers[NodeVersion] = lambda node, call: (
        msgspec.structs.replace(answer(node, call), time=1200.0, protocol=2, master="node2.example.com")
        if node == node_uuid(3)
        else answer(node, call)
    )
    assert execute(CODED, env) is False
    assert [text.split(":")[1] for text in lines(env)] == ["ENODEVERSION", "ENODESETUP", "ENODETIME"]
    assert "200 s ahead of" in lines(env)[2]


# Instances


def test_instance_that_does_not_run_is_an_error():
    env = env_of(up(make_instance()))
    env.rpc.answers[InstanceList] = GuestsReply(guests=())
    assert execute(OP, env) is False
    assert lines(env) == ["  - ERROR: instance web1.example.com: it does not run on its node node1.example.com"]


def test_instance_on_the_wrong_node_runs_nowhere_right():
    instance = up(make_instance())
    env = env_of(instance)
    env.rpc.answers[InstanceList] = lambda node, call: GuestsReply(
        guests=(guest_of(instance),) if node == node_uuid(2) else ()
    )
    assert execute(CODED, env) is False
    assert [text.split(":")[1] for text in lines(env)] == ["EINSTANCEDOWN", "EINSTANCEWRONGNODE"]


def test_instance_that_stands_still_is_a_warning():
    """Its status is running, but its user sees nothing of it."""
    instance = up(make_instance())
    env = env_of(instance)
    paused = msgspec.structs.replace(guest_of(instance), state=GuestState.PAUSED)
    env.rpc.answers[InstanceList] = lambda node, call: GuestsReply(guests=(paused,) if node == node_uuid(1) else ())
    assert execute(CODED, env) is True
    assert [text for text in lines(env) if "EINSTANCEDOWN" in text] == [
        "  - WARNING:EINSTANCEDOWN:instance:web1.example.com:it stands still on its node node1.example.com: it was"
        " paused, or a disk of it is full"
    ]


def test_nodes_that_emulate_their_guests_are_told():
    env = env_of(up(make_instance()))
    slow = HypervisorInfo(memory_total=8192, memory_free=4096, version="7.2.22 (tcg)")
    fast = HypervisorInfo(memory_total=8192, memory_free=4096, version="7.2.22 (kvm)")
    env.rpc.answers[NodeInfo] = lambda node, call: NodeInfoReply(
        boot_id="b", hypervisors={"kvm": slow if node == node_uuid(2) else fast}, storage={}
    )
    execute(OP, env)
    (told,) = [text for text in env.log if "emulated" in text]
    assert told == (
        "  - NOTICE: 1 node(s) without working hardware virtualisation, whose KVM guests are emulated"
        " (node2.example.com) found."
    )


def test_guest_of_no_instance_is_an_error():
    env = env_of()
    env.rpc.answers[InstanceList] = lambda node, call: GuestsReply(
        guests=(guest_of(make_instance("ghost")),) if node == node_uuid(3) else ()
    )
    assert execute(OP, env) is False
    assert lines(env) == ["  - ERROR: node node3.example.com: the guest ghost belongs to no instance"]


def test_running_though_marked_down_is_a_warning():
    instance = make_instance()
    env = env_of(instance)
    env.rpc.answers[InstanceList] = lambda node, call: GuestsReply(
        guests=(guest_of(instance),) if node == node_uuid(1) else ()
    )
    assert execute(CODED, env) is True
    assert lines(env)[0].startswith("  - WARNING:EINSTANCEDOWN:instance:web1.example.com:it runs although")


def test_missing_disk_is_an_error():
    env = env_of(make_instance(), at=1, verify={"volumes": ()})
    assert execute(CODED, env) is False
    assert lines(env)[0].startswith("  - ERROR:EINSTANCEMISSINGDISK:instance:web1.example.com:disk 0 (")


def test_instance_that_should_run_on_an_offline_node_is_an_error():
    nodes = [make_node(1), make_node(2, offline=True, master_candidate=False)]
    env = env_of(up(make_instance(node=2)), nodes=nodes)
    assert execute(CODED, env) is False
    assert lines(env)[0].startswith("  - ERROR:EINSTANCEBADNODE:")


def test_broken_policy_is_a_warning():
    env = env_of(make_instance(beparams={"vcpus": 99}))
    assert execute(CODED, env) is True
    assert lines(env) == [
        "  - WARNING:EINSTANCEPOLICY:instance:web1.example.com:"
        "it breaks the instance policy: cpu-count 99 is not in 1 to 8"
    ]


def test_ignored_code_is_a_warning():
    op = OpClusterVerifyGroup(group_name="default", ignore_errors=("ENODEHV",))
    env = env_of(at=2, verify={"hypervisors": {"fake": "broken"}})
    assert execute(op, env) is True
    assert lines(env) == ["  - WARNING: node node2.example.com: hypervisor fake: broken"]


def test_simulated_errors_make_everything_fail():
    env = env_of(up(make_instance()))
    op = OpClusterVerifyGroup(group_name="default", debug_simulate_errors=True, error_codes=True)
    assert execute(op, env) is False
    seen = {text.split(":")[1] for text in lines(env)}
    assert seen >= {"ENODEHV", "ENODETIME", "ENODEVERSION", "EINSTANCEDOWN", "EINSTANCEMISSINGDISK"}
    assert execute(OpClusterVerifyConfig(debug_simulate_errors=True), env) is False


def test_orphan_of_a_node_with_debts_is_a_warning():
    env = env_of(at=2, verify={"volumes": ("/srv/x",)})
    env.debts = [Undo(node=node_uuid(2), call={}, effect="1", title="create disk 0 of x")]
    assert execute(CODED, env) is True
    assert execute(OpClusterVerifyConfig(), env) is True
    assert any("to be undone when the node is back: create disk 0 of x" in text for text in lines(env))


def test_failed_hook_makes_it_fail():
    env = env_of()
    unit = unit_of(CODED)
    assert unit.after_hooks(True, [], env) is True
    assert unit.after_hooks(True, [("node2", "cluster-verify-post.d/x", "bad\n")], env) is False
    assert lines(env) == ["  - ERROR:ENODEHOOKS:node:node2:hook cluster-verify-post.d/x failed: bad"]


# The configuration


def broken_config(**changes: Any) -> Config:
    return make_config(make_instance(**changes))


@pytest.mark.parametrize(
    ("config", "code", "text"),
    [
        (make_config(enabled_hypervisors=("vmware",)), "ECLUSTERCFG", "not known"),
        (make_config(nodes=[make_node(1, master_candidate=False)]), "ECLUSTERCFG", "no master candidate"),
        (make_config(nodes=[make_node(1), make_node(2, drained=True)]), "ECLUSTERCFG", "at once"),
        (make_config(nodes=[make_node(1), make_node(2, group="x")]), "ECLUSTERDANGLINGNODES", "group x"),
        (make_config(nodes=[make_node(1), make_node(2, primary_ip="192.0.2.1")]), "ECLUSTERCFG", "192.0.2.1"),
        (make_config(nodes=[make_node(1), make_node(2, certificate_digest="")]), "ECLUSTERCLIENTCERT", "recorded"),
        (broken_config(hypervisor="kvm"), "ECLUSTERCFG", "not enabled"),
        (broken_config(hvparams={"colour": 1}), "EINSTANCEMISSINGCFGPARAMETER", "colour"),
        (broken_config(beparams={"minmem": 4096}), "ECLUSTERCFG", "minmem"),
        (broken_config(blocked="half migrated"), "ECLUSTERCFG", "half migrated"),
        (
            make_config(make_instance(), make_instance("web2.example.com", disks=())),
            "ECLUSTERCFG",
            "MAC address aa:00:00:11:22:33",
        ),
        (
            make_config(make_instance(), make_instance("b", disks=make_instance().disks, nics=())),
            "ECLUSTERCFG",
            "is a disk of b, web1.example.com",
        ),
        (
            make_config(make_instance(network_port=11000), make_instance("b", disks=(), nics=(), network_port=11000)),
            "ECLUSTERCFG",
            "port 11000",
        ),
    ],
)
def test_inconsistent_configuration_is_an_error(config, code, text):
    env = PlanEnv(config)
    assert execute(OpClusterVerifyConfig(error_codes=True), env) is False
    hits = [found for found in lines(env) if found.startswith(f"  - ERROR:{code}:") and text in found]
    assert hits, env.log


def test_dangling_instance_is_told():
    env = PlanEnv(make_config().apply([Put(make_instance(primary_node=Uuid("gone")))]))
    assert execute(OpClusterVerifyConfig(error_codes=True), env) is False
    assert any(text.startswith("  - ERROR:ECLUSTERDANGLINGINST:cluster:web1.example.com:") for text in lines(env))


def holder(number: int, **changes: Any) -> StateHolder:
    plain = StateHolder(node=node_uuid(number), is_reachable=True, serial=7, hash="h", is_current=True)
    return msgspec.structs.replace(plain, **changes)


@pytest.mark.parametrize(
    ("holders", "count"),
    [
        ([holder(1), holder(2), holder(3)], 0),
        ([holder(1), holder(2)], 1),
        ([holder(1), holder(2), holder(3, is_reachable=False)], 1),
        ([holder(1), holder(2), holder(3, is_current=False, serial=5)], 1),
        ([holder(1), holder(2), holder(3, hash="other")], 1),
    ],
)
def test_copies_of_the_state_are_compared(holders, count):
    found = Findings()
    check_holders(make_config(), holders, found)
    assert len(found.take()) == count


def test_why_a_copy_takes_no_changes_is_told(tmp_path: Path) -> None:
    async def body() -> None:
        cluster = SimulatedCluster(str(tmp_path))
        cluster.store.why = "node node3: no space left for the state on its disk"
        job = await cluster.run({"OP_ID": "OP_CLUSTER_VERIFY_CONFIG"})
        told = [text for text in cluster.log_of(job.id) if "no space left for the state" in text]
        assert len(told) == 2  # of two other candidates

    asyncio.run(body())


# Lines


def test_lines_have_the_form_that_scripts_know():
    found = Finding(code="ENODEHV", item="n1", text="broken")
    assert line(found, with_codes=False) == "  - ERROR: node n1: broken"
    assert line(found, with_codes=True) == "  - ERROR:ENODEHV:node:n1:broken"
    cluster = Finding(code="ECLUSTERCFG", item="", text="bad", is_warning=True)
    assert line(cluster, with_codes=False) == "  - WARNING: cluster: bad"


def test_every_code_has_a_type():
    assert set(CODES.values()) == {"cluster", "group", "instance", "node"}
    assert Cluster.kind in CODES.values()


# Networks


def test_networks_and_the_addresses_on_them_are_looked_at():
    lan = Network(uuid=Uuid("lan-uuid"), name="lan", network="198.51.100.0/28", reserved=("192.0.2.9",))

    def on(number: int, ip: str | None, network: str = "lan-uuid") -> Nic:
        return Nic(uuid=Uuid(f"n{number}"), mac=f"aa:00:00:00:00:0{number}", ip=ip, network=Uuid(network))

    instances = [
        make_instance("a.example.com", nics=(on(1, "198.51.100.3"),)),
        make_instance("b.example.com", nics=(on(2, "198.51.100.3"), on(3, "192.0.2.7"))),
        make_instance("c.example.com", nics=(on(4, None, "gone"),)),
    ]
    env = env_of(*instances)
    group = msgspec.structs.replace(env.config.groups[GROUP], networks={"other": {}})
    env.config = env.config.apply([Put(lan), Put(group)])
    assert execute(OpClusterVerifyConfig(), env) is False
    told = "\n".join(lines(env))
    for text in (
        "unknown networks other",
        "not in 198.51.100.0/28: 192.0.2.9",
        "198.51.100.3 of network lan belongs to a.example.com and b.example.com",
        "NIC 1 has 192.0.2.7, which is not in network lan",
        "NIC 0 is on an unknown network gone",
        "NIC 0 is on network lan, which is not connected in its node group",
    ):
        assert text in told
    fine = msgspec.structs.replace(group, networks={"lan-uuid": {}})
    right = msgspec.structs.replace(lan, reserved=())
    well = env_of(msgspec.structs.replace(instances[0]))
    well.config = well.config.apply([Put(right), Put(fine)])
    assert execute(OpClusterVerifyConfig(), well) is True
