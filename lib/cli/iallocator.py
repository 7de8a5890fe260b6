"""gnt-debug iallocator: trying instance allocators."""

from __future__ import annotations

from ganeti import errors
from ganeti.cli import common
from ganeti.model.objects import DiskTemplate
from ganeti.model.types import parse_size
from ganeti.ops.base import Parse
from ganeti.ops.verbs import Argument, Call, Session, option, verb

_MODES = ("allocate", "allocate-secondary", "relocate", "multi-allocate", "node-evacuate", "change-group")


@verb(
    "gnt-debug",
    "iallocator",
    arguments=(Argument(name="instance", most=None),),
    options=(
        option(
            "direction", "--dir", help="show the input (in), or ask the allocator (out)", choices=("in", "out"),
            absent="in", default="in", metavar="in|out",
        ),
        option("iallocator", "-I", "--iallocator", "--algorithm", help="which allocator", metavar="NAME"),
        option(
            "mode", "-m", "--mode", help="kind of request: " + ", ".join(_MODES), choices=_MODES, absent="relocate",
            default="relocate", metavar="MODE",
        ),
        option("memory", "--memory", "--mem", help="memory of the new instance", parse=Parse.SIZE, absent=128,
               default="128 MiB", metavar="SIZE"),
        option("disks", "--disks", help="sizes of its disks", absent="4096,4096", default="4096,4096",
               metavar="SIZE,..."),
        option("disk_template", "-t", "--disk-template", help="kind of its disks",
               choices=tuple(template.value for template in DiskTemplate), metavar="TEMPLATE"),
        option("nics", "--nics", help="its network interfaces", absent="00:11:22:33:44:55",
               default="00:11:22:33:44:55", metavar="MAC/IP/BRIDGE,..."),
        option("os", "-o", "--os-type", help="its operating system", metavar="OS"),
        option("vcpus", "-p", "--vcpus", help="its virtual processors", kind="int", absent=1, default="1",
               metavar="N"),
        option("tags", "--tags", help="its tags", parse=Parse.LIST, metavar="TAG,..."),
        option("evac_mode", "--evac-mode", help="for node-evacuate: which roles are to be left",
               choices=("primary-only", "secondary-only", "all"), absent="all", default="all", metavar="MODE"),
        option("target_groups", "--target-groups", help="for change-group: where to", parse=Parse.LIST,
               metavar="GROUP,..."),
        option("spindle_use", "--spindle-use", help="its weight on spindles", kind="int", absent=1, default="1",
               metavar="N"),
        option("count", "--count", help="for multi-allocate: how many instances", kind="int", absent=2, default="2",
               metavar="N"),
        common.DRY_RUN,
        common.PRIORITY,
    ),
    aliases=("allocator",),
)  # fmt: skip
def iallocator(session: Session, call: Call) -> int:
    """Show what an instance allocator is given, or what it answers. Nothing is changed.

    The modes allocate and multi-allocate take the name of an instance that is not there yet, the others those of
    instances that are.
    """
    from ganeti.ops.allocation import OpTestAllocator

    given = call.options
    several = given["mode"] in ("node-evacuate", "change-group")
    if not several and len(call.arguments) > 1:
        raise errors.PrereqError("wrong_input", f"mode {given['mode']} is about one instance")
    text = session.run(
        OpTestAllocator(
            direction=given["direction"],
            mode=given["mode"],
            name="" if several else call.arguments[0],
            instances=call.arguments if several else (),
            iallocator=given.get("iallocator", ""),
            memory=given["memory"],
            vcpus=given["vcpus"],
            disks=tuple({"size": parse_size(size), "mode": "rw"} for size in given["disks"].split(",") if size),
            nics=tuple(_nic(nic) for nic in given["nics"].split(",") if nic),
            disk_template=DiskTemplate(given["disk_template"]) if "disk_template" in given else None,
            os=given.get("os", ""),
            tags=tuple(given.get("tags", ())),
            evac_mode=given["evac_mode"],
            target_groups=tuple(given.get("target_groups", ())),
            spindle_use=given["spindle_use"],
            count=given["count"],
        )
    )
    if text is not None:
        session.out(text.rstrip("\n"))
    return 0


def _nic(text: str) -> dict[str, str]:
    """`MAC/IP/BRIDGE`, the last two may be missing or empty."""
    words = text.split("/")
    if len(words) > 3:
        raise errors.PrereqError("wrong_input", f"cannot read {text!r}", hint="write MAC/IP/BRIDGE")
    return {key: word for key, word in zip(("mac", "ip", "bridge"), words, strict=False) if word}
