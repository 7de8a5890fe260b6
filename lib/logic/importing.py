"""Where an instance is imported from, and what of the export fills the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors
from ganeti.calls.export import Contents, ExportInfo, ExportList, ExportText
from ganeti.calls.os import OsDiagnose
from ganeti.hypervisor import parameters
from ganeti.logic import checks, os_definitions, streaming
from ganeti.logic.base import Env
from ganeti.logic.networking import FROM_POOL
from ganeti.model import export_ini, params
from ganeti.model.config import Config
from ganeti.model.export_ini import Exported, ExportedDisk, ExportedNic
from ganeti.model.objects import Disk, DiskTemplate, Node, Params
from ganeti.model.types import MAC
from ganeti.ops.instance import OpInstanceCreate

MIB = 1 << 20


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """An export that was found."""

    node: Node
    text: ExportText
    exported: Exported
    contents: Contents = Contents.RAW


async def find(env: Env, op: OpInstanceCreate) -> Source:
    """On the node that was given, else on any; of several the newest. Raises PrereqError."""
    place = op.src_path or op.instance_name
    if op.src_node:
        node = env.config.node(op.src_node)
        checks.online(node)
        found = await _read(env, node, place)
        if found is None:
            raise errors.PrereqError(
                "unknown_entity",
                f"node {node.name} has no export {place!r}",
                hint="gnt-backup list shows the exports of all nodes",
            )
        return found
    if place.startswith("/"):
        raise errors.PrereqError(
            "wrong_input",
            f"on which node is the directory {place}?",
            hint="add --src-node NODE, or give the name alone",
        )
    answers = await env.rpc.many([node.uuid for node in env.config.online_nodes], ExportList())
    holders = [
        env.config.nodes[node]
        for node, names in answers.items()
        if not isinstance(names, errors.RpcError) and place in names
    ]
    sources, damaged = [], []
    for node in holders:
        try:
            source = await _read(env, node, place)
        except errors.PrereqError as err:
            damaged.append(err)
        else:
            sources += [source] if source is not None else []
    if damaged and not sources:
        raise damaged[0]
    for problem in damaged:
        env.warn(f"not looked at: {problem}")
    if not sources:
        silent = [str(names) for names in answers.values() if isinstance(names, errors.RpcError)]
        raise errors.PrereqError(
            "unknown_entity",
            f"no node has an export {place!r}" + (f" ({'; '.join(silent)})" if silent else ""),
            hint="gnt-backup list shows the exports; --src-dir names another one",
        )
    chosen = max(sources, key=lambda source: source.exported.timestamp)
    if len(sources) > 1:
        others = ", ".join(source.node.name for source in sources if source is not chosen)
        env.warn(f"the newest export of {place} is taken, that on {chosen.node.name}; there are others on {others}")
    return chosen


async def _read(env: Env, node: Node, place: str) -> Source | None:
    text = await checks.ask(env, node.uuid, ExportInfo(place=place), f"read the export {place}")
    if text is None:
        return None
    try:
        exported = export_ini.read(text.text)
    except errors.PrereqError as err:
        where = f"the export in {text.directory} on node {node.name}"
        raise errors.PrereqError(err.code, f"{where} is damaged: {err.message}") from err
    return Source(node=node, text=text, exported=exported)


def check(source: Source) -> None:
    """All that it says to have is there. Raises PrereqError."""
    exported = source.exported
    where = f"the export in {source.text.directory} on node {source.node.name}"
    for index, disk in enumerate(exported.disks):
        if not disk.dump:
            continue
        size = source.text.sizes.get(disk.dump)
        if size is None:
            raise errors.PrereqError("wrong_state", f"{where} lacks the dump {disk.dump!r} of disk {index}")
        if disk.dump_size and size != disk.dump_size:
            raise errors.PrereqError(
                "wrong_state", f"{where} is damaged: the dump of disk {index} has {size} bytes, not {disk.dump_size}"
            )
    if exported.compression not in ("none", "gzip", "zstd"):
        raise errors.PrereqError(
            "wrong_state", f"{where} is compressed with {exported.compression!r}", hint="unpack its dumps before"
        )


def check_sizes(source: Source, disks: Sequence[Disk]) -> None:
    """Each whole disk has room on the new one. What a script writes it knows alone. Raises PrereqError."""
    if source.contents is not Contents.RAW:
        return
    for index, (old, new) in enumerate(zip(source.exported.disks, disks, strict=False)):
        wanted = old.dump_size or old.size * MIB
        if old.dump and wanted > new.size * MIB:
            raise errors.PrereqError(
                "wrong_input",
                f"the dump of disk {index} has {wanted} bytes, larger than disk {index} would be with {new.size} MiB",
                hint="whole disks are moved: give it at least the size that it had",
            )


async def contents(env: Env, node: Node, op: OpInstanceCreate, exported: Exported) -> Contents:
    """How its dumps get onto the disks of an instance on that node."""
    mode = op.os_mode
    if mode == "auto":
        # what a script has written only a script can read, and the other way round
        mode = "raw" if exported.contents == "raw" else "script"
    if mode == "raw":
        return Contents.RAW
    definitions = await checks.ask(env, node.uuid, OsDiagnose(), "ask for OS definitions")
    found = os_definitions.first_by_name(definitions, op.os_type.partition("+")[0])
    return streaming.contents(found, op.os_type, mode, "import")


def filled(op: OpInstanceCreate, exported: Exported, config: Config) -> OpInstanceCreate:
    """The request with what it leaves open taken from the export. Raises PrereqError."""
    same_hypervisor = op.hypervisor in ("", exported.hypervisor)
    hypervisor = op.hypervisor or exported.hypervisor or config.cluster.enabled_hypervisors[0]
    hv = _known_hv(hypervisor, exported.hvparams) if same_hypervisor else {}
    be = {name: value for name, value in exported.beparams.items() if name in params.BACKEND}
    osparams: Params = dict(exported.osparams) if op.os_type in ("", exported.os) else {}
    private: Params = dict(exported.osparams_private) if op.os_type in ("", exported.os) else {}
    if op.identify_defaults:
        os = op.os_type or exported.os
        built_in = parameters.defaults(hypervisor)
        hv = _different(hv, params.filled_hv(config, built_in, hypervisor=hypervisor, os=os, overrides={}))
        be = _different(be, params.filled_be(config, {}))
        osparams = _different(osparams, params.filled_os(config, os, {}))
        private = _different(private, params.filled_private_os(config, os, {}))
    if {"memory", "minmem", "maxmem"} & set(op.beparams):
        be.pop("minmem", None)
        be.pop("maxmem", None)
    return msgspec.structs.replace(
        op,
        os_type=op.os_type or exported.os,
        disk_template=op.disk_template or _template(exported),
        disks=_disks(op, exported),
        nics=_nics(op, exported, config),
        hypervisor=hypervisor,
        hvparams={**hv, **op.hvparams},
        beparams={**be, **op.beparams},
        osparams={**_without(osparams, op.osparams_private), **op.osparams},
        osparams_private={**_without(private, op.osparams), **op.osparams_private},
        tags=op.tags or exported.tags,
    )


def _without(exported: Params, others: Params) -> Params:
    """One that is given as of the other kind is of that kind from now on."""
    return {name: value for name, value in exported.items() if name not in others}


def _attached(nic: ExportedNic, config: Config) -> dict[str, Any]:
    """On its network, where there is one of that name; an address that somebody has by now is replaced."""
    network = next((each for each in config.networks.values() if nic.network in (each.name, each.uuid)), None)
    if network is None:
        return {"ip": nic.ip, **nic.params}
    used = {each.ip for instance in config.instances.values() for each in instance.nics if each.network == network.uuid}
    return {"network": network.name, "ip": FROM_POOL if nic.ip in used - {None} else nic.ip}


def _template(exported: Exported) -> DiskTemplate | None:
    try:
        return DiskTemplate(exported.template) if exported.template else None
    except ValueError:
        return None


def _known_hv(hypervisor: str, exported: Params) -> Params:
    known = {parameter.name for parameter in parameters.declared(hypervisor).parameters} - parameters.GLOBAL
    return {name: value for name, value in exported.items() if name in known}


def _different(exported: Params, defaults: Mapping[str, Any]) -> Params:
    """Without what the cluster has as its defaults anyway."""
    return {name: value for name, value in exported.items() if str(value) != str(defaults.get(name))}


def _disks(op: OpInstanceCreate, exported: Exported) -> tuple[dict[str, Any], ...]:
    given = op.disks
    if op.disk_template is DiskTemplate.DISKLESS:
        given = ()
    elif not given:
        return tuple(_disk(disk) for disk in exported.disks)
    if len(given) < len(exported.disks):
        raise errors.PrereqError(
            "wrong_input",
            f"the export has {len(exported.disks)} disks, the instance would have {len(given)}",
            hint="give at least as many disks, or none to have those of the export",
        )
    return tuple(
        {**_disk(exported.disks[index], with_name=False), **disk} if index < len(exported.disks) else disk
        for index, disk in enumerate(given)
    )


def _disk(disk: ExportedDisk, *, with_name: bool = True) -> dict[str, Any]:
    own = {"size": disk.size, "mode": disk.mode, "name": disk.name if with_name else ""}
    return {key: value for key, value in own.items() if value}


def _nics(op: OpInstanceCreate, exported: Exported, config: Config) -> tuple[dict[str, Any], ...] | None:
    keeps_macs = op.instance_name == exported.name
    used = {nic.mac for instance in config.instances.values() for nic in instance.nics}

    def mac(index: int) -> str:
        found = exported.nics[index].mac.lower() if index < len(exported.nics) else ""
        return found if keeps_macs and MAC.match(found) and found not in used else "auto"

    if op.nics is None:
        if not exported.nics:
            return ()
        return tuple(
            {"mac": mac(index), **_attached(nic, config)} | ({"name": nic.name} if nic.name else {})
            for index, nic in enumerate(exported.nics)
        )
    return tuple(
        {**nic, "mac": mac(index)} if nic.get("mac", "auto") == "auto" else nic for index, nic in enumerate(op.nics)
    )
