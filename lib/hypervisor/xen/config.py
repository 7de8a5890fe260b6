"""From an instance to the configuration file that xl reads (xl.cfg(5)). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from ganeti import errors
from ganeti.calls.instance import GuestSpec
from ganeti.model.objects import DiskMode, Params
from ganeti.model.types import MiB

MAX_DISKS = 24
#: emulated disks have the four places of two IDE channels; the CD drive takes the third
_IDE_PLACES = 4
_CD_PLACE = 2
#: neither can be written inside a string of this syntax in a way that every release reads
_FORBIDDEN = re.compile(r"['\\\x00-\x1f\x7f]")

Value = str | int | Sequence[str]


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """What the node adds: local paths, and the secret of VNC."""

    disks: tuple[str, ...]
    vnc_password: str = ""


def render(spec: GuestSpec, places: Places) -> str:
    """The whole file. Raises HypervisorError for what xl could not read."""
    is_hvm = spec.instance.hypervisor == "xen-hvm"
    entries = _common(spec)
    entries |= _hvm(spec, places) if is_hvm else _pvm(spec.hvparams)
    entries["vif"] = _cards(spec)
    entries["disk"] = _disks(spec, places.disks)
    restarts = spec.hvparams["reboot_behavior"] == "reboot"
    entries |= {
        "on_poweroff": "destroy",
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
            raise errors.HypervisorError(
                f"the value of {key} has a character that cannot be written into Xen's configuration: {value[:80]!r}",
                hint="quotes, backslashes and control characters are not possible",
            )
        return f"'{value}'"
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
        "vnclisten": str(hv["vnc_bind_address"]) or "0.0.0.0",
        "serial": "pty",
    }
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


def _cards(spec: GuestSpec) -> tuple[str, ...]:
    return tuple(
        _card(spec, nic.mac, nic.ip, params)
        for nic, params in zip(spec.instance.nics, spec.nicparams, strict=True)
    )  # fmt: skip


def _card(spec: GuestSpec, mac: str, ip: str | None, params: Params) -> str:
    hv, mode, link = spec.hvparams, str(params.get("mode") or "bridged"), str(params.get("link") or "")
    parts = [f"mac={mac}"]
    if mode == "bridged":
        parts.append(f"bridge={link}")
    elif mode == "openvswitch":
        parts += [f"bridge={link}{params.get('vlan') or ''}", "script=vif-openvswitch"]
    if ip:
        parts.append(f"ip={ip}")
    if hv["vif_script"]:
        parts.append(f"script={hv['vif_script']}")
    elif mode == "routed":
        parts.append("script=vif-route")
    if spec.instance.hypervisor == "xen-hvm":
        kind = str(hv["nic_type"])
        if kind == "paravirtual" or hv["vif_type"] == "vif":
            parts.append("type=vif")
        else:
            parts += ["type=ioemu", f"model={kind}"]
    return ",".join(parts)


def _disks(spec: GuestSpec, disk_paths: Sequence[str]) -> tuple[str, ...]:
    disks = spec.instance.disks
    if len(disks) > MAX_DISKS:
        raise errors.HypervisorError(f"Xen guests have at most {MAX_DISKS} disks, not {len(disks)}")
    is_hvm = spec.instance.hypervisor == "xen-hvm"
    image = str(spec.hvparams["cdrom_image_path"]) if is_hvm else ""
    names = _device_names(str(spec.hvparams["blockdev_prefix"]), len(disks), has_cd=bool(image))
    entries = [
        f"format=raw,vdev={name},access={'rw' if disk.mode is DiskMode.RW else 'ro'},target={path}"
        for disk, path, name in zip(disks, disk_paths, names, strict=True)
    ]
    if image:
        entries.append(f"format=raw,vdev=hdc,access=ro,devtype=cdrom,target={image}")
    return tuple(entries)


def _device_names(prefix: str, count: int, *, has_cd: bool) -> list[str]:
    """Of emulated disks only as many as there is place for; what does not fit is paravirtual."""
    letters = [chr(ord("a") + index) for index in range(MAX_DISKS + 1)]
    if prefix != "hd":
        return [f"{prefix}{letter}" for letter in letters[:count]]
    places = [place for place in range(MAX_DISKS + 1) if not (has_cd and place == _CD_PLACE)][:count]
    return [f"{'hd' if place < _IDE_PLACES else 'xvd'}{letters[place]}" for place in places]
