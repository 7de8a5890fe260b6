"""Disks and NICs as clients describe them: untrusted dicts in, typed values out. All raise PrereqError(wrong_input)."""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ganeti import errors, settings
from ganeti.model import params
from ganeti.model.config import Config
from ganeti.model.objects import Cluster, Disk, DiskMode, DiskTemplate, Params
from ganeti.model.types import MAC, MiB, Uuid, parse_size

MAX_DISKS = 16
MAX_NICS = 8
FILE_DRIVERS = ("loop", "blktap", "blktap2")
FILE_TEMPLATES = (DiskTemplate.FILE, DiskTemplate.SHAREDFILE)
#: templates whose disks every node sees
EXTERNAL = (
    DiskTemplate.SHAREDFILE, DiskTemplate.GLUSTER, DiskTemplate.RBD, DiskTemplate.EXT, DiskTemplate.BLOCKDEV,
)  # fmt: skip
#: templates that instances can have in this version
AVAILABLE = (DiskTemplate.DISKLESS, *FILE_TEMPLATES, DiskTemplate.PLAIN, DiskTemplate.DRBD, DiskTemplate.BLOCKDEV)

_DISK_KEYS = ("size", "mode", "name", "exportable", "vg", "metavg")
#: in place of a size, where a new instance takes over what is there
_ADOPT = "adopt"
#: templates whose disks may be what was there before
ADOPTABLE = (DiskTemplate.PLAIN, DiskTemplate.BLOCKDEV)
#: those of them must be
EXISTING = (DiskTemplate.BLOCKDEV,)
_NIC_KEYS = ("mac", "ip", "mode", "link", "bridge", "vlan", "name", "network")
_LABEL = re.compile(r"[\w.+:@-]{1,128}\Z", re.ASCII)
_VG = re.compile(r"(?!-)[\w+.-]{1,127}\Z", re.ASCII)
_DEVICE = re.compile(r"/dev/disk(?:/[\w.+:@,=#~-]+)+\Z", re.ASCII)
_DIRECTORY = re.compile(r"[\w.+@-]+(?:/[\w.+@-]+)*\Z", re.ASCII)


class DiskSpec(msgspec.Struct, frozen=True, kw_only=True):
    size: MiB  # 0 of what is adopted, until it was looked at
    mode: DiskMode = DiskMode.RW
    name: str = ""
    exportable: bool = True
    vg: str = ""  # volume group; empty: the cluster's
    metavg: str = ""  # of a mirror's metadata
    adopt: str = ""  # name of a logical volume, or path of a device, that is there; empty: a new disk


class NicChange(msgspec.Struct, frozen=True, kw_only=True):
    """None: stays as it is."""

    mac: str | None = None  # auto, generate, or an address in lower case
    has_ip: bool = False  # `ip` is given
    ip: str | None = None
    network: str | None = None  # uuid; empty: none
    name: str | None = None
    params: Params = {}  # None as a value: back to the default


class NicSpec(msgspec.Struct, frozen=True, kw_only=True):
    mac: str = "auto"  # auto, generate, or an address in lower case
    ip: str | None = None  # auto: the one of the instance's name; pool: any free one of the network
    network: str = ""  # uuid
    name: str = ""
    params: Params = {}


