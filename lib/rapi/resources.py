"""Resources about the cluster as a whole, and those that are more than one operation."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti.rapi import schemas, submit, tags
from ganeti.rapi.ask import Answer, Ask, answer, json_kind
from ganeti.rapi.failures import HttpFailure, bad_request
from ganeti.rapi.routes import BY_HAND, EITHER, Argument, Route, Run, default_rights, resource
from ganeti.wire import codec

VERSION = 2
FEATURES = ("instance-create-reqv1", "instance-reinstall-reqv1", "node-migrate-reqv1", "node-evac-res1")
ROLES = {"M": "master", "C": "master-candidate", "R": "regular", "D": "drained", "O": "offline"}
#: what can be asked for in /2/query
LISTS = ("group", "export", "instance", "job", "lock", "network", "node", "filter", "os", "extstorage", "cluster")
_DRY_RUN = Argument(name="dry-run", schema=schemas.FLAG, help="only say what would be done")
_REASON = Argument(name="reason", schema=schemas.TEXT, help="goes to the job's reason trail")


@resource("GET", "/", result=schemas.NULL)
async def root(ask: Ask) -> Answer:
    """Nothing: whether there is an answer at all."""
    return answer(None)


@resource("GET", "/2", result=schemas.NULL)
async def root_2(ask: Ask) -> Answer:
    """Nothing: whether version 2 is spoken."""
    return answer(None)


@resource("GET", "/version", result={"const": VERSION})
async def version(ask: Ask) -> Answer:
    """The version of this interface."""
    return answer(VERSION)


@resource("GET", "/2/info", result={"type": "object", "required": ["name", "master", "ipolicy", "tags"]}, has_tag=True)
async def info(ask: Ask) -> Answer:
    """Settings of the cluster."""
    found: dict[str, Any] = await ask.luxi.call("QueryClusterInfo")
    more = {"vg_name": found.get("volume_group_name"), "drbd_helper": found.get("drbd_usermode_helper")}
    return tags.answered(codec.pack({**found, **more}), found["serial_no"], found["uuid"], known=ask.known)


@resource("GET", "/2/features", result=schemas.TEXTS)
async def features(ask: Ask) -> Answer:
    """What clients may rely on beyond version 2.0."""
    return answer(FEATURES)


@resource("GET", "/2/os", result=schemas.TEXTS)
async def operating_systems(ask: Ask) -> Answer:
    """Names of operating systems that can be installed, each variant as `os+variant`."""
    found = await ask.luxi.call("Query", "os", ["name", "variants"], None)
    names: list[str] = []
    for (_, name), (status, variants) in found["data"]:
        known = variants if status == 0 and variants else []
        names += [f"{name}+{variant}" for variant in known] or [name]
    return answer(names)


# Tags

_TAG = Argument(name="tag", schema={"type": "array", "items": schemas.TEXT}, is_required=True, help="one or more")


def _tag_routes(path: str, kind: str, word: str) -> list[Route]:
    what = "cluster" if kind == "cluster" else word.removesuffix("_name")

    async def get(ask: Ask) -> Answer:
        return answer(await ask.luxi.call("QueryTags", kind, ask.path.get(word, "")))

    def changing(op_id: str) -> Run:
        async def change(ask: Ask) -> Answer:
            wanted = ask.query.many("tag")
            if not wanted:
                raise bad_request("Method needs at least one `tag` argument in the query")
            form: dict[str, Any] = {"OP_ID": op_id, "kind": kind, "tags": wanted, "name": ask.path.get(word, "")}
            return await submit.job(ask, [form | _dry_run(ask)])

        return change

    return [
        Route(
            method=method,
            path=path,
            name=f"{verb}_{what}_tags",
            summary=summary,
            run=run,
            rights=default_rights(method),
            query=() if method == "GET" else (_TAG, _DRY_RUN, _REASON),
            result=schemas.TEXTS if method == "GET" else schemas.JOB_ID,
            is_job=method != "GET",
            may_miss=bool(word),
        )
        for method, verb, summary, run in (
            ("GET", "get", f"Tags of the {what}.", get),
            ("PUT", "add", f"Give tags to the {what}.", changing("OP_TAGS_SET")),
            ("DELETE", "delete", f"Take tags from the {what}.", changing("OP_TAGS_DEL")),
        )
    ]


def _dry_run(ask: Ask) -> dict[str, Any]:
    return {"dry_run": True} if ask.query.flag("dry-run") else {}


for _path, _kind, _word in (
    ("/2/tags", "cluster", ""),
    ("/2/nodes/{node_name}/tags", "node", "node_name"),
    ("/2/instances/{instance_name}/tags", "instance", "instance_name"),
    ("/2/groups/{group_name}/tags", "nodegroup", "group_name"),
    ("/2/networks/{network_name}/tags", "network", "network_name"),
):
    BY_HAND.extend(_tag_routes(_path, _kind, _word))


# Nodes


@resource("GET", "/2/nodes/{node_name}/role", result={"enum": list(ROLES.values())})
async def get_node_role(ask: Ask) -> Answer:
    """The role of a node."""
    ((role,),) = await ask.luxi.call("QueryNodes", [ask.path["node_name"]], ["role"], False)
    return answer(ROLES[role])


_ROLE_CHANGES: dict[str, dict[str, bool]] = {
    "regular": {"master_candidate": False, "offline": False, "drained": False},
    "master-candidate": {"master_candidate": True},
    "drained": {"drained": True},
    "offline": {"offline": True},
}


@resource(
    "PUT",
    "/2/nodes/{node_name}/role",
    query=(
        Argument(name="force", schema=schemas.FLAG),
        Argument(name="auto-promote", schema=schemas.FLAG, help="promote another node if candidates become too few"),
        _DRY_RUN,
        _REASON,
    ),
    body={"enum": list(_ROLE_CHANGES)},
    needs_body=True,
    result=schemas.JOB_ID,
    is_job=True,
)
async def set_node_role(ask: Ask) -> Answer:
    """Give a node another role."""
    if not isinstance(ask.body, str):
        raise bad_request(f"Body must be a JSON text, one of {', '.join(_ROLE_CHANGES)}")
    change = _ROLE_CHANGES.get(ask.body)
    if change is None:
        raise bad_request(f"A node cannot be given the role {ask.body[:40]!r}, only {', '.join(_ROLE_CHANGES)}")
    form: dict[str, Any] = {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": ask.path["node_name"], **change}
    form |= {"force": ask.query.flag("force"), "auto_promote": ask.query.flag("auto-promote")}
    return await submit.job(ask, [form | _dry_run(ask)])


@resource(
    "PUT",
    "/2/nodes/{node_name}/storage/modify",
    query=(
        Argument(name="storage_type", schema=schemas.TEXT, is_required=True),
        Argument(name="name", schema=schemas.TEXT, is_required=True),
        Argument(name="allocatable", schema=schemas.FLAG),
        _DRY_RUN,
        _REASON,
    ),
    result=schemas.JOB_ID,
    is_job=True,
)
async def modify_node_storage(ask: Ask) -> Answer:
    """Say whether space of a storage unit may be taken."""
    kind, name = ask.query.text("storage_type"), ask.query.text("name")
    if not kind or not name:
        raise bad_request("Missing the required `storage_type` and `name` arguments")
    changes = {"allocatable": ask.query.flag("allocatable")} if "allocatable" in ask.query else {}
    form: dict[str, Any] = {"OP_ID": "OP_NODE_MODIFY_STORAGE", "node_name": ask.path["node_name"], "name": name}
    return await submit.job(ask, [form | {"storage_type": kind, "changes": changes} | _dry_run(ask)])


# Instances


@resource("GET", "/2/instances/{instance_name}/console", rights=EITHER, result={"type": "object"})
async def get_instance_console(ask: Ask) -> Answer:
    """How to get at the console of a running instance."""
    name = ask.path["instance_name"]
    ((found,),) = await ask.luxi.call("QueryInstances", [name], ["console"], False)
    if found is None:
        raise HttpFailure(503, f"Instance {name} does not run, so it has no console")
    return answer(found)


_REINSTALL_BODY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "os": schemas.TEXT,
        "start": {"type": "boolean"},
        "osparams": {"type": "object", "description": "for this run of the OS script only"},
    },
}
_TOGETHER = ("os", "nostartup")


@resource(
    "POST",
    "/2/instances/{instance_name}/reinstall",
    query=(
        Argument(name="os", schema=schemas.TEXT, help="older form: without a body"),
        Argument(name="nostartup", schema=schemas.FLAG, help="older form: without a body"),
        _REASON,
    ),
    body=_REINSTALL_BODY,
    result=schemas.JOB_ID,
    is_job=True,
)
async def reinstall_instance(ask: Ask) -> Answer:
    """Shut an instance down, install its operating system anew or another one, start it: one job."""
    name = ask.path["instance_name"]
    has_older = any(argument in ask.query for argument in _TOGETHER)
    if ask.body is not msgspec.UNSET and has_older:
        raise bad_request("Can't combine query and body parameters")
    if has_older or ask.body is msgspec.UNSET:
        body: dict[str, Any] = {"os": ask.query.text("os"), "start": not ask.query.flag("nostartup")}
    else:
        body = ask.object_body()
    unknown = sorted(body.keys() - {"os", "start", "osparams"})
    if unknown:
        raise bad_request(f"A reinstallation has no {', '.join(unknown)[:200]}; it has os, start, osparams")
    start = body.get("start", True)
    if start is None:
        start = True
    if not isinstance(start, bool):
        raise bad_request(f"`start` is true or false, not {json_kind(start)}")
    reinstall: dict[str, Any] = {"OP_ID": "OP_INSTANCE_REINSTALL", "instance_name": name}
    reinstall |= {"os_type": body.get("os"), "osparams": body.get("osparams")}
    forms: list[dict[str, Any]] = [{"OP_ID": "OP_INSTANCE_SHUTDOWN", "instance_name": name}, reinstall]
    if start:
        forms.append({"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": name, "force": False})
    return await submit.job(ask, forms)


# Queries

_FIELDS = Argument(name="fields", schema=schemas.TEXT, help="names, separated by commas")
_QUERY_RESULT = schemas.record(("fields", "data"))


def _list_name(ask: Ask) -> str:
    if ask.path["resource"] not in LISTS:
        raise HttpFailure(404, f"There is nothing called {ask.path['resource']!r}, only {', '.join(LISTS)}")
    return ask.path["resource"]


@resource("GET", "/2/query/{resource}", rights=EITHER, query=(_FIELDS,), result=_QUERY_RESULT)
async def query(ask: Ask) -> Answer:
    """All objects of a kind, as [status, value] of each field."""
    fields = ask.query.words("fields")
    if not fields:
        raise bad_request("Missing the required `fields` argument")
    raw = await ask.luxi.call_raw("Query", _list_name(ask), fields, None)
    return Answer(text=bytes(raw))


@resource(
    "PUT",
    "/2/query/{resource}",
    rights=EITHER,
    query=(_FIELDS,),
    body={
        "type": "object",
        "properties": {
            "fields": schemas.TEXTS,
            "qfilter": {"anyOf": [{"type": "array"}, {"type": "null"}]},
            "filter": {"anyOf": [{"type": "array"}, {"type": "null"}], "deprecated": True},
        },
    },
    result=_QUERY_RESULT,
)
async def query_filtered(ask: Ask) -> Answer:
    """The objects of a kind that a filter keeps, as [status, value] of each field."""
    body = ask.object_body()
    fields = body.get("fields") or ask.query.words("fields")
    if not isinstance(fields, list) or not fields or not all(isinstance(name, str) for name in fields):
        raise bad_request("`fields` is a list of names, in the body or in the query")
    qfilter = body.get("qfilter", body.get("filter"))
    raw = await ask.luxi.call_raw("Query", _list_name(ask), fields, qfilter)
    return Answer(text=bytes(raw))


@resource("GET", "/2/query/{resource}/fields", query=(_FIELDS,), result=schemas.record(("fields",)))
async def query_fields(ask: Ask) -> Answer:
    """What fields a kind of object has."""
    fields = ask.query.words("fields") or None
    return Answer(text=bytes(await ask.luxi.call_raw("QueryFields", _list_name(ask), fields)))
