"""Nodes, instances, node groups and networks: their lists, and each of them alone, with its ETag."""

from __future__ import annotations

import msgspec

from ganeti.rapi import schemas, tags
from ganeti.rapi.ask import Answer, Ask, answer
from ganeti.rapi.failures import HttpFailure
from ganeti.rapi.routes import Argument, Route
from ganeti.wire import codec

_COMMON = ("ctime", "mtime", "uuid", "serial_no", "tags")


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of object. Its values stay the text that the master wrote, unless something has to be added."""

    plural: str  # of the path
    name: str
    word: str  # in paths
    method: str  # of LUXI
    key: str  # of the name in the short list
    fields: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/2/{self.plural}"


NODE = Kind(
    plural="nodes", name="node", word="node_name", method="QueryNodes", key="id",
    fields=(
        "name", "offline", "master_candidate", "drained", "dtotal", "dfree", "sptotal", "spfree", "mtotal", "mnode",
        "mfree", "pinst_cnt", "sinst_cnt", "ctotal", "cnos", "cnodes", "csockets", "pip", "sip", "role", "pinst_list",
        "sinst_list", "master_capable", "vm_capable", "ndparams", "group.uuid", *_COMMON,
    ),
)  # fmt: skip
INSTANCE = Kind(
    plural="instances", name="instance", word="instance_name", method="QueryInstances", key="id",
    fields=(
        "name", "admin_state", "os", "pnode", "snodes", "disk_template", "nic.ips", "nic.macs", "nic.modes",
        "nic.uuids", "nic.names", "nic.links", "nic.networks", "nic.networks.names", "nic.bridges", "network_port",
        "disk.sizes", "disk.spindles", "disk_usage", "disk.uuids", "disk.names", "beparams", "hvparams", "oper_state",
        "oper_ram", "oper_vcpus", "status", "custom_hvparams", "custom_beparams", "custom_nicparams",
        "custom_osparams", "forthcoming", *_COMMON,
    ),
)  # fmt: skip
GROUP = Kind(
    plural="groups", name="group", word="group_name", method="QueryGroups", key="name",
    fields=(
        "name", "alloc_policy", "node_cnt", "node_list", "ipolicy", "custom_ipolicy", "diskparams",
        "custom_diskparams", "ndparams", "custom_ndparams", *_COMMON,
    ),
)  # fmt: skip
NETWORK = Kind(
    plural="networks", name="network", word="network_name", method="QueryNetworks", key="name",
    fields=(
        "name", "network", "gateway", "network6", "gateway6", "mac_prefix", "free_count", "reserved_count", "map",
        "group_list", "inst_list", "external_reservations", *_COMMON,
    ),
)  # fmt: skip
KINDS = (NODE, INSTANCE, GROUP, NETWORK)

Record = dict[str, msgspec.Raw]
BULK = Argument(name="bulk", schema=schemas.FLAG, help="whole objects instead of links")
LOCK = Argument(name="lock", schema=schemas.FLAG, help="without meaning: every answer is of one moment")


async def records(ask: Ask, kind: Kind, *names: str) -> list[Record]:
    """The objects of these names, or all."""
    raw = await ask.luxi.call_raw(kind.method, list(names), list(kind.fields), False)
    found = [dict(zip(kind.fields, row, strict=True)) for row in codec.unpack(bytes(raw), list[list[msgspec.Raw]])]
    if kind is INSTANCE:
        for record in found:
            record["beparams"] = _with_memory(record["beparams"])
    return found


def _with_memory(raw: msgspec.Raw) -> msgspec.Raw:
    """Back-end parameters have the older name of maxmem too."""
    values = codec.unpack(bytes(raw), object)
    if not isinstance(values, dict) or "maxmem" not in values:
        return raw
    return msgspec.Raw(codec.pack({**values, "memory": values["maxmem"]}))


def routes() -> list[Route]:
    return [route for kind in KINDS for route in (_list_route(kind), _one_route(kind))]


def _list_route(kind: Kind) -> Route:
    async def run(ask: Ask) -> Answer:
        ask.query.flag("lock")  # it has to be a number, as every flag
        if ask.query.flag("bulk"):
            return answer(await records(ask, kind))
        rows = await ask.luxi.call(kind.method, [], ["name"], False)
        return answer([{kind.key: name, "uri": f"{kind.path}/{name}"} for (name,) in rows])

    return Route(
        method="GET",
        path=kind.path,
        name=f"list_{kind.plural}",
        summary=f"All {kind.plural}: links, or whole objects.",
        run=run,
        query=(BULK, LOCK),
        result={
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "object", "required": [kind.key, "uri"], "properties": {kind.key: schemas.TEXT}},
                    schemas.record(kind.fields),
                ]
            },
        },
    )


def _one_route(kind: Kind) -> Route:
    async def run(ask: Ask) -> Answer:
        found = await records(ask, kind, ask.path[kind.word])
        if not found:
            raise HttpFailure(404)
        text = codec.pack(found[0])
        serial = codec.unpack(bytes(found[0]["serial_no"]), int)
        uuid = codec.unpack(bytes(found[0]["uuid"]), str)
        return tags.answered(text, serial, uuid, known=ask.known)

    return Route(
        method="GET",
        path=f"{kind.path}/{{{kind.word}}}",
        name=f"get_{kind.name}",
        summary=f"One {kind.name}.",
        run=run,
        result=schemas.record(kind.fields),
        has_tag=True,
        may_miss=True,
    )
