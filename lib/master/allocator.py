"""Instance allocation: nodes are asked, the allocator decides, what it takes is reserved.

The built-in allocator decides and reserves in one step of the loop. Others run on the master node, one after another;
what they answer is checked against what was reserved meanwhile, and they are asked again when it does not fit any more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

from ganeti import errors
from ganeti.calls.iallocator import NAME, IallocatorReply, IallocatorRun
from ganeti.calls.instance import InstanceList
from ganeti.calls.node import NodeInfo
from ganeti.calls.port import Rpc
from ganeti.logic import capacity, evacuation, iallocator, placement
from ganeti.logic.allocation import (
    Allocate,
    AllocateSecondary,
    ChangeGroup,
    MultiAllocate,
    MultiPlaced,
    NodeEvacuate,
    Placed,
    Relocate,
    Request,
)
from ganeti.logic.capacity import Picture, Promise, Told
from ganeti.logic.placement import Scene
from ganeti.model.config import Config
from ganeti.model.objects import AdminState, DiskTemplate
from ganeti.model.types import JobId, Uuid

A = TypeVar("A")

#: what nodes told serves other decisions so long, in seconds
FRESH_S = 1.0
#: how often an external allocator is asked when others were faster
_TRIES = 3

_DECIDE: Mapping[type[Request[Any]], Callable[[Scene, Any], Any]] = {
    Allocate: placement.allocate,
    MultiAllocate: placement.multi_allocate,
    Relocate: placement.relocate,
    AllocateSecondary: placement.secondary,
    NodeEvacuate: evacuation.node_evacuate,
    ChangeGroup: evacuation.change_group,
}


class Asker(Protocol):
    """The operation that asks."""

    @property
    def config(self) -> Config: ...
    @property
    def job(self) -> JobId: ...
    @property
    def rpc(self) -> Rpc: ...
    @property
    def rng(self) -> random.Random: ...
    def warn(self, message: str, *, hint: str = "") -> None: ...


class Promises(Protocol):
    def promise(self, job: JobId, promises: Iterable[Promise]) -> None: ...
    def promises(self, *, besides: JobId) -> Sequence[Promise]: ...


class Allocator:
    def __init__(self, *, fresh_s: float = FRESH_S) -> None:
        self._turn = asyncio.Lock()
        self._fresh_s = fresh_s
        # the newest question to the nodes, with what it asks and when it began; None as answer: it was given up
        self._shared: tuple[object, float, asyncio.Future[_Look | None]] | None = None

    async def allocate(self, env: Asker, promises: Promises, request: Request[A], name: str) -> A:
        if name == placement.BUILTIN:
            answer = await self._builtin(env, promises, request)
            # no await since the decision: what was chosen is reserved before another job can choose
        else:
            async with self._turn:
                answer = await self._external(env, promises, request, name)
        promises.promise(env.job, _taken(env.config, request, answer))
        for warning in answer.warnings if isinstance(answer, Placed) else ():
            env.warn(warning)
        return answer

    async def _builtin(self, env: Asker, promises: Promises, request: Request[A]) -> A:
        look = await self._recent_look(env, request)
        try:
            return _decide(env, look, promises, request)
        except errors.PrereqError:
            # what has been given back since then may be just enough
            return _decide(env, await _look(env, request), promises, request)

    async def _recent_look(self, env: Asker, request: Request[Any]) -> _Look:
        """Jobs that begin together ask the nodes once: what happened since then is known without them."""
        loop = asyncio.get_running_loop()
        asked = (_needs(env.config, request), frozenset(_asked_nodes(env.config)))
        known = self._shared
        if known is not None and known[0] == asked and loop.time() - known[1] < self._fresh_s:
            if not known[2].done():
                await asyncio.wait({known[2]})
            found = known[2].result()
            if found is not None:
                return found
        answer: asyncio.Future[_Look | None] = loop.create_future()
        self._shared = (asked, loop.time(), answer)
        try:
            found = await _look(env, request)
            answer.set_result(found)
            return found
        finally:
            if not answer.done():
                answer.set_result(None)

    async def trial(self, env: Asker, promises: Promises, request: Request[Any], name: str) -> str:
        """What it answers, as it says it; without a name: what it would be given."""
        look = await _look(env, request)
        picture = look.picture(env, promises)
        if not name:
            return iallocator.question(env.config, picture, request)
        if name != placement.BUILTIN:
            async with self._turn:
                text = iallocator.question(env.config, picture, request)
                return iallocator.said(name, await _run(env, name, text, request))
        try:
            return iallocator.told(env.config, request, _decide(env, look, promises, request))
        except errors.PrereqError as err:
            return iallocator.refused(err.message)

    @staticmethod
    async def _external(env: Asker, promises: Promises, request: Request[A], name: str) -> A:
        for left in reversed(range(_TRIES)):
            look = await _look(env, request)
            config = env.config
            text = iallocator.question(config, look.picture(env, promises), request)
            reply = await _run(env, name, text, request)
            answer = iallocator.answer(env.config, request, name, reply)
            why = _problem(env.config, look.picture(env, promises), request, answer)
            if not why:
                return answer
            if not left:
                raise errors.PrereqError("insufficient_resources", f"allocator {name} chose what does not fit: {why}")
        raise AssertionError("not reached")


async def _run(env: Asker, name: str, question: str, request: Request[Any]) -> IallocatorReply:
    """Raises PrereqError(environment_error) when it cannot be run or does not come to an end."""
    if not NAME.match(name):
        raise errors.PrereqError("wrong_input", f"not the name of an allocator: {name[:80]!r}")
    cluster = env.config.cluster
    options = iallocator.options(cluster.default_iallocator_params, request)
    try:
        return await env.rpc.one(cluster.master_node, IallocatorRun(name=name, request=question, options=options))
    except errors.RpcError as err:
        raise errors.PrereqError(
            "environment_error", f"allocator {name} cannot be asked: {err}", hint=err.hint
        ) from err


def _decide(env: Asker, look: _Look, promises: Promises, request: Request[A]) -> A:
    scene = Scene(config=env.config, picture=look.picture(env, promises), rng=env.rng)
    return cast("A", _DECIDE[type(request)](scene, request))


class _Look:
    """What the nodes told, and the configuration of when they were asked."""

    def __init__(self, told: Mapping[Uuid, Told | str], asked_at: Config) -> None:
        self._told = told
        self._asked_at = asked_at

    def picture(self, env: Asker, promises: Promises) -> Picture:
        others = promises.promises(besides=env.job)
        return capacity.draw(env.config, self._told, others, asked_at=self._asked_at)


async def _look(env: Asker, request: Request[Any]) -> _Look:
    config = env.config
    hypervisors, templates = _needs(config, request)
    nodes = _asked_nodes(config)
    info, guests = await asyncio.gather(
        env.rpc.many(nodes, NodeInfo(hypervisors=hypervisors, templates=templates)),
        env.rpc.many(
            [node for node in nodes if _has_running(config, node)],
            InstanceList(hypervisors=tuple(config.cluster.enabled_hypervisors)),
        ),
    )
    told: dict[Uuid, Told | str] = {}
    for node, answer in info.items():
        name = config.nodes[node].name
        running = guests.get(node)
        if isinstance(answer, errors.RpcError):
            told[node] = str(answer)
        elif isinstance(running, errors.RpcError):
            told[node] = str(running)
        elif running is not None and running.errors:
            told[node] = f"node {name} does not tell its instances: {min(running.errors.values())}"
        elif not all(hypervisor in answer.hypervisors for hypervisor in hypervisors):
            why = "; ".join(answer.errors) or "it does not say why"
            told[node] = f"node {name} does not tell its memory: {why}"
        else:
            found = {guest.uuid: guest.memory for guest in running.guests} if running is not None else {}
            told[node] = Told(hypervisors=answer.hypervisors, storage=answer.storage, guests=found)
    return _Look(told, config)


def _asked_nodes(config: Config) -> list[Uuid]:
    return [node.uuid for node in config.nodes.values() if node.vm_capable and not node.offline]


def _has_running(config: Config, node: Uuid) -> bool:
    return any(config.instances[uuid].admin_state is AdminState.UP for uuid in config.primaries.get(node, ()))


def _needs(config: Config, request: Request[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hypervisors and templates whose memory and space are needed."""
    hypervisors, templates = {iallocator.hypervisor(config, request)}, set()
    if isinstance(request, Allocate | MultiAllocate):
        for one in request.instances if isinstance(request, MultiAllocate) else (request,):
            hypervisors.add(one.hypervisor)
            templates.add(one.template)
    else:
        uuids: Iterable[Uuid] = ()
        if isinstance(request, NodeEvacuate | ChangeGroup):
            uuids = request.instances
        elif isinstance(request, Relocate | AllocateSecondary):
            uuids = (request.instance,)
            if isinstance(request, AllocateSecondary):
                templates.add(DiskTemplate.DRBD)
        for uuid in uuids:
            instance = config.instances[uuid]
            hypervisors.add(instance.hypervisor)
            templates.update(disk.template for disk in instance.disks)
    spaces = sorted(template.value for template in templates if template not in capacity.SPACELESS)
    return tuple(sorted(hypervisors)), tuple(spaces)


