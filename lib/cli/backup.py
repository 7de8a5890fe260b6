"""gnt-backup."""

from __future__ import annotations

from typing import Any

import msgspec

from ganeti import errors
from ganeti.cli import blocks, common, lists, results, tables
from ganeti.cli.blocks import Block
from ganeti.cli.session import Session
from ganeti.model.types import format_size
from ganeti.ops.backup import OS_MODE_HELP
from ganeti.ops.instance import OpInstanceCreate
from ganeti.ops.verbs import Argument, Call, flag, option, verb
from ganeti.ops.verbs import Session as AnySession

_LISTING = lists.Listing(resource="export", default_fields=("node", "export"), name_field="node")


@verb(
    "gnt-backup",
    "list",
    options=(
        *lists.OPTIONS,
        common.UNITS,
        option(
            "nodes", "-n", "--node", help="exports of this node only; may be repeated", metavar="NODE", is_list=True
        ),
    ),
    exit_codes=(lists.UNKNOWN_FIELD_CODE,),
)
def list_exports(session: AnySession, call: Call) -> int:
    """List the exports that the nodes keep."""
    return lists.show(
        session, msgspec.structs.replace(call, arguments=tuple(call.options.get("nodes") or ())), _LISTING
    )


lists.fields_verb("gnt-backup", "export")


@verb(
    "gnt-backup",
    "import",
    operation=OpInstanceCreate,
    without=("no_install", "start", "force_variant"),
    options=(
        option("src_node", "--src-node", help="node that holds the export [looked for everywhere]", metavar="NODE"),
        option("src_path", "--src-dir", help="directory of the export [the name of the instance]", metavar="DIR"),
        option(
            "compress",
            "--compress",
            help="on the way: none, gzip, gzip-fast, gzip-slow or zstd",
            default="none",
            metavar="TOOL",
        ),
        flag(
            "identify_defaults",
            "--identify-defaults",
            help="do not set parameters of the export that equal the cluster's defaults",
        ),
        option("os_mode", "--os-mode", help=OS_MODE_HELP, choices=("auto", "script", "raw"), metavar="MODE"),
    ),
)
def import_instance(session: AnySession, call: Call) -> int:
    """Create an instance from an export; it is not started.

    What is not given is taken from the export: disks, network interfaces, parameters, operating system, tags. It has
    at least as many disks as were exported, and they are new: nothing is adopted. An instance with the exported name
    gets the exported MAC addresses.
    """
    from ganeti.cli import submission

    assert isinstance(session, Session), session
    form: dict[str, Any] = {**call.form, "mode": "import", "start": False}
    form |= {
        name: call.options[name]
        for name in ("src_node", "src_path", "compress", "identify_defaults", "os_mode")
        if name in call.options
    }
    form = submission.checked(form)
    answer = session.run_job([form])
    return 0 if answer is None else results.tell(session, form, answer[0])


@verb(
    "gnt-backup",
    "info",
    arguments=(Argument(name="instance", least=0, most=None),),
    options=(flag("all", "--all", help="all exports"), common.PRIORITY),
    aliases=("show",),
)
def info(session: AnySession, call: Call) -> int:
    """Show what exports hold: when they were made, of which node, disks and parameters."""
    from ganeti.ops.backup import OpBackupQueryData

    if call.given("all") == bool(call.arguments):
        raise errors.PrereqError("wrong_input", "give either the names of exports or --all")
    found = session.run(OpBackupQueryData(names=call.arguments)) or {}
    shown = [_block(name, details) for name in sorted(found) for details in found[name]]
    if shown:
        session.out(blocks.render(shown).removesuffix("\n"))
    return 0


def _block(name: str, details: dict[str, Any]) -> Block:  # Any: JSON of OP_BACKUP_QUERY_DATA
    head = [("Export", name), ("Node", details["node"]), ("Directory", details["directory"])]
    if details["problem"]:
        return Block((*head, ("Problem", details["problem"])))
    sizes = details["dump_sizes"]
    return Block(
        (
            *head,
            ("Time", tables.moment(details["timestamp"])),
            ("Primary node", details["source"]),
            ("Operating system", details["os"]),
            ("Contents", "whole disks" if details["contents"] == "raw" else "written by the export script"),
            ("Compression", details["compression"]),
            ("Disk template", details["template"]),
            ("Disks", [_disk(index, disk, sizes) for index, disk in enumerate(details["disks"])]),
            ("NICs", [_nic(index, nic) for index, nic in enumerate(details["nics"])]),
            ("Hypervisor", details["hypervisor"]),
            ("Hypervisor parameters", details["hvparams"]),
            ("Back-end parameters", details["beparams"]),
            ("Operating system parameters", details["osparams"]),
            ("Tags", ", ".join(details["tags"])),
        )
    )


def _disk(index: int, disk: dict[str, Any], sizes: dict[str, int]) -> Block:
    pairs = [(f"disk/{index}", f"size {format_size(disk['size'])}"), ("name", disk["name"])]
    if not disk["dump"]:
        return Block((*pairs, ("dump", "not exported")))
    size = sizes.get(disk["dump"])
    pairs.append(("dump", f"{disk['dump']}, " + ("missing" if size is None else f"{size} bytes")))
    pairs.append(("checksum", disk["checksum"]))
    return Block(tuple(pairs))


def _nic(index: int, nic: dict[str, Any]) -> Block:
    told = [("MAC", nic["mac"]), ("IP", nic["ip"]), *sorted(nic["params"].items()), ("name", nic["name"])]
    return Block(((f"nic/{index}", ""), *told))
