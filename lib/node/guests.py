"""Handlers of calls about guests."""

from __future__ import annotations

import logging

from ganeti import errors
from ganeti.calls.instance import (
    Console,
    Guest,
    GuestsReply,
    GuestState,
    HypervisorValidate,
    InstanceConsole,
    InstanceConsoleLog,
    InstanceInfo,
    InstanceList,
    InstanceReboot,
    InstanceStart,
    InstanceStop,
)
from ganeti.hypervisor.base import Hypervisor
from ganeti.node import volumes
from ganeti.node.base import Context, NodeEnv, handles

log = logging.getLogger(__name__)

#: bytes of a console's log that are told at once, at most
MAX_CONSOLE_LOG = 1 << 20
_POLL_S = 0.25
#: from one line about a guest that does not end to the next, in seconds
_TELL_S = 15.0
_REPEAT_S = 5.0  # a guest may miss the first request while it boots


def hypervisor(name: str, env: NodeEnv) -> Hypervisor:
    """Raises NodeFailure for one that this node does not have."""
    found = env.hypervisors.get(name)
    if found is None:
        raise errors.NodeFailure(
            f"this node has no hypervisor {name!r}", hint="it has " + ", ".join(sorted(env.hypervisors))
        )
    return found


@handles(InstanceStart)
def start(call: InstanceStart, env: NodeEnv, context: Context) -> None:
    instance = call.spec.instance
    chosen = hypervisor(instance.hypervisor, env)
    for name, other in env.hypervisors.items():
        if name != instance.hypervisor and other.info(instance.name, "") is not None:
            raise errors.NodeFailure(f"a guest named {instance.name} runs already under {name}")
    disk_paths = volumes.open_all(instance, env)
    try:
        chosen.start(call.spec, disk_paths, paused=call.paused)
    except errors.GanetiError:
        volumes.close_all(instance.disks, instance.uuid, env)
        raise


@handles(InstanceStop)
def stop(call: InstanceStop, env: NodeEnv, context: Context) -> None:
    chosen = hypervisor(call.hypervisor, env)
    if call.timeout > 0 and _is_alive(chosen, call):
        _ask_to_shut_down(chosen, call, env, context)
    if _is_alive(chosen, call):
        if call.timeout > 0:
            log.warning("instance %s did not shut down within %s s; it is ended", call.name, call.timeout)
        chosen.stop(call.name, call.uuid, force=True)
    chosen.clean_up(call.name, call.uuid)
    volumes.close_all(call.disks, call.uuid, env)


def _is_alive(chosen: Hypervisor, call: InstanceStop) -> bool:
    found = chosen.info(call.name, call.uuid)
    return found is not None and found.state is not GuestState.SHUTDOWN


def _ask_to_shut_down(chosen: Hypervisor, call: InstanceStop, env: NodeEnv, context: Context) -> None:
    """Returns when it has ended or the time is over. A refusal is no failure: force comes next."""
    begin = env.clock.monotonic()
    asked = -_REPEAT_S
    while True:
        passed = env.clock.monotonic() - begin
        if passed >= call.timeout:
            return
        if passed - asked >= _REPEAT_S:
            asked = passed
            try:
                chosen.stop(call.name, call.uuid, force=False)
            except errors.HypervisorError as err:
                log.warning("instance %s could not be asked to shut down: %s", call.name, err)
                return
        if not _is_alive(chosen, call):
            return
        if context.stop.is_set():
            raise errors.NodeFailure(f"stopped on request; instance {call.name} was asked to shut down and may do so")
        context.progress["seconds"] = passed
        if passed >= _TELL_S:
            told = int(passed // _TELL_S * _TELL_S)
            context.progress["text"] = (
                f"asked {call.name} to shut down {told} s ago; after {call.timeout} s it is ended by force"
            )
        env.clock.sleep(min(_POLL_S, call.timeout - passed))


@handles(InstanceReboot)
def reboot(call: InstanceReboot, env: NodeEnv, context: Context) -> None:
    hypervisor(call.spec.instance.hypervisor, env).reboot(call.spec, hard=call.hard, timeout_s=call.timeout)


@handles(InstanceList)
def list_guests(call: InstanceList, env: NodeEnv, context: Context) -> GuestsReply:
    guests: list[Guest] = []
    failed: dict[str, str] = {}
    for name in call.hypervisors:
        try:
            guests += [guest for guest in hypervisor(name, env).list() if guest.state is not GuestState.MIGRATING]
        except errors.GanetiError as err:
            failed[name] = str(err)
    return GuestsReply(guests=tuple(guests), errors=failed)


@handles(InstanceInfo)
def info(call: InstanceInfo, env: NodeEnv, context: Context) -> Guest | None:
    found = hypervisor(call.hypervisor, env).info(call.name, call.uuid)
    return None if found is not None and found.state is GuestState.MIGRATING else found


@handles(InstanceConsole)
def console(call: InstanceConsole, env: NodeEnv, context: Context) -> Console:
    return hypervisor(call.spec.instance.hypervisor, env).console(call.spec)


@handles(InstanceConsoleLog)
def console_log(call: InstanceConsoleLog, env: NodeEnv, context: Context) -> str:
    amount = max(0, min(call.max_bytes, MAX_CONSOLE_LOG))
    return hypervisor(call.hypervisor, env).console_log(call.name, call.uuid, max_bytes=amount)


@handles(HypervisorValidate)
def validate(call: HypervisorValidate, env: NodeEnv, context: Context) -> str:
    return hypervisor(call.hypervisor, env).validate(call.hvparams)
