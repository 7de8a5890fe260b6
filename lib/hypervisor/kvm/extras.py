"""Sound, USB, SPICE and confinement of an emulator, as its command line has them. Pure."""

from __future__ import annotations

import re

from ganeti import errors
from ganeti.model.objects import Params

#: soundhw → devices; the sound goes nowhere unless SPICE carries it
_SOUND = {
    "ac97": ("AC97,audiodev=sound",),
    "es1370": ("ES1370,audiodev=sound",),
    "sb16": ("sb16,audiodev=sound",),
    "hda": ("intel-hda", "hda-duplex,audiodev=sound"),
}
_USB = {
    "mouse": "usb-mouse",
    "tablet": "usb-tablet",
    "keyboard": "usb-kbd",
    "wacom-tablet": "usb-wacom-tablet",
}
_HOST_USB = re.compile(r"host:([0-9a-f]{4}):([0-9a-f]{4})\Z", re.IGNORECASE)
#: parameter → option of -spice
_SPICE = {
    "spice_image_compression": "image-compression",
    "spice_jpeg_wan_compression": "jpeg-wan-compression",
    "spice_zlib_glz_wan_compression": "zlib-glz-wan-compression",
    "spice_streaming_video": "streaming-video",
}


def sound(hv: Params) -> list[str]:
    words = _words(hv["soundhw"])
    if not words:
        return []
    argv = ["-audiodev", f"{'spice' if hv['spice_bind'] else 'none'},id=sound"]
    for word in words:
        for device in _SOUND[word]:
            argv += ["-device", device]
    return argv


def usb(hv: Params) -> list[str]:
    words = [*_words(hv["usb_mouse"]), *_words(hv["usb_devices"])]
    if not words:
        return []
    argv = ["-usb"]
    for word in words:
        host = _HOST_USB.match(word)
        device = f"usb-host,vendorid=0x{host[1]},productid=0x{host[2]}" if host else _USB[word]
        argv += ["-device", device]
    return argv


def problem(hv: Params) -> str:
    """What of it is not known, or nothing."""
    unknown = [word for word in _words(hv["soundhw"]) if word not in _SOUND]
    if unknown:
        return f"soundhw has {unknown[0]!r}; there are {', '.join(_SOUND)}"
    unknown = [word for word in _words(hv["usb_devices"]) if word not in _USB and not _HOST_USB.match(word)]
    if unknown:
        return f"usb_devices has {unknown[0]!r}; there are {', '.join(_USB)} and host:VENDOR:PRODUCT"
    return ""


def _words(value: object) -> list[str]:
    """Blanks separate as commas do."""
    return [word for word in re.split(r"[,\s]+", str(value)) if word]


def spice(hv: Params, name: str, port: int) -> list[str]:
    """Raises HypervisorError."""
    if not hv["spice_bind"]:
        return []
    if port <= 0:
        raise errors.HypervisorError(f"instance {name} has no network port for SPICE")
    form = f"addr={hv['spice_bind']},port={port}"
    if hv["spice_ip_version"]:
        form += f",ipv{hv['spice_ip_version']}=on"
    if not hv["spice_password_file"]:
        form += ",disable-ticketing=on"
    form += "".join(f",{option}={hv[parameter]}" for parameter, option in _SPICE.items() if hv[parameter])
    form += f",playback-compression={'on' if hv['spice_playback_compression'] else 'off'}"
    argv = ["-spice", form]
    if hv["spice_use_vdagent"]:
        argv += ["-device", "virtio-serial-pci,id=spice", "-chardev", "spicevmc,id=vdagent,name=vdagent"]
        argv += ["-device", "virtserialport,bus=spice.0,chardev=vdagent,name=com.redhat.spice.0"]
    return argv


def confinement(account: str, directory: str, version: tuple[int, int, int]) -> list[str]:
    """`account`: a name, or uid:gid; both may be empty. The emulator opens its files first."""
    # QEMU's documentation, removed and deprecated features: the old words are gone since 9.0, doubtful since 9.1
    argv = []
    if directory:
        argv += ["-run-with", f"chroot={directory}"] if version >= (9, 0, 0) else ["-chroot", directory]
    if account:
        argv += ["-run-with", f"user={account}"] if version >= (9, 1, 0) else ["-runas", account]
    return argv
