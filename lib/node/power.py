"""The machine below a node: its power, its hard reboot, its physical volumes and volume groups."""

from __future__ import annotations

import logging
import os
import re
import threading

from ganeti import errors
from ganeti.calls.power import NodePowercycle, OobAsk, OobDo, StorageLoss, StorageLost, StorageModify, StorageRepair
from ganeti.host.run import Argv
from ganeti.host.trust import why_not_trusted
from ganeti.model.types import HOST_NAME
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.storage.lvm import repair

log = logging.getLogger(__name__)

QUESTIONS = ("power-status", "health")
ACTIONS = ("power-on", "power-off", "power-cycle")
REBOOT_AFTER_S = 5
_TRIGGER = "/proc/sysrq-trigger"
_MAX_TIMEOUT_S = 290  # less than the caller waits
_DEVICE = re.compile(r"/dev/[A-Za-z0-9_./:+-]{1,200}\Z")
_GROUP = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,126}\Z")


@handles(OobAsk)
def ask(call: OobAsk, env: NodeEnv, context: Context) -> str:
    return _helper(call, QUESTIONS, env)


@handles(OobDo)
def do(call: OobDo, env: NodeEnv, context: Context) -> str:
    return _helper(call, ACTIONS, env)


def _helper(call: OobAsk | OobDo, allowed: tuple[str, ...], env: NodeEnv) -> str:
    if call.command not in allowed or not HOST_NAME.match(call.target):
        raise errors.NodeFailure(f"no such command: {call.command!r} for {call.target!r}")
    try:
        local = env.paths.local(call.program)
    except ValueError as err:
        raise errors.NodeFailure(str(err)) from err
    if not os.access(local, os.X_OK) or not os.path.isfile(local):
        raise errors.NodeFailure(f"the out-of-band helper {call.program} cannot be run on this node")
    if problem := why_not_trusted(local, env.paths):
        raise errors.NodeFailure(
            f"the out-of-band helper {call.program} is not run: {problem}", hint="it would be run as root"
        )
    done = env.runner.run((local, call.command, call.target), timeout_s=max(1, min(call.timeout_s, _MAX_TIMEOUT_S)))
    return done.stdout


@handles(NodePowercycle)
def powercycle(call: NodePowercycle, env: NodeEnv, context: Context) -> str:
    if env.paths.is_virtual:
        raise errors.NodeFailure(
            "a virtual node has no machine that could be rebooted", hint="tools/vcluster kill and boot do the same"
        )
    if not os.access(_TRIGGER, os.W_OK):
        raise errors.NodeFailure(f"failed to schedule the reboot: {_TRIGGER} cannot be written")
    log.warning("rebooting in %s seconds, on request", REBOOT_AFTER_S)
    threading.Timer(REBOOT_AFTER_S, _reboot).start()
    return f"rebooting in {REBOOT_AFTER_S} seconds"


def _reboot() -> None:
    # Linux, Documentation/admin-guide/sysrq.rst: b reboots at once, without syncing or unmounting
    with open(_TRIGGER, "w", encoding="ascii") as trigger:
        trigger.write("b")


def allocatable(device: str, wanted: bool) -> Argv:
    return ("pvchange", "--allocatable", "y" if wanted else "n", device)


@handles(StorageModify)
def modify(call: StorageModify, env: NodeEnv, context: Context) -> None:
    if not _DEVICE.match(call.name) or ".." in call.name:
        raise errors.NodeFailure(f"{call.name!r} is not the name of a physical volume")
    env.runner.run(allocatable(call.name, call.allocatable), timeout_s=120)


@handles(StorageLost)
def lost(call: StorageLost, env: NodeEnv, context: Context) -> StorageLoss:
    group = _group(call.name)
    return StorageLoss() if env.paths.is_virtual else repair.lost(env.runner, group)


@handles(StorageRepair)
def repair_group(call: StorageRepair, env: NodeEnv, context: Context) -> None:
    group = _group(call.name)
    if not env.paths.is_virtual:
        repair.drop(env.runner, group, call.lost)


def _group(name: str) -> str:
    if not _GROUP.match(name):
        raise errors.NodeFailure(f"{name!r} is not the name of a volume group")
    return name
