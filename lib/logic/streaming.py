"""Steps that send the contents of a disk or a dump from one node to another."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.export import (
    COMPRESSIONS,
    Contents,
    Endpoint,
    Facilities,
    FromDisk,
    FromDump,
    StreamFacilities,
    StreamListen,
    StreamSend,
    StreamStop,
    ToDisk,
    ToDump,
)
from ganeti.calls.os import OsDefinition, OsStop
from ganeti.logic import checks
from ganeti.logic.base import Env
from ganeti.logic.steps import Effect, Step
from ganeti.model.objects import Node


def steps(
    env: Env,
    *,
    title: str,
    sender: Node,
    receiver: Node,
    source: FromDisk | FromDump,
    into: ToDump | ToDisk,
    compress: str,
) -> list[Step]:
    """The receiver listens, the sender sends; whatever was sent is taken back by whoever made the place for it."""
    stream = env.new_uuid()
    listen = StreamListen(
        stream=stream,
        address=receiver.secondary_ip,
        peer_digest=sender.certificate_digest,
        into=into,
        request=env.new_request(),
    )
    send = StreamSend(
        stream=stream,
        endpoint=Endpoint(address=receiver.secondary_ip, port=0),  # what the step before it replies
        peer=receiver.uuid,
        compress=compress,
        source=source,
        request=env.new_request(),
    )
    return [
        Effect(
            title=f"make {receiver.name} wait for {title}",
            node=receiver.uuid,
            call=listen,
            undo=StreamStop(request=env.new_request(), undoes=listen.request),
            passes="endpoint",
        ),
        Effect(
            title=f"send {title} from {sender.name} to {receiver.name}",
            node=sender.uuid,
            call=send,
            undo=OsStop(request=env.new_request(), undoes=send.request),
        ),
    ]


async def check_compression(env: Env, compress: str, sender: Node, receiver: Node) -> Facilities:
    """Both nodes can do it. The receiver's facilities."""
    # the cluster lists those of old; zstd came with this system
    allowed = ("none", "zstd", *env.config.cluster.compression_tools)
    if compress not in COMPRESSIONS or compress not in allowed:
        usable = [name for name in COMPRESSIONS if name in allowed]
        raise errors.PrereqError(
            "wrong_input", f"there is no compression {compress!r}", hint="there are " + ", ".join(usable)
        )
    question = "ask what it can compress with"
    at_sender, at_receiver = await checks.both(
        checks.ask(env, sender.uuid, StreamFacilities(), question),
        checks.ask(env, receiver.uuid, StreamFacilities(), question),
    )
    for node, found in ((sender, at_sender), (receiver, at_receiver)):
        if compress not in found.compressions:
            raise errors.PrereqError(
                "environment_error",
                f"node {node.name} has no program for the compression {compress}",
                hint="it has " + ", ".join(found.compressions),
            )
    return at_receiver


def contents(found: OsDefinition | None, os: str, os_mode: str, script: str) -> Contents:
    """What moves the content of an instance's disks. `found`: the definition on its node. Raises PrereqError."""
    if os_mode == "raw" or (os_mode == "auto" and not os):
        return Contents.RAW
    with_raw = "--os-mode=raw moves whole disks without the OS's scripts"
    if not os:
        raise errors.PrereqError("wrong_input", "the instance has no OS whose scripts could be used", hint=with_raw)
    if found is None:
        raise errors.PrereqError("unknown_entity", f"its node has no OS {os}", hint=with_raw)
    if script in found.scripts:
        return Contents.SCRIPT
    if os_mode == "auto" and not {"import", "export"} & set(found.scripts):
        return Contents.RAW
    raise errors.PrereqError(
        "wrong_state", f"OS {found.name} has no script {script}, so that is not possible with it", hint=with_raw
    )