def _wrong(message: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", message, hint=hint)


def _known(untrusted: Mapping[str, Any], keys: Iterable[str], what: str) -> None:
    unknown = sorted(set(untrusted) - set(keys))
    if unknown:
        raise _wrong(f"{what}: unknown key {unknown[0]!r}", hint="the keys are " + ", ".join(keys))


def label(value: Any, what: str) -> str:
    if value is None or (isinstance(value, str) and value.lower() == "none"):
        return ""
    if not isinstance(value, str) or not _LABEL.match(value):
        raise _wrong(f"{what}: {value!r} cannot be a name", hint="use letters, digits and _ . + : @ -")
    return value


def available(template: DiskTemplate, cluster: Cluster) -> None:
    if template not in AVAILABLE:
        raise _wrong(
            f"disk template {template.value} is not available in this version",
            hint="available are " + ", ".join(each.value for each in AVAILABLE),
        )
    if template not in cluster.enabled_disk_templates:
        enabled = ", ".join(each.value for each in cluster.enabled_disk_templates)
        raise errors.PrereqError(
            "wrong_state",
            f"disk template {template.value} is not enabled on this cluster",
            hint=f"enabled are {enabled}; see gnt-cluster modify --enabled-disk-templates",
        )


def size(value: Any, what: str) -> MiB:
    """Whole MiB from a number of MiB or a text such as 10g."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _wrong(f"{what}: size {value!r} is neither a number of MiB nor a text such as 10g")
    try:
        found = parse_size(value) if isinstance(value, str) else value
    except errors.UnitParseError as err:
        raise _wrong(f"{what}: {err}") from err
    if found <= 0:
        raise _wrong(f"{what}: size {value!r} is not more than 0 MiB")
    return found


def disks(untrusted: Iterable[Mapping[str, Any]], template: DiskTemplate) -> tuple[DiskSpec, ...]:
    """Checked against what the template takes."""
    given = list(untrusted)
    if template is DiskTemplate.DISKLESS:
        if given:
            raise _wrong(f"a diskless instance takes no disks, but {len(given)} were given")
        return ()
    if not given:
        raise _wrong(f"disk template {template.value} needs at least one disk", hint="add --disk 0:size=SIZE")
    if len(given) > MAX_DISKS:
        raise _wrong(f"{len(given)} disks are too many", hint=f"an instance has at most {MAX_DISKS}")
    found = [disk(one, f"disk {index}", may_adopt=True) for index, one in enumerate(given)]
    _unique((spec.name for spec in found), "disk")
    _check_adopted(found, template)
    if template in FILE_TEMPLATES and any(spec.vg or spec.metavg for spec in found):
        raise _wrong(f"disks of template {template.value} lie in no volume group")
    return tuple(found)


def adopts(untrusted: Iterable[Mapping[str, Any]]) -> bool:
    """Whether disks of a new instance are to be what is there already."""
    return any(_ADOPT in each for each in untrusted)


def _check_adopted(found: Sequence[DiskSpec], template: DiskTemplate) -> None:
    taken = [spec for spec in found if spec.adopt]
    if not taken:
        never_made(template)
        return
    if len(taken) < len(found):
        raise _wrong(
            "some disks are adopted and others are not",
            hint="adopt all disks of the instance; more can be added afterwards with gnt-instance modify --disk add",
        )
    if template not in ADOPTABLE:
        hint = "adopted as plain it can be converted afterwards: gnt-instance modify -t drbd"
        raise _wrong(
            f"nothing can be adopted as a disk of template {template.value}",
            hint=hint if template is DiskTemplate.DRBD else "it can with " + ", ".join(t.value for t in ADOPTABLE),
        )
    if any(spec.metavg for spec in taken):
        raise _wrong(f"disks of template {template.value} have no metadata that could lie in a metavg")
    if template is DiskTemplate.BLOCKDEV and any(spec.vg for spec in taken):
        raise _wrong(f"disks of template {template.value} lie in no volume group")
    check = _DEVICE if template is DiskTemplate.BLOCKDEV else _VG
    for spec in taken:
        if not check.match(spec.adopt) or ".." in spec.adopt.split("/"):
            raise _wrong(
                f"{spec.adopt!r} cannot be adopted as a disk of template {template.value}",
                hint="write adopt=/dev/disk/by-id/NAME, or another name below /dev/disk that stays when disks are added"
                if template is DiskTemplate.BLOCKDEV
                else "write adopt=NAME,vg=GROUP; without vg it is looked for in the cluster's volume group",
            )


def never_made(template: DiskTemplate) -> None:
    """Raises PrereqError for templates whose disks are always there before."""
    if template in EXISTING:
        raise _wrong(
            f"disks of template {template.value} are devices that are there: none can be made",
            hint="gnt-instance add -t blockdev --disk 0:adopt=/dev/disk/... takes them over",
        )


def disk(untrusted: Mapping[str, Any], what: str, *, may_adopt: bool = False) -> DiskSpec:
    if not may_adopt and _ADOPT in untrusted:
        raise _wrong(f"{what}: only a new instance can adopt what is there", hint="see gnt-instance add")
    _known(untrusted, (*_DISK_KEYS, _ADOPT) if may_adopt else _DISK_KEYS, what)
    if _ADOPT in untrusted and "size" in untrusted:
        raise _wrong(f"{what}: size and adopt exclude each other", hint="what is adopted has the size that it has")
    if _ADOPT not in untrusted and "size" not in untrusted:
        raise _wrong(f"{what} has no size", hint="write size=NUMBER, in MiB or with g or t after it")
    return DiskSpec(
        size=size(untrusted["size"], what) if "size" in untrusted else 0,
        adopt=_adopted(untrusted[_ADOPT], what) if _ADOPT in untrusted else "",
        mode=disk_mode(untrusted.get("mode", "rw"), what),
        name=label(untrusted.get("name"), what),
        exportable=yes_no(untrusted.get("exportable", True), f"{what}: exportable"),
        vg=_volume_group(untrusted.get("vg"), f"{what}: vg"),
        metavg=_volume_group(untrusted.get("metavg"), f"{what}: metavg"),
    )


def _adopted(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise _wrong(f"{what}: adopt is {value!r}", hint="write adopt=NAME")
    return value


def _volume_group(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not _VG.match(value):
        raise _wrong(f"{what} is {value!r}, which cannot be the name of a volume group")
    return value


def disk_mode(value: Any, what: str) -> DiskMode:
    if value not in ("rw", "ro"):
        raise _wrong(f"{what}: mode {value!r} is neither rw nor ro")
    return DiskMode(value)


def yes_no(value: Any, what: str) -> bool:
    word = value.lower() if isinstance(value, str) else value
    if word in ("yes", "true", True):
        return True
    if word in ("no", "false", False):
        return False
    raise _wrong(f"{what} is {value!r}", hint="write yes or no")


def _unique(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name and name in seen:
            raise _wrong(f"two {what}s are called {name!r}")
        seen.add(name)


def nics(untrusted: Iterable[Mapping[str, Any]], config: Config) -> tuple[NicSpec, ...]:
    given = list(untrusted)
    if len(given) > MAX_NICS:
        raise _wrong(f"{len(given)} NICs are too many", hint=f"an instance has at most {MAX_NICS}")
    found = [nic(one, f"NIC {index}", config) for index, one in enumerate(given)]
    _unique((spec.name for spec in found), "NIC")
    addresses = [spec.mac for spec in found if spec.mac not in ("auto", "generate")]
    if len(set(addresses)) != len(addresses):
        raise _wrong("two NICs have the same mac")
    return tuple(found)


def nic(untrusted: Mapping[str, Any], what: str, config: Config) -> NicSpec:
    _known(untrusted, _NIC_KEYS, what)
    network = _network(untrusted.get("network"), config)
    ip = _ip(untrusted.get("ip"), what, on_network=bool(network))
    parsed = params.merged({}, _nic_params(untrusted, what))
    if network and parsed:
        raise _wrong(
            f"{what}: a network decides about {' and '.join(sorted(parsed))} itself",
            hint="leave them out, or leave out the network",
        )
    filled = params.filled_nic(config, parsed)
    if untrusted.get("bridge") is not None and filled["mode"] == "routed":
        raise _wrong(f"{what}: a routed NIC has no bridge", hint="give link, the routing table")
    if not network:  # else it depends on the node group
        params.check_nic(filled, ip)
    return NicSpec(
        mac=mac(untrusted.get("mac", "auto"), what),
        ip=ip,
        name=label(untrusted.get("name"), what),
        network=network,
        params=parsed,
    )


def nic_change(untrusted: Mapping[str, Any], what: str, config: Config, *, on_network: bool) -> NicChange:
    """`on_network`: the NIC is on one now."""
    _known(untrusted, _NIC_KEYS, what)
    network = _network(untrusted["network"], config) if "network" in untrusted else None
    parsed = _nic_params(untrusted, what)
    will_be = on_network if network is None else bool(network)
    if will_be and parsed:
        raise _wrong(
            f"{what}: a network decides about {' and '.join(sorted(parsed))} itself",
            hint="leave them out, or take it off the network with network=none",
        )
    return NicChange(
        mac=mac(untrusted["mac"], what) if "mac" in untrusted else None,
        has_ip="ip" in untrusted,
        ip=_ip(untrusted.get("ip"), what, on_network=will_be),
        network=network,
        name=label(untrusted["name"], what) if "name" in untrusted else None,
        params=parsed,
    )


def _nic_params(untrusted: Mapping[str, Any], what: str) -> Params:
    """Typed; None where an override shall go."""
    own = {key: untrusted[key] for key in ("mode", "link", "vlan") if key in untrusted}
    if "bridge" in untrusted:
        if "link" in own:
            raise _wrong(f"{what}: bridge is another word for link: give one of them")
        own["link"] = untrusted["bridge"]
    return params.parse_nic(own)


def mac(value: Any, what: str) -> str:
    """`auto`, `generate`, or a unicast address in lower case."""
    lower = value.lower() if isinstance(value, str) else ""
    if lower in ("auto", "generate"):
        return lower
    if not MAC.match(lower):
        raise _wrong(f"{what}: {value!r} is no MAC address", hint="write auto, generate or aa:bb:cc:dd:ee:ff")
    if int(lower[:2], 16) & 1:
        raise _wrong(f"{what}: {lower} is a group address", hint="the first byte of a NIC's address is even")
    return lower


def _network(value: Any, config: Config) -> str:
    """Uuid of the network, or empty."""
    if value is None or (isinstance(value, str) and value.lower() in ("none", "")):
        return ""
    return config.network(str(value)).uuid


def _ip(value: Any, what: str, *, on_network: bool) -> str | None:
    if value is None or (isinstance(value, str) and value.lower() in ("none", "")):
        return None
    if isinstance(value, str) and value.lower() == "auto":
        return "auto"
    if isinstance(value, str) and value.lower() == "pool":
        if not on_network:
            raise _wrong(f"{what}: ip=pool needs a network", hint="add network=NAME")
        return "pool"
    try:
        return str(ipaddress.ip_address(value if isinstance(value, str) else ""))
    except ValueError as err:
        raise _wrong(f"{what}: {value!r} is no IP address", hint="write none, auto or an address") from err


# Where file disks lie


def file_directory(cluster: Cluster, template: DiskTemplate, sub_directory: str, instance: str) -> str:
    """Logical directory of an instance's file disks. `sub_directory` is below the cluster's file storage directory."""
    if template is DiskTemplate.FILE:
        base = cluster.file_storage_dir or settings.FILE_STORAGE_DIR
    else:
        base = cluster.shared_file_storage_dir or settings.SHARED_FILE_STORAGE_DIR
    if sub_directory:
        parts = sub_directory.split("/")
        if not _DIRECTORY.match(sub_directory) or ".." in parts or "." in parts:
            raise _wrong(
                f"file storage directory {sub_directory!r} is not a plain relative path",
                hint=f"it is taken below {base}",
            )
        base = posixpath.join(base, sub_directory)
    return posixpath.join(base, instance)


def file_driver(value: str) -> str:
    driver = value or FILE_DRIVERS[0]
    if driver not in FILE_DRIVERS:
        raise _wrong(f"there is no file driver {driver!r}", hint="there are " + ", ".join(FILE_DRIVERS))
    return driver


def file_disk(spec: DiskSpec, uuid: Uuid, template: DiskTemplate, driver: str, path: str) -> Disk:
    return Disk(
        uuid=uuid,
        template=template,
        size=spec.size,
        mode=spec.mode,
        name=spec.name,
        exportable=spec.exportable,
        logical_id=(driver, path),
    )


def renamed(disk: Disk, old_name: str, new_name: str) -> Disk:
    """The disk as it is called when its instance has another name: file disks lie in a directory of that name."""
    if disk.template not in FILE_TEMPLATES:
        return disk
    directory, name = posixpath.split(str(disk.logical_id[1]))
    above, last = posixpath.split(directory)
    if last != old_name:
        return disk  # adopted from elsewhere: it keeps its place
    moved = posixpath.join(above, new_name, name)
    return msgspec.structs.replace(disk, logical_id=(disk.logical_id[0], moved))
