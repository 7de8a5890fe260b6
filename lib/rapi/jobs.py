"""Jobs and the rules of their queue."""

from __future__ import annotations

from typing import Any

from ganeti.rapi import schemas
from ganeti.rapi.ask import NO_CHANGE, Answer, Ask, answer, json_kind
from ganeti.rapi.auth import WRITE
from ganeti.rapi.failures import HttpFailure, bad_request
from ganeti.rapi.objects import BULK
from ganeti.rapi.routes import resource

BULK_FIELDS = ("id", "ops", "status", "summary", "opstatus", "received_ts", "start_ts", "end_ts")
FIELDS = (*BULK_FIELDS, "oplog", "opresult")
FILTER_FIELDS = ("uuid", "watermark", "priority", "predicates", "action", "reason_trail")
#: longest time that a client waits for news of a job, in seconds
WAIT_S = 10.0
_RULE: dict[str, Any] = {"priority": 0, "predicates": [], "action": "CONTINUE", "reason": []}
_RULE_BODY: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "priority": {"type": "integer", "minimum": 0},
        "predicates": {"type": "array"},
        "action": {},
        "reason": {"type": "array"},
    },
}
_WAIT_BODY: dict[str, Any] = {
    "type": "object",
    "required": ["fields"],
    "properties": {
        "fields": schemas.TEXTS,
        "previous_job_info": {"anyOf": [{"type": "array"}, {"type": "null"}]},
        "previous_log_serial": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    },
}


@resource(
    "GET",
    "/2/jobs",
    query=(BULK,),
    result={
        "type": "array",
        "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}},
    },
)
async def list_jobs(ask: Ask) -> Answer:
    """All jobs that are not archived: links, or whole objects."""
    if ask.query.flag("bulk"):
        rows = await ask.luxi.call("QueryJobs", [], list(BULK_FIELDS))
        return answer([dict(zip(BULK_FIELDS, row, strict=True)) for row in rows])
    numbers = sorted(int(number) for (number,) in await ask.luxi.call("QueryJobs", [], ["id"]))
    return answer([{"id": number, "uri": f"/2/jobs/{number}"} for number in numbers])


@resource("GET", "/2/jobs/{job_id}", result=schemas.record(FIELDS))
async def get_job(ask: Ask) -> Answer:
    """One job with its log and results."""
    rows = await ask.luxi.call("QueryJobs", [int(ask.path["job_id"])], list(FIELDS))
    # of a job that is not known the master tells its number alone, or nothing
    if not rows or rows[0] is None or rows[0][FIELDS.index("status")] is None:
        raise HttpFailure(404, f"job {ask.path['job_id']} is not known")
    return answer(dict(zip(FIELDS, rows[0], strict=True)))


@resource("DELETE", "/2/jobs/{job_id}", result={"type": "array", "minItems": 2, "maxItems": 2})
async def cancel_job(ask: Ask) -> Answer:
    """Cancel a job that waits. Result: whether it was, and a sentence."""
    return answer(await ask.luxi.call("CancelJob", int(ask.path["job_id"])))


@resource(
    "GET",
    "/2/jobs/{job_id}/wait",
    rights=(WRITE,),
    body=_WAIT_BODY,
    needs_body=True,
    result={"anyOf": [schemas.NULL, schemas.record(("job_info", "log_entries"))]},
)
async def wait_for_job_change(ask: Ask) -> Answer:
    """Wait up to ten seconds for a change of a job; null: there was none. Also without `fields`, by the query."""
    body = ask.object_body()
    fields = body.get("fields", ask.query.words("fields"))
    info, serial = body.get("previous_job_info"), body.get("previous_log_serial")
    if not isinstance(fields, list) or not fields or not all(isinstance(name, str) for name in fields):
        raise bad_request("The body needs `fields`, a list of names")
    if info is not None and not isinstance(info, list):
        raise bad_request(f"`previous_job_info` is a list or null, not {json_kind(info)}")
    if serial is not None and (not isinstance(serial, int) or isinstance(serial, bool)):
        raise bad_request(f"`previous_log_serial` is a whole number or null, not {json_kind(serial)}")
    found = await ask.news_of_job(int(ask.path["job_id"]), fields, info, serial, WAIT_S)
    if found == NO_CHANGE:
        return answer(None)
    return answer({"job_info": found[0], "log_entries": found[1]})


# The rules of the queue


@resource(
    "GET",
    "/2/filters",
    query=(BULK,),
    result={"type": "array", "items": {"type": "object", "required": ["uuid"], "properties": {"uuid": schemas.TEXT}}},
)
async def list_filters(ask: Ask) -> Answer:
    """All rules of the job queue: links, or whole objects."""
    rows = await ask.luxi.call("QueryFilters", [], list(FILTER_FIELDS))
    if ask.query.flag("bulk"):
        return answer([dict(zip(FILTER_FIELDS, row, strict=True)) for row in rows])
    return answer([{"uuid": row[0], "uri": f"/2/filters/{row[0]}"} for row in rows])


@resource("GET", "/2/filters/{uuid}", result=schemas.record(FILTER_FIELDS))
async def get_filter(ask: Ask) -> Answer:
    """One rule of the job queue."""
    rows = await ask.luxi.call("QueryFilters", [ask.path["uuid"]], list(FILTER_FIELDS))
    if not rows:
        raise HttpFailure(404, f"there is no job filter {ask.path['uuid']}")
    return answer(dict(zip(FILTER_FIELDS, rows[0], strict=True)))


async def _store(ask: Ask, uuid: str | None) -> Answer:
    body = ask.object_body()
    unknown = sorted(body.keys() - _RULE.keys())
    if unknown:
        raise bad_request(f"A filter has no {', '.join(unknown)[:200]}; it has {', '.join(_RULE)}")
    rule = {**_RULE, **body}
    if not isinstance(rule["priority"], int) or isinstance(rule["priority"], bool):
        raise bad_request("The priority of a filter is a whole number")
    for name in ("predicates", "reason"):
        if not isinstance(rule[name], list):
            raise bad_request(f"`{name}` of a filter is a list, not {json_kind(rule[name])}")
    reason = [*rule["reason"], *ask.reasons()]
    return answer(
        await ask.luxi.call("ReplaceFilter", uuid, rule["priority"], rule["predicates"], rule["action"], reason)
    )


@resource("POST", "/2/filters", body=_RULE_BODY, result=schemas.TEXT)
async def add_filter(ask: Ask) -> Answer:
    """Add a rule to the job queue. Result: its uuid."""
    return await _store(ask, None)


@resource("PUT", "/2/filters/{uuid}", body=_RULE_BODY, result=schemas.TEXT)
async def replace_filter(ask: Ask) -> Answer:
    """Put a rule in the place of the one with that uuid, or make it. Result: the uuid."""
    return await _store(ask, ask.path["uuid"])


@resource("DELETE", "/2/filters/{uuid}", result=schemas.NULL)
async def delete_filter(ask: Ask) -> Answer:
    """Remove a rule of the job queue."""
    await ask.luxi.call("DeleteFilter", ask.path["uuid"])
    return answer(None)
