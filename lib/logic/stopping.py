"""How a guest is stopped, and what becomes of a stop that was interrupted: it is finished."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ganeti import errors
from ganeti.calls.base import ChangingCall
from ganeti.calls.instance import InstanceStop
from ganeti.calls.volume import VolumeClose
from ganeti.logic import mirrors
from ganeti.logic.base import RESOLVERS, Env
from ganeti.logic.steps import Effect, OnFailure, Step
from ganeti.model.config import Config
from ganeti.model.jobs import Resolve
from ganeti.model.objects import Disk, Instance
from ganeti.model.types import RequestId, Uuid

PROCEDURE = "instance-stop"


def stop(env: Env, config: Config, instance: Instance, timeout: int, on_failure: OnFailure) -> Effect:
    """Asks the guest first; `timeout` in seconds."""
    return Effect(
        title=f"stop {instance.name} on {config.nodes[instance.primary_node].name}",
        node=instance.primary_node,
        call=stop_call(env, instance, timeout),
        on_failure=on_failure,
    )


def close_secondaries(config: Config, env: Env, instance: Instance) -> list[Step]:
    """The other halves of its mirrors, once nothing runs; what cannot be closed is warned of."""
    nodes = [uuid for uuid in instance.secondary_nodes if not config.nodes[uuid].offline]

    def make(disk: Disk, request: RequestId) -> tuple[ChangingCall[Any], None]:
        return VolumeClose(disk=disk, owner=instance.uuid, request=request), None

    disks, title = mirrors.of(instance), "close {disk} on {node}"
    return mirrors.on_disks(config, env, instance, disks, nodes, title=title, make=make, on_failure=OnFailure.WARN)


def stop_call(env: Env, instance: Instance, timeout: int) -> InstanceStop:
    return InstanceStop(
        name=instance.name,
        uuid=instance.uuid,
        hypervisor=instance.hypervisor,
        timeout=timeout,
        disks=instance.disks,
        request=env.new_request(),
    )


def resolve_record(instance: Instance, timeout: int) -> Resolve:
    return Resolve(
        procedure=PROCEDURE,
        arguments={"instance": instance.uuid, "timeout": timeout},
        title=f"stop of {instance.name}",
    )


async def resolve_stop(arguments: dict[str, Any], env: Env) -> Iterable[str]:
    """The instance is marked down already, so it is stopped for good."""
    instance = env.config.instances.get(Uuid(str(arguments["instance"])))
    if instance is None:
        return ["the instance is gone, there is nothing to stop"]
    try:
        await env.rpc.one(instance.primary_node, stop_call(env, instance, int(arguments["timeout"])))
    except errors.RpcError as err:
        return [f"{instance.name} is marked down but could not be stopped: {err}"]
    for node in instance.secondary_nodes:
        for disk in mirrors.of(instance):
            try:
                await env.rpc.one(node, VolumeClose(disk=disk, owner=instance.uuid, request=env.new_request()))
            except errors.RpcError as err:
                return [f"{instance.name} was stopped; a disk stays open: {err}"]
    return [f"{instance.name} was stopped"]


RESOLVERS[PROCEDURE] = resolve_stop
