"""Submits jobs: reason, expected serial number, key of the submission, and waiting for the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.ops import base as ops
from ganeti.rapi import tags
from ganeti.rapi.ask import NO_CHANGE, Answer, Ask, answer, json_kind
from ganeti.rapi.failures import HttpFailure, bad_request

log = logging.getLogger(__name__)

#: longest wait for a job's end that a client may ask for, in seconds
MAX_WAIT_S = 60.0
_FINAL = ("success", "error", "canceled")
#: words of paths that name an object, and the kind of it
_KINDS = {
    "instance_name": ("instance", "QueryInstances"),
    "instances": ("instance", "QueryInstances"),
    "node_name": ("node", "QueryNodes"),
    "nodes": ("node", "QueryNodes"),
    "group_name": ("nodegroup", "QueryGroups"),
    "network_name": ("network", "QueryNetworks"),
}


def check(form: dict[str, Any]) -> None:
    """Whether it is a good opcode. Raises HttpFailure(400)."""
    try:
        ops.decode(form)
    except errors.PrereqError as err:
        raise bad_request(f"Invalid body parameters: {err}") from err


async def job(ask: Ask, forms: Sequence[dict[str, Any]]) -> Answer:
    """Submit one job of these operations; answers its id. Raises HttpFailure."""
    expected = await _expected(ask)
    for number, form in enumerate(forms):
        reason = form.get("reason") or []
        if not isinstance(reason, list):
            raise bad_request(f"`reason` of the body is a list of [source, text, nanoseconds], not {json_kind(reason)}")
        form["reason"] = [*reason, *ask.reasons()]
        if expected is not None and number == 0:
            form["expected"] = expected
        check(form)
    # a key that makes no sense is refused before anything else happens
    number = await ask.luxi.call("SubmitJob", list(forms), key=ask.submission_key)
    if not ask.wait_s:
        return answer(number)
    await _wait(ask, int(number))
    return answer(number, Preference_Applied=f"wait={min(ask.wait_s, MAX_WAIT_S):g}")


async def _expected(ask: Ask) -> dict[str, Any] | None:
    """What If-Match asks for. An object that is different already is told of at once."""
    if not ask.expected or ask.expected.strip() == "*":
        return None
    serial, uuid = tags.parse(ask.expected)
    word = next((word for word in ask.path if word in _KINDS), "")
    if word:
        kind, method = _KINDS[word]
        name = ask.path[word]
        ((found, found_uuid),) = await ask.luxi.call(method, [name], ["serial_no", "uuid"], False)
    elif ask.is_about_cluster:
        kind, name = "cluster", ""
        cluster = await ask.luxi.call("QueryClusterInfo")
        found, found_uuid = cluster["serial_no"], cluster["uuid"]
    else:
        raise bad_request("If-Match is for changes of the cluster, an instance, a node, a node group or a network")
    if found != serial or not str(found_uuid).startswith(uuid):
        raise HttpFailure(412, f"{kind} {name}".rstrip() + f" has serial number {found}, not {serial}")
    return {"kind": kind, "name": name, "serial": serial, "uuid": uuid}


async def _wait(ask: Ask, number: int) -> None:
    """Until the job has ended, the client's patience, this daemon or the master daemon.

    Whatever it is, the job is there: the client gets its number. A changed object is told of as such.
    """
    info: list[Any] | None = None
    deadline = ask.clock() + min(ask.wait_s, MAX_WAIT_S)
    while True:
        left = deadline - ask.clock()
        try:
            found = await ask.news_of_job(number, ("status", "opresult"), info, 1 << 40, left)
        except errors.LuxiError as err:
            log.warning("cannot wait for job %s: %s", number, err)
            return
        if found == NO_CHANGE:
            if left <= 0 or (ask.ending is not None and ask.ending.is_set()):
                return
            continue
        info = found[0]
        if info[0] in _FINAL:
            break
    for result in info[1]:
        if info[0] == "error" and isinstance(result, list) and len(result) == 2 and isinstance(result[1], list):
            error = errors.decode(result)
            if isinstance(error, errors.PrereqError) and error.code == errors.SERIAL_MISMATCH:
                raise HttpFailure(412, str(error))
