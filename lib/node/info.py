"""Who this node is and what it has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from ganeti import errors, paths, settings
from ganeti.calls.node import (
    HypervisorInfo,
    NodeInfo,
    NodeInfoReply,
    NodeVersion,
    StorageInfo,
    TermPush,
    TermReply,
    VersionReply,
)
from ganeti.host import files
from ganeti.hypervisor import linux
from ganeti.node import master_ip
from ganeti.node.base import Context, NodeEnv, handles
from ganeti.paths import Paths
from ganeti.rpc.identity import Identity
from ganeti.rpc.term import TermKeeper

Info = TypeVar("Info")

#: of the calls; raised when an older daemon could not understand a newer master
PROTOCOL = 1

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id(where: Paths) -> str:
    """Changes when the machine boots; a virtual node may have its own in a file below its root."""
    return (files.read_text(linux.host_file(where, _BOOT_ID)) or "").strip()


def master_name(where: Paths) -> str:
    """The node that this one takes for the master, or empty."""
    return (files.read_text(where.local(paths.ssconf("master_node"))) or "").strip()


@handles(NodeVersion)
def version(call: NodeVersion, env: NodeEnv, context: Context) -> VersionReply:
    me = env.service(Identity)
    return VersionReply(
        software=settings.VERSION,
        protocol=PROTOCOL,
        node=me.node,
        uuid=me.uuid,
        cluster=me.cluster,
        master=master_name(env.paths),
        term=env.service(TermKeeper).seen,
        boot_id=boot_id(env.paths),
        time=env.clock.time(),
    )


@handles(TermPush)
def push_term(call: TermPush, env: NodeEnv, context: Context) -> TermReply:
    """The term itself was taken when the call was let in."""
    if call.master != env.service(Identity).node:
        master_ip.give_up(env.paths, env.runner)
    return TermReply(env.service(TermKeeper).seen)


@handles(NodeInfo)
def info(call: NodeInfo, env: NodeEnv, context: Context) -> NodeInfoReply:
    """What cannot be asked is named in `errors`; the rest is told all the same."""
    problems: list[str] = []
    hypervisors: dict[str, HypervisorInfo] = {}
    for name in call.hypervisors:
        driver = env.hypervisors.get(name)
        if driver is None:
            problems.append(f"no hypervisor {name!r} on this node")
        else:
            _ask(name, driver.node_info, hypervisors, problems)
    storage: dict[str, StorageInfo] = {}
    known = {template.value: driver for template, driver in env.storage.items()}
    for name in call.templates:
        if name not in known:
            problems.append(f"no storage for disk template {name!r} on this node")
        else:
            _ask(name, functools.partial(known[name].space, vg=call.volume_group), storage, problems)
    return NodeInfoReply(boot_id=boot_id(env.paths), hypervisors=hypervisors, storage=storage, errors=tuple(problems))


def _ask(name: str, question: Callable[[], Info], answers: dict[str, Info], problems: list[str]) -> None:
    try:
        answers[name] = question()
    except errors.GanetiError as err:
        problems.append(f"{name}: {err}")
