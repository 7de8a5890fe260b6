"""From an instance to the configuration file that xl reads (xl.cfg(5)). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestSpec
from ganeti.hypervisor.xen_hvm import params as xen_hvm
from ganeti.model.objects import DiskMode, Params
from ganeti.model.types import MiB

MAX_DISKS = 24
#: emulated disks have the four places of two IDE channels; the CD drive takes the third
_IDE_PLACES = 4
_CD_PLACE = 2
_EMULATED = "hd"
#: without a password VNC is for this machine alone
_LOOPBACK = "127.0.0.1"
#: cannot be written inside a string of this syntax in a way that every release reads
_FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f]|'.*\"|\".*'")
_HINT = "backslashes, control characters and both kinds of quotes together are not possible"
#: parameters that may be any text otherwise
_TEXTS = ("kernel_args", "root_path")
#: prefix of a disk's name → how many of them xl can tell to the guest (xen-vbd-interface(7))
_NAMED = {"hd": _IDE_PLACES, "sd": 16, "xvd": 26}

#: between the parts of a disk or a card; what comes from outside may not add parts of its own
_ENDS_A_PART = re.compile(r"[,\s]")
#: values whose text is told to nobody
_SECRET = ("vncpasswd",)
#: of fully virtual guests: what xl finds by itself is not named, the built-in value is that of other systems
_OVERRIDES = {"kernel_path": "firmware_override", "device_model": "device_model_override"}

Value = str | int | Sequence[str]


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """What the node adds: local paths, and the secret of VNC."""

    disks: tuple[str, ...]
    vnc_password: str = ""
    stays: bool = False  # to be seen when the guest has switched itself off


def unsupported(name: str, hvparams: Params) -> str:
    """Which parameters of the hypervisor `name` ask for something that it cannot do, or nothing."""
    if name == "xen-pvm" and hvparams["soundhw"]:
        return f"soundhw={hvparams['soundhw']} is not possible: paravirtual guests have no emulated sound devices"
    if hvparams["blockdev_prefix"] not in _NAMED:
        return f"blockdev_prefix={hvparams['blockdev_prefix']} is not possible: xl knows {', '.join(_NAMED)}"
    if name == "xen-hvm" and hvparams["disk_type"] == "ioemu" and hvparams["blockdev_prefix"] != _EMULATED:
        return (
            f"disk_type=ioemu with blockdev_prefix={hvparams['blockdev_prefix']} is not possible: "
            f"emulated disks are called {_EMULATED}a to {_EMULATED}d"
        )
    return ""


def unwritable(hvparams: Params) -> str:
    """Which free text xl could not read, or nothing: told when it is set, not when the guest starts."""
    for name in _TEXTS:
        if _FORBIDDEN.search(str(hvparams.get(name, ""))):
            return f"{name} has a character that cannot be written into Xen's configuration ({_HINT})"
    return ""


def overrides(hvparams: Params) -> dict[str, str]:
    """Of a fully virtual guest's loader and device model those that are not left to xl: its word → path."""
    declared = xen_hvm.PARAMETERS
    found = {}
    for name, word in _OVERRIDES.items():
        parameter = declared.get(name)
        if parameter is not None and hvparams[name] != parameter.default:
            found[word] = str(hvparams[name])
    return found


def render(spec: GuestSpec, places: Places) -> str:
    """The whole file. Raises HypervisorError for what xl could not read."""
    problem = unsupported(spec.instance.hypervisor, spec.hvparams)
    if problem:
        raise errors.HypervisorError(problem)
    is_hvm = spec.instance.hypervisor == "xen-hvm"
    entries = _common(spec)
    entries |= _hvm(spec, places) if is_hvm else _pvm(spec.hvparams)
    entries["vif"] = _cards(spec)
    entries["disk"] = _disks(spec, places.disks)
    restarts = spec.hvparams["reboot_behavior"] == "reboot"
    entries |= {
        "on_poweroff": "preserve" if places.stays else "destroy",
        "on_reboot": "restart" if restarts else "destroy",
        "on_crash": "restart" if restarts else "destroy",
    }
    lines = [f"{key} = {_literal(key, value)}" for key, value in entries.items()]
    return "\n".join(["# made by ganeti when the instance starts; changes here are lost", *lines, ""])


def _literal(key: str, value: Value) -> str:
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, str):
        if _FORBIDDEN.search(value):
            shown = "" if key in _SECRET else f": {value[:80]!r}"
            raise errors.HypervisorError(
                f"the value of {key} has a character that cannot be written into Xen's configuration{shown}",
                hint=_HINT,
            )
        return f'"{value}"' if "'" in value else f"'{value}'"
    return "[" + ", ".join(_literal(key, item) for item in value) + "]"


def memory(spec: GuestSpec) -> MiB:
    return int(spec.beparams["maxmem"])


def _common(spec: GuestSpec) -> dict[str, Value]:
    hv, instance = spec.hvparams, spec.instance
    entries: dict[str, Value] = {
        "type": "hvm" if instance.hypervisor == "xen-hvm" else "pv",
        "name": instance.name,
        "uuid": instance.uuid,
        "memory": memory(spec),
        "maxmem": memory(spec),
        "vcpus": int(spec.beparams["vcpus"]),
        "cpu_weight": int(hv["cpu_weight"]),
    }
    if hv["cpu_cap"]:
        entries["cap"] = int(hv["cpu_cap"])
    mask = str(hv["cpu_mask"])
    if mask != "all":
        entries["cpus"] = mask if ":" not in mask else mask.split(":")
    if hv["cpuid"]:
        entries["cpuid"] = str(hv["cpuid"])
    return entries


