"""OP_TEST_ALLOCATOR."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.logic import devices, placement
from ganeti.logic.allocation import (
    Allocate,
    AllocateSecondary,
    ChangeGroup,
    Evacuate,
    MultiAllocate,
    NewDisk,
    NewNic,
    NodeEvacuate,
    Relocate,
    Request,
)
from ganeti.logic.base import Env, LogicalUnit, implements
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, shared
from ganeti.model.objects import DiskTemplate
from ganeti.ops.allocation import OpTestAllocator


class TrialFacts(msgspec.Struct, frozen=True, kw_only=True):
    request: Request[Any]  # Any: of whatever kind
    allocator: str  # empty: only the question is wanted


@implements(OpTestAllocator)
class TestAllocator(LogicalUnit[OpTestAllocator, TrialFacts]):
    """Reserves nothing, changes nothing."""

    def locks(self, config: Config) -> LockPlan:
        return LockPlan.of(nodes=shared(ALL), node_res=shared(ALL))

    async def check(self, env: Env) -> TrialFacts:
        op, config = self.op, env.config
        if op.direction == "in" and op.iallocator:
            raise errors.PrereqError(
                "wrong_input", "an allocator was named, but only its input is wanted", hint="add --dir out to ask it"
            )
        allocator = placement.named(config, op.iallocator) if op.direction == "out" else ""
        return TrialFacts(request=self._request(config), allocator=allocator)

    def _request(self, config: Config) -> Request[Any]:
        op = self.op
        if op.mode == "allocate":
            return self._new(config, self._one_name())
        if op.mode == "multi-allocate":
            name = self._one_name()
            return MultiAllocate(instances=tuple(self._new(config, f"{name}{number}") for number in range(op.count)))
        if op.mode == "relocate":
            return Relocate(instance=config.instance(self._one_name()).uuid)
        if op.mode == "allocate-secondary":
            return AllocateSecondary(instance=config.instance(self._one_name()).uuid)
        names = op.instances or ((op.name,) if op.name else ())
        if not names:
            raise errors.PrereqError("wrong_input", "no instances were given")
        instances = tuple(config.instance(name).uuid for name in names)
        if op.mode == "node-evacuate":
            return NodeEvacuate(instances=instances, mode=Evacuate(op.evac_mode))
        return ChangeGroup(instances=instances, groups=tuple(config.group(name).uuid for name in op.target_groups))

    def _one_name(self) -> str:
        if not self.op.name:
            raise errors.PrereqError("wrong_input", f"mode {self.op.mode} needs the name of an instance")
        return self.op.name

    def _new(self, config: Config, name: str) -> Allocate:
        op = self.op
        if name.lower() in config.instance_names:
            raise errors.PrereqError("already_exists", f"there is already an instance called {name!r}")
        enabled = config.cluster.enabled_disk_templates
        template = op.disk_template or (enabled[0] if enabled else DiskTemplate.DISKLESS)
        disks = () if template is DiskTemplate.DISKLESS else devices.disks(op.disks, template)
        be = params.filled_be(config, {})
        nics = devices.nics(op.nics, config)
        filled = [params.filled_nic(config, nic.params) for nic in nics]
        return Allocate(
            name=name,
            hypervisor=op.hypervisor or config.cluster.enabled_hypervisors[0],
            template=template,
            memory=be["maxmem"] if op.memory is None else op.memory,
            vcpus=be["vcpus"] if op.vcpus is None else op.vcpus,
            spindle_use=op.spindle_use,
            disks=tuple(NewDisk(size=disk.size, mode=disk.mode) for disk in disks),
            nics=tuple(
                NewNic(mac=nic.mac, ip=nic.ip, mode=values["mode"], link=values["link"])
                for nic, values in zip(nics, filled, strict=True)
            ),
            tags=op.tags,
            os=op.os,
            group=config.group(op.group_name).uuid if op.group_name else None,
        )

    async def execute(self, facts: TrialFacts, env: Env) -> str:
        return await env.try_allocator(facts.request, facts.allocator)
