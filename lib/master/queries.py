"""Answers clients' questions from one snapshot, with what the nodes must tell; takes no locks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.port import Rpc
from ganeti.host.clock import Clock
from ganeti.master import cluster_info, live
from ganeti.master.filler import Filler, hv_fields, nd_fields
from ganeti.master.jobs import Obstacle
from ganeti.master.locks import LockRow
from ganeti.master.plan_text import lock_name
from ganeti.master.state import State
from ganeti.model.config import Config
from ganeti.model.jobs import ArchivedJob, Job, LogEntry
from ganeti.model.objects import Node
from ganeti.model.types import JobId
from ganeti.ops.catalogue import REGISTRY
from ganeti.query import group, instance, job, job_filter, node, os, others
from ganeti.query.fields import Need, Resource
from ganeti.query.run import CHUNK, Query, Row, chunks, classic, describe, find
from ganeti.query.view import JobRow, Live, Order, View, WaitsFor
from ganeti.query.view import LockRow as ListedLock

#: longest time that rows are made without letting others run, in seconds
SLICE_S = 0.004

# From the archive, in ascending order; None: all of it.
Archive = Callable[[Sequence[JobId] | None], Awaitable[Sequence[ArchivedJob]]]


async def _no_archive(_: Sequence[JobId] | None) -> Sequence[ArchivedJob]:
    return ()


def resources() -> dict[str, Resource]:
    """Everything that can be listed."""
    every = (
        instance.resource(hv_fields()),
        node.resource(nd_fields()),
        group.resource(nd_fields()),
        job.resource(op_summary),
        others.LOCK,
        others.NETWORK,
        others.EXPORT,
        others.CLUSTER,
        os.OS,
        job_filter.FILTER,
        os.EXTSTORAGE,
    )
    return {resource.name: resource for resource in every}


def op_summary(wire_form: Mapping[str, Any]) -> str:
    """Short text of a stored opcode, such as INSTANCE_STARTUP(web1). Any: JSON."""
    op_id = str(wire_form.get("OP_ID", ""))
    declaration = REGISTRY.get(op_id)
    field = declaration.summary if declaration else ""
    value = wire_form.get(field) if field else None
    return op_id.removeprefix("OP_") + (f"({value})" if value else "")


class Queries:
    """All methods belong to the loop. Large answers are made in slices."""

    def __init__(
        self,
        state: State,
        rpc: Rpc,
        locks_rows: Callable[[], Sequence[LockRow]],
        clock: Clock,
        *,
        archive: Archive = _no_archive,
        obstacles: Callable[[JobId], Sequence[Obstacle]] = lambda _: (),
        waiting_s: Callable[[JobId], float | None] = lambda _: None,
    ) -> None:
        """`obstacles` of a live job; `waiting_s`: how long it has waited for its locks."""
        self._state = state
        self._ask = live.Asker(rpc, clock.monotonic)
        self._locks_rows = locks_rows
        self._clock = clock
        self._archive = archive
        self._obstacles = obstacles
        self._waiting_s = waiting_s
        self._resources = resources()
        self._order = Order()
        self._filler: tuple[Config, Filler] | None = None

    async def query(self, what: str, fields: Sequence[str], qfilter: Any) -> dict[str, Any]:
        """`{"fields": definitions, "data": rows of [status, value]}`. Any: JSON."""
        made = await self._made(self._resource(what), fields, qfilter)
        view, objects = await self._collect(made, made.requested, once=True)
        return {"fields": made.definitions(), "data": await self._rows(made.rows, view, objects)}

    async def classic(self, what: str, names: Sequence[str | int] | None, fields: Sequence[str]) -> list[Row]:
        """Rows of plain values; names empty: all. Raises PrereqError for unknown fields or names."""
        made = classic(self._resource(what), fields)
        requested = list(names) if names and made.resource.has_names else None
        view, objects = await self._collect(made, requested, once=False)
        return await self._rows(made.plain_rows, view, objects)

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Any]:
        return {"fields": describe(self._resource(what), fields)}

    def job_values(self, shown: Job, log: Sequence[LogEntry], fields: Sequence[str]) -> list[Any]:
        """One job's plain values. Raises PrereqError for unknown fields. Any: JSON."""
        made = classic(self._resources["job"], fields)
        return made.plain_rows(self._view(), [self._live_row(shown, log)])[0]

    def cluster_info(self) -> dict[str, Any]:
        return cluster_info.describe(self._state.config)

    def config_values(self, fields: Sequence[str]) -> list[Any]:
        """Unknown ones are None."""
        values = cluster_info.config_values(self._state.config, self._state.flags)
        return [values.get(name) for name in fields]

    def config_value_names(self) -> Sequence[str]:
        return tuple(cluster_info.config_values(self._state.config, self._state.flags))

    def tags(self, kind: str, name: str) -> list[str]:
        """Raises PrereqError for an unknown kind or object."""
        config = self._state.config
        look_up: dict[str, Callable[[str], Any]] = {
            "cluster": lambda _: config.cluster,
            "node": config.node,
            "nodegroup": config.group,
            "instance": config.instance,
            "network": config.network,
        }
        if kind not in look_up:
            raise errors.PrereqError(
                "wrong_input", f"{kind!r} has no tags", hint="tags are on " + ", ".join(look_up) + " objects"
            )
        return sorted(look_up[kind](name).tags)

    # How an answer is made

    def _resource(self, what: str) -> Resource:
        found = self._resources.get(what)
        if found is None:
            raise errors.PrereqError(
                "wrong_input",
                f"there is nothing called {what!r} to list",
                hint="there are " + ", ".join(self._resources),
            )
        return found

    async def _made(self, resource: Resource, fields: Sequence[str], qfilter: Any) -> Query:
        if isinstance(qfilter, list) and len(qfilter) > CHUNK:
            return await asyncio.to_thread(Query, resource, fields, qfilter)
        return Query(resource, fields, qfilter)

    def _filled(self, config: Config) -> Filler:
        if self._filler is None or self._filler[0] is not config:
            self._filler = (config, Filler(config))
        return self._filler[1]

    def _view(
        self, archived: Mapping[JobId, ArchivedJob] | None = None, *, live: Mapping[JobId, Job] | None = None
    ) -> View:
        config, state, old = self._state.config, self._state, archived or {}
        jobs = state.jobs if live is None else live

        def one(wanted: JobId) -> JobRow | None:
            if wanted in jobs:
                return self._live_row(jobs[wanted], state.logs.get(wanted, ()))
            found = old.get(wanted)
            return JobRow(wanted, found.job, found.log, True) if found else None

        return View(
            config,
            self._filled(config),
            order=self._order,
            jobs=one,
            all_jobs=lambda: [row for row in map(one, sorted(jobs.keys() | old.keys())) if row],
            locks=lambda: [self._listed(lock, config) for lock in self._locks_rows()],
            flags=state.flags,
            filters=state.filters,
            now=self._clock.time(),
        )

    def _live_row(self, shown: Job, log: Sequence[LogEntry]) -> JobRow:
        def waits_for() -> list[WaitsFor]:
            config = self._state.config
            return [
                (found.kind, lock_name(found.lock, config) if found.lock else None, found.job)
                for found in self._obstacles(shown.id)
            ]

        return JobRow(shown.id, shown, log, waits_for=waits_for)

    def _listed(self, lock: LockRow, config: Config) -> ListedLock:
        """A lock as clients see it: names instead of uuids."""
        mode = ("exclusive" if lock.is_exclusive else "shared") if lock.owners else None
        pending = [("exclusive" if waiter.is_exclusive else "shared", [str(waiter.job)]) for waiter in lock.pending]
        waited = [self._waiting_s(waiter.job) or 0.0 for waiter in lock.pending]
        return ListedLock(
            name=lock_name(lock.key, config),
            mode=mode,
            owners=[str(owner) for owner in lock.owners],
            pending=pending,
            waited=waited,
        )

    async def _collect(
        self, made: Query, requested: Sequence[str | int] | None, *, once: bool
    ) -> tuple[View, list[Any]]:
        """The view with its live data, and the objects to show."""
        archived = await self._from_archive(made, requested)
        # they are looked up in slices: between two of them jobs may come, change and go
        live = dict(self._state.jobs) if requested is not None and len(requested) > CHUNK else None
        view = self._view(archived, live=live)
        if made.resource.source is not None:
            view.live = await self._source(made.resource.source, view, requested)
        if requested is not None:
            objects = await self._found(made.resource, view, requested, once=once)
        else:
            every = made.every(view)
            objects = await self._kept(made, view, every, with_live=False)
        live_needs = made.needs - {Need.ARCHIVE}
        if live_needs:
            view.live = await self._live(live_needs, view, objects)
            objects = await self._kept(made, view, objects, with_live=True)
        return view, objects

    async def _found(self, resource: Resource, view: View, names: Sequence[str | int], *, once: bool) -> list[Any]:
        """As `find`."""
        pace, every, unique = _Pace(self._clock), [], {}
        for part in chunks(names):
            found = find(resource, view, part)
            if once:
                unique.update({resource.identity(obj): obj for obj in found})
            else:
                every += found
            await pace.breathe()
        return list(unique.values()) if once else every

    async def _from_archive(
        self, made: Query, requested: Sequence[str | int] | None
    ) -> dict[JobId, ArchivedJob] | None:
        if Need.ARCHIVE not in made.needs:
            return None
        wanted: list[JobId] | None = None
        if requested is not None:
            wanted = [found for found in map(job.job_id, requested) if found not in self._state.jobs]
        return {found.job.id: found for found in await self._archive(wanted)}

    async def _source(self, source: Need, view: View, requested: Sequence[str | int] | None) -> Live:
        """Objects that only nodes know."""
        if source is Need.OSES:
            return await live.oses(self._ask, view.config)
        if source is Need.PROVIDERS:
            return await live.providers(self._ask, view.config)
        nodes: Iterable[Node] = self._order.of("node", view.config.nodes)
        if requested is not None:
            named = (view.config.node(str(name)) for name in requested)
            nodes = {node.uuid: node for node in named}.values()
        return await live.exports(self._ask, list(nodes))

    async def _live(self, needs: set[Need], view: View, objects: Sequence[Any]) -> Live:
        if Need.NODES in needs:
            return await live.nodes(self._ask, view.config, objects)
        found = await live.guests(self._ask, view.config, objects)
        if Need.CONSOLE in needs:
            filler = self._filled(view.config)
            consoles = await live.consoles(self._ask, view.config, filler, objects, found)
            found = msgspec.structs.replace(found, consoles=consoles)
        return found

    async def _kept(self, made: Query, view: View, objects: Sequence[Any], *, with_live: bool) -> list[Any]:
        if made.filter is None:
            return list(objects)
        pace, kept = _Pace(self._clock), []
        for part in chunks(objects):
            kept += made.select(view, part, with_live=with_live)
            await pace.breathe()
        return kept

    async def _rows(
        self, make: Callable[[View, Sequence[Any]], list[Row]], view: View, objects: Sequence[Any]
    ) -> list[Row]:
        pace, rows = _Pace(self._clock), []
        for part in chunks(objects, CHUNK):
            rows += make(view, part)
            await pace.breathe()
        return rows


class _Pace:
    """Lets others run when enough time has gone by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since = clock.monotonic()

    async def breathe(self) -> None:
        if self._clock.monotonic() - self._since >= SLICE_S:
            await asyncio.sleep(0)
            self._since = self._clock.monotonic()