def _taken(config: Config, request: Request[Any], answer: Any) -> list[Promise]:
    """What is to be reserved for the answer. Any: of the request's own kind."""
    if isinstance(request, Allocate) and isinstance(answer, Placed):
        return placement.promises_of(request, answer.nodes)
    if isinstance(request, Relocate) and isinstance(answer, Placed):
        return [placement.promise_of_move(config, request, answer.nodes[0])]
    return []


def _problem(config: Config, picture: Picture, request: Request[Any], answer: Any) -> str:
    """Why the answer of an external allocator cannot be had, or empty. Any: of the request's own kind."""
    if isinstance(request, Allocate) and isinstance(answer, Placed):
        return placement.problem(picture, placement.demand_of(request), answer.nodes)
    if isinstance(request, MultiAllocate) and isinstance(answer, MultiPlaced):
        wanted = {one.name: one for one in request.instances}
        for found in answer.placed:
            why = placement.problem(picture, placement.demand_of(wanted[found.name]), found.nodes)
            if why:
                return why
            for promise in placement.promises_of(wanted[found.name], found.nodes):
                picture.take(promise)
    if isinstance(request, Relocate) and isinstance(answer, Placed):
        instance = config.instances[request.instance]
        demand = placement.demand_of_instance(config, instance, memory=request.memory)
        return placement.problem(picture, demand, answer.nodes, is_primary=not placement.is_mirrored(instance))
    return ""
