"""OP_CLUSTER_VERIFY_GROUP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from ganeti import errors, paths
from ganeti.calls.instance import InstanceList
from ganeti.calls.node import NodeInfo, NodeVerify, NodeVersion, VerifyReply, VersionReply
from ganeti.calls.os import OsDiagnose
from ganeti.logic import disk_looks, findings, guests, helpers, verify_host, verify_nodes, verify_ssh
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.cluster_verify import in_slices, known_skips, tell
from ganeti.logic.devices import FILE_TEMPLATES
from ganeti.logic.findings import Finding, Findings
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, shared
from ganeti.model.objects import DiskTemplate, Instance, Node
from ganeti.model.types import Uuid, nice_key
from ganeti.ops.cluster import OpClusterVerifyGroup

#: files that are the same on every node
FILES = (
    paths.CA_CERT.path,
    paths.KNOWN_HOSTS.path,
    *(file.path for file in paths.SHARED_SECRETS.values()),
    *(paths.ssconf(name).path for name in paths.SSCONF_NAMES),
)
#: how long a change that is just being distributed may make files differ
#: templates whose volumes all nodes see
_SHARED = frozenset({DiskTemplate.SHAREDFILE.value})
_SETTLE_TRIES, _SETTLE_S = 20, 0.25


class GroupFacts(msgspec.Struct, frozen=True, kw_only=True):
    group: Uuid
    nodes: tuple[Uuid, ...]  # in natural order of the names


@implements(OpClusterVerifyGroup)
class ClusterVerifyGroup(LogicalUnit[OpClusterVerifyGroup, GroupFacts]):
    """Result: whether there was no error, in the checks and in the hooks."""

    def locks(self, config: Config) -> LockPlan:
        group = config.group(self.op.group_name).uuid
        nodes = sorted(node.uuid for node in config.nodes.values() if node.group == group)
        # all instances: what is just being made or removed would look like a leftover
        return LockPlan.of(instances=shared(ALL), groups=shared(group), nodes=shared(*nodes), node_res=shared(*nodes))

    async def check(self, env: Env) -> GroupFacts:
        findings.known_codes(self.op.ignore_errors)
        known_skips(self.op.skip_checks)
        return self._members(env.config)

    def _members(self, config: Config) -> GroupFacts:
        group = config.group(self.op.group_name).uuid
        members = [node for node in config.nodes.values() if node.group == group]
        members.sort(key=lambda node: nice_key(node.name))
        return GroupFacts(group=group, nodes=tuple(node.uuid for node in members))

    def hooks(self, facts: GroupFacts, config: Config) -> HookPlan:
        environment = {"CLUSTER_TAGS": " ".join(sorted(config.cluster.tags))}
        for uuid in facts.nodes:
            node = config.nodes[uuid]
            environment[f"NODE_TAGS_{node.name}"] = " ".join(sorted(node.tags))
        online = tuple(uuid for uuid in facts.nodes if not config.nodes[uuid].offline)
        return HookPlan(environment=environment, pre=(), post=online)

    async def execute(self, facts: GroupFacts, env: Env) -> bool:
        op, config = self.op, env.config
        found = Findings(simulate=op.debug_simulate_errors, ignore=op.ignore_errors)
        nodes = [config.nodes[uuid] for uuid in facts.nodes]
        online = [node for node in nodes if not node.offline]
        env.report(f"* Verifying group '{config.groups[facts.group].name}'")
        env.report(f"* Gathering data ({len(online)} nodes)")
        answers = await _gather(env, config, online)
        is_well = True

        def told() -> bool:
            return tell(env, found.take(), with_codes=op.error_codes)

        for node in nodes:
            if node.offline:
                env.report(f"* Skipping offline node {node.name}")
                continue
            if op.verbose:
                env.report(f"* Verifying node {node.name} ({verify_nodes.role(config, node)})")
            verify_nodes.check_node(config, node, answers, found)
            own = answers.verify.get(node.uuid)
            if isinstance(own, VerifyReply):
                is_indebted = node.uuid in answers.indebted
                verify_host.check_host(config, node, own, answers.master_verify, found, is_indebted=is_indebted)
            is_well = told() and is_well
        verify_ssh.check(config, online, await verify_ssh.ask(env, config, online, foreign=op.verify_clutter), found)
        verify_nodes.check_trust(config, answers, found)
        verify_host.check_physical_volumes(config, config.groups[facts.group], answers.verify, found)
        verify_host.check_definitions(config, answers.definitions, found)
        verify_host.check_exclusion(config, online, found)
        env.report("* Verifying instance status")
        await in_slices(verify_nodes.check_instances(config, facts.group, answers, found))
        is_well = told() and is_well
        env.report("* Verifying orphan volumes and instances")
        await in_slices(verify_nodes.check_orphans(config, answers, found))
        is_well = told() and is_well
        if "nplusone_mem" not in op.skip_checks:
            env.report("* Verifying N+1 Memory redundancy")
            verify_nodes.check_takeover(config, facts.group, answers, found)
            is_well = told() and is_well
        env.report("* Other Notes")
        for note in verify_nodes.notes(config, facts.group, answers):
            env.report(note)
        return is_well

    def after_hooks(self, result: bool, failures: Sequence[tuple[str, str, str]], env: Env) -> bool:
        """A check can be extended by hooks: one that fails makes it fail."""
        env.report("* Hooks Results")
        ignored = "ENODEHOOKS" in self.op.ignore_errors
        found = [
            Finding(code="ENODEHOOKS", item=node, text=f"hook {script} failed: {output.strip()}", is_warning=ignored)
            for node, script, output in failures
        ]
        return tell(env, found, with_codes=self.op.error_codes) and result


async def _gather(env: Env, config: Config, online: Sequence[Node]) -> verify_nodes.Answers:
    nodes = [node.uuid for node in online]
    capable = [node.uuid for node in online if node.vm_capable]
    enabled = config.cluster.enabled_hypervisors
    asked = env.now()
    master = config.cluster.master_node
    versions = await env.rpc.many(dict.fromkeys([*nodes, master]), NodeVersion())
    answered = env.now()
    every = list(dict.fromkeys([*nodes, master]))
    verify_all, running, info, definitions, looks = await asyncio.gather(
        asyncio.gather(*(_verify(env, config, node, online) for node in every)),
        env.rpc.many(capable, InstanceList(hypervisors=enabled)),
        env.rpc.many(capable, NodeInfo(hypervisors=enabled)),
        env.rpc.many(capable, OsDiagnose()),
        disk_looks.look(env, _with_devices(config, nodes)),
    )
    verify = await _settled(env, master, dict(zip(every, verify_all, strict=True)))
    own, own_verify = versions[master], verify[master]
    master_verify = own_verify if isinstance(own_verify, VerifyReply) else None
    return verify_nodes.Answers(
        asked=asked,
        answered=answered,
        versions=versions,
        verify={node: verify[node] for node in nodes},
        guests=running,
        info=info,
        definitions=definitions,
        looks=looks[0],
        master=own if isinstance(own, VersionReply) else None,
        master_verify=master_verify,
        indebted=frozenset(undo.node for undo in env.debts),
    )


async def _verify(env: Env, config: Config, uuid: Uuid, online: Sequence[Node]) -> VerifyReply | errors.RpcError:
    """Each node is asked for what it needs."""
    node = config.nodes[uuid]
    templates = tuple(
        template.value for template in config.cluster.enabled_disk_templates if template is not DiskTemplate.DISKLESS
    )
    question = NodeVerify(
        files=FILES,
        hypervisors={name: guests.cluster_hvparams(config, name) for name in config.cluster.enabled_hypervisors},
        templates=templates,
        # what all nodes share is looked at once
        strays_of=templates if uuid == config.cluster.master_node else tuple(sorted({*templates} - _SHARED)),
        reach={each.name: each.primary_ip for each in online},
        reach_secondary={each.name: each.secondary_ip for each in online if _has_two(each)} if _has_two(node) else {},
        secondary_ip=node.secondary_ip if _has_two(node) else "",
        bridges=verify_host.bridges(config, node) if node.vm_capable else (),
        devices=verify_host.devices(config, node),
        allocators=verify_host.allocators(config, node),
        programs=verify_host.programs(config, node),
        helper=helpers.of_cluster(config) if node.vm_capable else None,
        mirrors=node.vm_capable and verify_host.uses_mirrors(config),
        physical_volumes=verify_host.has_whole_volumes(config, node),
    )
    return (await env.rpc.many([uuid], question))[uuid]


def _has_two(node: Node) -> bool:
    """Whether its mirrors have a network of their own."""
    return node.secondary_ip not in ("", node.primary_ip)


Replies = dict[Uuid, VerifyReply | errors.RpcError]


async def _settled(env: Env, master: Uuid, replies: Replies) -> Replies:
    """Files that differ are looked at again for a while: a change may be on its way."""
    for _ in range(_SETTLE_TRIES):
        own = replies[master]
        if not isinstance(own, VerifyReply):
            break
        wrong = [
            node
            for node, reply in replies.items()
            if isinstance(reply, VerifyReply) and any(reply.files.get(path) != own.files[path] for path in own.files)
        ]
        if not wrong:
            break
        await env.sleep(_SETTLE_S)
        for node, again in (await env.rpc.many([master, *wrong], NodeVerify(files=FILES))).items():
            old = replies[node]
            if isinstance(again, VerifyReply) and isinstance(old, VerifyReply):
                replies[node] = msgspec.structs.replace(old, files=again.files)
    return replies


def _with_devices(config: Config, nodes: Sequence[Uuid]) -> list[Instance]:
    """Instances of these nodes whose disks are more than files, which are listed in another way."""
    return [
        config.instances[uuid]
        for node in nodes
        for uuid in sorted(config.primaries.get(node, ()))
        if any(disk.template not in FILE_TEMPLATES for disk in config.instances[uuid].disks)
    ]
