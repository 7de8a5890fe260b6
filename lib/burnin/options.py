"""What the burn-in is asked to do."""

from __future__ import annotations

import optparse
from collections.abc import Sequence
from typing import Literal

import msgspec

from ganeti import errors
from ganeti.model.objects import DiskTemplate
from ganeti.model.types import MiB, parse_size

Reboot = Literal["soft", "hard", "full"]
REBOOTS: tuple[Reboot, ...] = ("soft", "hard", "full")
#: phases that can be left out: option → what is left out
_LEFT_OUT = {
    "replace1": "new volumes on the nodes that mirrors have",
    "replace2": "another secondary node",
    "failover": "failover",
    "migrate": "live migration",
    "importexport": "export and import",
    "startstop": "stop and start",
    "reinstall": "reinstallation",
    "reboot": "reboots",
    "activate-disks": "disks brought up and down without the guest",
    "add-disks": "a disk more and less",
    "add-nics": "a NIC more and less",
}
_TEMPLATES = ("diskless", "file", "sharedfile", "plain", "drbd")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    instances: tuple[str, ...]
    os: str
    template: DiskTemplate = DiskTemplate.DRBD
    disk_sizes: tuple[MiB, ...] = (128,)
    growths: tuple[MiB, ...] = (128,)
    memory: MiB = 128
    vcpus: int = 1
    hypervisor: str = ""
    nodes: tuple[str, ...] = ()  # empty: all that take instances
    iallocator: str = ""
    rename: str = ""
    reboots: tuple[Reboot, ...] = REBOOTS
    left_out: frozenset[str] = frozenset()
    has_nics: bool = True
    is_parallel: bool = False
    early_release: bool = False
    is_verbose: bool = False
    keep: bool = False
    net_timeout_s: float = 15.0
    http_check: bool = False


def make_parser() -> optparse.OptionParser:
    parser = optparse.OptionParser(
        prog="burnin",
        usage="%prog -o OS [options] INSTANCE...",
        description="Creates the instances, puts them through their whole life, and removes them. Run it on the master "
        "node of a cluster that has nothing to lose by it. Names that are instances already are refused.",
    )
    add = parser.add_option
    add("-o", "--os", help="operating system to install", metavar="OS")
    add("-t", "--disk-template", choices=_TEMPLATES, default="drbd", help=f"{', '.join(_TEMPLATES)} (drbd)")
    add("--disk-size", default="128m", metavar="SIZE,...", help="sizes of the disks (128m)")
    add("--disk-growth", default="128m", metavar="SIZE,...", help="what is added to each, 0: nothing (128m)")
    add("--mem-size", default="128m", metavar="SIZE", help="memory (128m)")
    add("--vcpu-count", type="int", default=1, metavar="N", help="virtual processors (1)")
    add("-H", "--hypervisor", default="", metavar="NAME", help="hypervisor (the cluster's default)")
    add("-n", "--nodes", default="", metavar="NODE,...", help="the nodes to use (all that take instances)")
    add("-I", "--iallocator", default="", metavar="NAME", help="who chooses the nodes, instead of -n")
    add("--rename", default="", metavar="NAME", help="an unused name: each instance gets it for a while")
    add("--reboot-types", default=",".join(REBOOTS), metavar="TYPE,...", help=f"({','.join(REBOOTS)})")
    for name, what in _LEFT_OUT.items():
        add(f"--no-{name}", action="append_const", dest="left_out", const=name, default=[], help=f"leave out: {what}")
    add("--no-nics", action="store_true", default=False, help="instances without network interfaces")
    add("-p", "--parallel", action="store_true", default=False, help="all instances at once, not one after the other")
    add(
        "--early-release", action="store_true", default=False, help="remove replaced volumes before the new are in sync"
    )
    add("-C", "--http-check", action="store_true", default=False,
        help="a running instance has to serve its name as http://INSTANCE/hostname.txt")  # fmt: skip
    add("--net-timeout", type="float", default=15.0, metavar="SECONDS", help="how long -C waits for it (15)")
    add("-v", "--verbose", action="store_true", default=False, help="tell what the jobs tell")
    add("-K", "--keep-instances", action="store_true", default=False, help="do not remove them at the end")
    return parser


def parse(argv: Sequence[str]) -> Options:
    """Raises PrereqError for words that make no sense; exits like every optparse program on unknown options."""
    given, names = make_parser().parse_args(list(argv))
    if not names:
        raise _wrong("no instances are given", hint="give unused names; what they resolve to does not matter")
    if len(set(names)) != len(names):
        raise _wrong("an instance is given twice")
    if not given.os:
        raise _wrong("no operating system is given", hint="gnt-os list tells what there is; -o takes it")
    if given.nodes and given.iallocator:
        raise _wrong("both nodes and an allocator are given", hint="give one of them")
    template = DiskTemplate(given.disk_template)
    sizes, growths = _sizes(given.disk_size), _sizes(given.disk_growth)
    if template is DiskTemplate.DISKLESS:
        sizes = growths = ()
    elif not sizes or 0 in sizes:
        raise _wrong(f"the disk sizes {given.disk_size!r} are no sizes of disks")
    elif len(growths) == 1:
        growths *= len(sizes)
    elif len(growths) != len(sizes):
        raise _wrong(f"there are {len(sizes)} disks and {len(growths)} sizes to grow by")
    reboots = tuple(word for word in REBOOTS if word in given.reboot_types.split(","))
    unknown = sorted(set(given.reboot_types.split(",")) - {*REBOOTS})
    if unknown:
        raise _wrong(f"unknown types of reboot: {', '.join(unknown)}", hint=f"there are {', '.join(REBOOTS)}")
    return Options(
        instances=tuple(names),
        os=given.os,
        template=template,
        disk_sizes=sizes,
        growths=growths,
        memory=parse_size(given.mem_size),
        vcpus=given.vcpu_count,
        hypervisor=given.hypervisor,
        nodes=tuple(word for word in given.nodes.split(",") if word),
        iallocator=given.iallocator,
        rename=given.rename,
        reboots=reboots,
        left_out=frozenset(given.left_out),
        has_nics=not given.no_nics,
        is_parallel=given.parallel,
        early_release=given.early_release,
        is_verbose=given.verbose,
        keep=given.keep_instances,
        net_timeout_s=given.net_timeout,
        http_check=given.http_check,
    )


def _sizes(text: str) -> tuple[MiB, ...]:
    return tuple(parse_size(word) for word in text.split(",") if word)


def _wrong(text: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", text, hint=hint)
