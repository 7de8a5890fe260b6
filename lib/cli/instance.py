"""gnt-instance: the commands that are not one operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.cli import blocks, common, lists, tables
from ganeti.cli.blocks import Block
from ganeti.model.types import format_size
from ganeti.ops.verbs import Argument, Call, Session, flag, verb

_LISTING = lists.Listing(
    resource="instance", default_fields=("name", "hypervisor", "os", "pnode", "status", "oper_ram")
)


@verb(
    "gnt-instance",
    "list",
    arguments=(Argument(name="instance", least=0, most=None, completes="instance"),),
    options=(*lists.OPTIONS, common.UNITS, common.FILTER),
    exit_codes=(lists.UNKNOWN_FIELD_CODE,),
)
def list_instances(session: Session, call: Call) -> int:
    """List instances. Arguments are names, patterns with * and ?, or one query filter.

    Without fields that need the nodes the list is made from the configuration alone.
    The environment variable GNT_INSTANCE_LIST holds words that go before the arguments.
    """
    return lists.show(session, call, _LISTING)


lists.fields_verb("gnt-instance", "instance")


@verb(
    "gnt-instance",
    "info",
    arguments=(Argument(name="instance", least=0, most=None, completes="instance"),),
    options=(
        flag("static", "-s", "--static", help="from the configuration alone, no node is asked"),
        flag("all", "--all", help="all instances"),
        common.PRIORITY,
    ),
    aliases=("show",),
)
def info(session: Session, call: Call) -> int:
    """Show everything about instances: state, nodes, parameters, network interfaces and disks."""
    from ganeti.ops.instance import OpInstanceQueryData

    if call.given("all") == bool(call.arguments):
        raise errors.PrereqError("wrong_input", "give either the names of instances or --all")
    details = session.run(OpInstanceQueryData(instances=call.arguments, static=call.given("static")))
    if details:
        session.out(blocks.render([_block(details[name]) for name in details]).removesuffix("\n"))
    return 0


def _block(facts: dict[str, Any]) -> Block:  # Any: JSON of OP_INSTANCE_QUERY_DATA
    group = facts.get("pnode_group_name")
    return Block(
        (
            ("Instance name", facts["name"]),
            ("UUID", facts.get("uuid")),
            ("Serial number", facts.get("serial_no")),
            ("Creation time", _time(facts.get("ctime"))),
            ("Modification time", _time(facts.get("mtime"))),
            ("State", _state(facts)),
            *((("Blocked", facts["blocked"]),) if facts.get("blocked") else ()),
            *((("Old volumes", facts["old_volumes"]),) if facts.get("old_volumes") else ()),
            (
                "Nodes",
                [
                    Block((("primary", facts["pnode"]), *((("group", group),) if group else ()))),
                    Block((("secondaries", ", ".join(facts.get("snodes") or ())),)),
                ],
            ),
            ("Operating system", facts.get("os")),
            ("Operating system parameters", _parameters(facts, "os")),
            *((("Private OS parameters", facts["os_private"]),) if facts.get("os_private") else ()),
            ("Allocated network port", facts.get("network_port")),
            ("Hypervisor", facts.get("hypervisor")),
            *((("console connection", facts["console"]),) if facts.get("console") else ()),
            ("Hypervisor parameters", _parameters(facts, "hv")),
            ("Back-end parameters", _parameters(facts, "be")),
            ("NICs", [_nic(index, nic) for index, nic in enumerate(facts.get("nics") or ())]),
            ("Disk template", facts.get("disk_template")),
            ("Disks", [_disk(index, disk) for index, disk in enumerate(facts.get("disks") or ())]),
            *((("Pending changes", list(facts["pending"])),) if facts.get("pending") else ()),
        )
    )


def _time(epoch_s: float | None) -> str:
    return tables.moment(epoch_s) if epoch_s else ""


def _state(facts: dict[str, Any]) -> str:
    text = f"configured to be {facts.get('config_state')}"
    if facts.get("run_state"):
        text += f", actual state is {facts['run_state']}"
    return text


def _parameters(facts: dict[str, Any], kind: str) -> dict[str, str]:
    own = facts.get(f"{kind}_instance") or {}
    return blocks.parameters(own, facts.get(f"{kind}_actual") or own)


_NIC_KEYS = ("name", "uuid", "ip", "mac", "mode", "link", "vlan", "network")


def _nic(index: int, nic: Sequence[Any]) -> Block:
    known = dict(zip(_NIC_KEYS, nic, strict=False))
    shown = [("MAC", "mac"), ("IP", "ip"), ("mode", "mode"), ("link", "link"), ("vlan", "vlan")]
    shown += [("network", "network"), ("UUID", "uuid"), ("name", "name")]
    return Block(((f"nic/{index}", ""), *((title, known.get(key)) for title, key in shown)))


def _disk(index: int | str, disk: dict[str, Any]) -> Block:
    """A disk, its devices on both nodes and the disks below it."""
    size = disk.get("size")
    head = f"{disk.get('dev_type')}" + (f", size {format_size(size)}" if isinstance(size, (int, float)) else "")
    logical = disk.get("logical_id")
    children = disk.get("children") or []
    pairs: list[tuple[str, Any]] = [
        (f"disk/{index}", head),
        ("access mode", disk.get("mode")),
        ("logical_id", tuple(logical) if isinstance(logical, list) else logical),
    ]
    pairs += [(title, _device(disk[key])) for title, key in _SIDES if disk.get(key)]
    pairs += [("name", disk.get("name")), ("UUID", disk.get("uuid"))]
    if children:
        pairs.append(("child devices", [_disk(number, child) for number, child in enumerate(children)]))
    return Block(tuple(pairs))


_SIDES = (("on primary", "pstatus"), ("on secondary", "sstatus"))


def _device(status: Sequence[Any]) -> str:
    """`[path, major, minor, sync percent, seconds left, is degraded, local disk]` as text."""
    path, major, minor, percent, seconds, is_degraded = (*status, *[None] * 6)[:6]
    text = f"{path or 'N/A'}" + (f" ({major}:{minor})" if major is not None and minor is not None else "")
    if percent is not None:
        left = f"{seconds}s" if seconds is not None else "unknown"
        text += f" *RECOVERING* {percent:5.2f}%, ETA {left}"
    elif is_degraded is not None:
        text += " in sync"
    if is_degraded is not None:
        text += ", status *DEGRADED*" if is_degraded else ", status ok"
    return text
