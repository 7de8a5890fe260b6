"""Handlers of calls about live migration."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.migration import (
    Departure,
    Endpoint,
    Half,
    MigrationAbort,
    MigrationCheck,
    MigrationFinish,
    MigrationPreflight,
    MigrationPrepare,
    MigrationRun,
    MigrationSourceDone,
    MigrationState,
    Obstacles,
    Side,
)
from ganeti.hypervisor.base import Migration
from ganeti.model.disks import is_mirror
from ganeti.model.objects import Instance
from ganeti.node import guests, volumes
from ganeti.node.base import Context, NodeEnv, handles


def _migration(hypervisor: str, env: NodeEnv) -> Migration:
    found = guests.hypervisor(hypervisor, env).migration
    if found is None:
        raise errors.NodeFailure(f"guests of hypervisor {hypervisor} cannot migrate")
    return found


@handles(MigrationPreflight)
def preflight(call: MigrationPreflight, env: NodeEnv, context: Context) -> Departure | None:
    return _migration(call.hypervisor, env).departure(call.name, call.uuid)


@handles(MigrationCheck)
def check(call: MigrationCheck, env: NodeEnv, context: Context) -> Obstacles:
    instance = call.departure.spec.instance
    found = _migration(instance.hypervisor, env).check(call.departure, call.tuning)
    problems = (*_other_guests(instance, env), *_missing_disks(instance, env), *found.problems)
    return Obstacles(problems=problems, version=found.version)


def _other_guests(instance: Instance, env: NodeEnv) -> list[str]:
    others = [(name, driver) for name, driver in env.hypervisors.items() if name != instance.hypervisor]
    return [
        f"a guest named {instance.name} runs here under {name}"
        for name, driver in others
        if driver.info(instance.name, "") is not None
    ]


def _missing_disks(instance: Instance, env: NodeEnv) -> list[str]:
    problems = []
    for index, disk in enumerate(instance.disks):
        try:
            found = volumes.storage_of(disk, env).info(disk, instance.uuid)
        except errors.GanetiError as err:
            problems.append(f"disk {index}: {err}")
            continue
        if not found.exists:
            why = "its volumes here are lost" if is_mirror(disk) else "is the shared storage mounted?"
            problems.append(f"disk {index} ({found.path}) cannot be seen here; {why}")
    return problems


@handles(MigrationPrepare)
def prepare(call: MigrationPrepare, env: NodeEnv, context: Context) -> Endpoint:
    instance = call.departure.spec.instance
    migration = _migration(instance.hypervisor, env)
    disk_paths = volumes.open_all(instance, env)
    try:
        return migration.prepare(call.migration, call.departure, disk_paths, address=call.address, tuning=call.tuning)
    except errors.GanetiError:
        volumes.release_all(instance.disks, instance.uuid, env)
        raise


@handles(MigrationRun)
def run(call: MigrationRun, env: NodeEnv, context: Context) -> None:
    migration = _migration(call.hypervisor, env)
    migration.send(call.migration, call.name, call.uuid, endpoint=call.endpoint, tuning=call.tuning, watch=context)


@handles(MigrationFinish)
def finish(call: MigrationFinish, env: NodeEnv, context: Context) -> None:
    _migration(call.hypervisor, env).finish(call.migration, call.name, call.uuid)


@handles(MigrationSourceDone)
def source_done(call: MigrationSourceDone, env: NodeEnv, context: Context) -> None:
    migration = _migration(call.hypervisor, env)
    migration.depart(call.migration, call.name, call.uuid)
    if migration.half(call.name, call.uuid).side is Side.NONE:
        volumes.release_all(call.disks, call.uuid, env)


@handles(MigrationAbort)
def abort(call: MigrationAbort, env: NodeEnv, context: Context) -> Half:
    left = _migration(call.hypervisor, env).abort(call.migration, call.name, call.uuid, resume=call.resume)
    if left.side is Side.NONE:
        volumes.release_all(call.disks, call.uuid, env)
    return left


@handles(MigrationState)
def state(call: MigrationState, env: NodeEnv, context: Context) -> Half:
    return _migration(call.hypervisor, env).half(call.name, call.uuid)
