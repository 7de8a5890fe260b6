"""How a guest is started, and what becomes of a start that was interrupted.

The wish comes first: the instance is marked up, in one batch with a `Resolve` record, then
the guest is started. When the master dies in between, the new one asks the node what became of the start
and goes on with it. A start that the node refused is not repeated: the instance stays marked up, its disks are
closed, and the watcher tries again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestState, InstanceInfo, InstanceStart, InstanceStop
from ganeti.calls.task import TaskPoll
from ganeti.logic import guests, mirrors
from ganeti.logic.base import RESOLVERS, Env
from ganeti.logic.steps import Commit, Effect, OnFailure, Record, Step
from ganeti.model.config import Config
from ganeti.model.jobs import Resolve
from ganeti.model.objects import AdminState, Instance, Params, Put
from ganeti.model.types import RequestId, Uuid

PROCEDURE = "instance-start"


def marked(instance: Instance, state: AdminState, *, disks_active: bool, source: str = "admin") -> Instance:
    return msgspec.structs.replace(
        instance, admin_state=state, admin_state_source=source, disks_active=disks_active and bool(instance.disks)
    )


def steps(
    config: Config,
    env: Env,
    instance: Instance,
    *,
    hv: Params | None = None,
    be: Params | None = None,
    paused: bool = False,
    remember: bool = True,
    commit: Commit | None = None,
    before: Sequence[Step] = (),
    ignore_secondaries: bool = False,
) -> list[Step]:
    """Mark up, do `before` (such as the stop of a full reboot), start.

    `commit`: the configuration does not have the instance as it is given here (it is new, or elsewhere yet); the first
    step is then this commit, with the instance marked up.
    """
    request = env.new_request()
    up = marked(instance, AdminState.UP, disks_active=True)
    node = config.nodes[instance.primary_node]
    resolve = Resolve(
        procedure=PROCEDURE,
        arguments={"instance": instance.uuid, "request": request, "hv": hv or {}, "be": be or {}, "paused": paused},
        title=f"start of {instance.name}",
    )
    # both halves of a mirror listen before one becomes primary
    secondaries = [uuid for uuid in instance.secondary_nodes if not config.nodes[uuid].offline]
    on_failure = OnFailure.WARN if ignore_secondaries else OnFailure.UNDO
    made: list[Step] = mirrors.assemble(config, env, instance, secondaries, on_failure=on_failure)
    undo = None
    if not remember:
        # nothing in the configuration says that it shall run, so a half start is taken back
        undo = InstanceStop(
            name=instance.name,
            uuid=instance.uuid,
            hypervisor=instance.hypervisor,
            timeout=0,
            disks=instance.disks,
            request=env.new_request(),
            undoes=request,
        )
    elif commit is not None:
        made.append(
            msgspec.structs.replace(
                commit, changes=(*commit.changes, Put(up)), recoveries=(*commit.recoveries, resolve)
            )
        )
    elif up != instance:
        made.append(Commit(title=f"mark {instance.name} up", changes=(Put(up),), recoveries=(resolve,)))
    else:
        made.append(Record(resolve=resolve))
    made += before
    start = InstanceStart(spec=guests.guest_spec(config, up, hv=hv, be=be), paused=paused, request=request)
    made.append(Effect(title=f"start {instance.name} on {node.name}", node=node.uuid, call=start, undo=undo))
    return made


async def resolve_start(arguments: dict[str, Any], env: Env) -> Iterable[str]:
    """Finish a start that was interrupted; leave one that the node refused."""
    config = env.config
    instance = config.instances.get(Uuid(str(arguments["instance"])))
    if instance is None:
        return ["the instance is gone, there is nothing to start"]
    node = config.nodes[instance.primary_node]
    try:
        if await ended(env, node.uuid, RequestId(str(arguments["request"]))) == "failed":
            return [f"{instance.name} was not started; it stays marked up: start it with gnt-instance startup"]
        if await runs(env, node.uuid, instance):
            return [f"{instance.name} runs on {node.name}"]
        await start_now(config, env, instance, arguments)
    except errors.RpcError as err:
        return [f"{instance.name} could not be started: {err}; it stays marked up: start it with gnt-instance startup"]
    return [f"{instance.name} was started on {node.name}"]


async def ended(env: Env, node: Uuid, request: RequestId) -> str:
    """Wait for the end of a call that was made before: done, failed, or unknown to the node. Raises RpcError."""
    while True:
        # the node holds the poll for some seconds
        state = (await env.rpc.one(node, TaskPoll(request=request))).state
        if state != "running":
            return state


async def runs(env: Env, node: Uuid, instance: Instance) -> bool:
    """Raises RpcError."""
    question = InstanceInfo(name=instance.name, uuid=instance.uuid, hypervisor=instance.hypervisor)
    guest = await env.rpc.one(node, question)
    return guest is not None and guest.state in (GuestState.RUNNING, GuestState.PAUSED)


async def start_now(config: Config, env: Env, instance: Instance, arguments: dict[str, Any]) -> None:
    """Outside a plan; it may run already. Raises RpcError."""
    spec = guests.guest_spec(config, instance, hv=arguments.get("hv"), be=arguments.get("be"))
    start = InstanceStart(spec=spec, paused=bool(arguments.get("paused")), request=env.new_request())
    await env.rpc.one(instance.primary_node, start)


RESOLVERS[PROCEDURE] = resolve_start