def _pvm(hv: Params) -> dict[str, Value]:
    if hv["use_bootloader"]:
        entries: dict[str, Value] = {"bootloader": str(hv["bootloader_path"])}
        if hv["bootloader_args"]:
            entries["bootloader_args"] = str(hv["bootloader_args"]).split()
    else:
        entries = {"kernel": str(hv["kernel_path"])}
        if hv["initrd_path"]:
            entries["ramdisk"] = str(hv["initrd_path"])
    if hv["root_path"]:
        entries["root"] = str(hv["root_path"])
    entries["extra"] = str(hv["kernel_args"])
    return entries


def _hvm(spec: GuestSpec, places: Places) -> dict[str, Value]:
    hv, port = spec.hvparams, spec.instance.network_port or 0
    entries: dict[str, Value] = {
        "pae": int(hv["pae"]),
        "acpi": int(hv["acpi"]),
        "apic": 1,
        "boot": str(hv["boot_order"]),
        "sdl": 0,
        "usb": 1,
        "usbdevice": "tablet",
        "vnc": 1,
        "vnclisten": (str(hv["vnc_bind_address"]) or "0.0.0.0") if places.vnc_password else _LOOPBACK,
        "serial": "pty",
    }
    entries |= overrides(hv)
    if port > 5900:
        entries |= {"vncdisplay": port - 5900, "vncunused": 0}
    else:
        entries["vncunused"] = 1
    if places.vnc_password:
        entries["vncpasswd"] = places.vnc_password
    if hv["use_localtime"]:
        entries["localtime"] = 1
    if hv["viridian"]:
        entries["viridian"] = 1
    if hv["pci_pass"]:
        entries["pci"] = str(hv["pci_pass"]).split(";")
    if hv["soundhw"]:
        entries["soundhw"] = str(hv["soundhw"])
    return entries


#: of Xen's own scripts, by mode; the usual one needs no name
_SCRIPTS = {"openvswitch": "vif-openvswitch", "routed": "vif-route"}


def _cards(spec: GuestSpec) -> tuple[str, ...]:
    return tuple(
        _card(spec, nic.mac, nic.ip, params)
        for nic, params in zip(spec.instance.nics, spec.nicparams, strict=True)
    )  # fmt: skip


def _card(spec: GuestSpec, mac: str, ip: str | None, params: Params) -> str:
    hv, mode, link = spec.hvparams, str(params.get("mode") or "bridged"), str(params.get("link") or "")
    parts = [f"mac={mac}"]
    if mode in ("bridged", "openvswitch"):
        parts.append(_part("bridge", link + (str(params.get("vlan") or "") if mode == "openvswitch" else "")))
    if ip:
        parts.append(_part("ip", ip))
    script = str(hv["vif_script"]) or _SCRIPTS.get(mode, "")
    if script:
        parts.append(_part("script", script))
    if spec.instance.hypervisor == "xen-hvm":
        kind = str(hv["nic_type"])
        if kind == "paravirtual" or hv["vif_type"] == "vif":
            parts.append("type=vif")
        else:
            parts += ["type=ioemu", f"model={kind}"]
    return ",".join(parts)


def _part(key: str, value: str) -> str:
    if _ENDS_A_PART.search(value):
        raise errors.HypervisorError(f"{key}={value[:80]!r} of a network card has a comma or a blank in it")
    return f"{key}={value}"


def _disks(spec: GuestSpec, disk_paths: Sequence[str]) -> tuple[str, ...]:
    disks = spec.instance.disks
    if len(disks) > MAX_DISKS:
        raise errors.HypervisorError(f"Xen guests have at most {MAX_DISKS} disks, not {len(disks)}")
    is_hvm = spec.instance.hypervisor == "xen-hvm"
    image = str(spec.hvparams["cdrom_image_path"]) if is_hvm else ""
    names = _device_names(str(spec.hvparams["blockdev_prefix"]), len(disks), has_cd=bool(image))
    if is_hvm and spec.hvparams["disk_type"] == "ioemu" and not all(name.startswith(_EMULATED) for name in names):
        places = _IDE_PLACES - bool(image)
        raise errors.HypervisorError(f"a guest with disk_type=ioemu has at most {places} disks, not {len(disks)}")
    entries = [
        f"format=raw,vdev={name},access={'rw' if disk.mode is DiskMode.RW else 'ro'},target={path}"
        for disk, path, name in zip(disks, disk_paths, names, strict=True)
    ]
    if image:
        entries.append(f"format=raw,vdev=hdc,access=ro,devtype=cdrom,target={image}")
    return tuple(entries)


def _device_names(prefix: str, count: int, *, has_cd: bool) -> list[str]:
    """Of a prefix only as many as there is place for; what does not fit is paravirtual."""
    has_cd = has_cd and prefix == _EMULATED
    places = [place for place in range(MAX_DISKS + 1) if not (has_cd and place == _CD_PLACE)][:count]
    return [f"{prefix if place < _NAMED[prefix] else 'xvd'}{chr(ord('a') + place)}" for place in places]
