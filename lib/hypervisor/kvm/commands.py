"""The emulator's command line, as a value. Form of QEMU 6.0 and later (qemu-system(1))."""

from __future__ import annotations

import enum
import shlex
from typing import Any

import msgspec

from ganeti import errors
from ganeti.hypervisor.kvm import extras
from ganeti.model.objects import Params
from ganeti.model.types import MiB

Argv = tuple[str, ...]
# Any: what JSON has; keys in the order in which the command line has them
Form = dict[str, Any]

#: kernel and BIOS reach the first serial port by this name
SERIAL_DEVICE = "ttyS0"
_FIRST_VNC_PORT = 5900
_PCI_SLOTS = 32
_BOOT = {"disk": "c", "cdrom": "d", "network": "n", "floppy": "a"}
# disk_cache → (write-cache of the device, cache.direct of the file)
_CACHE = {"default": ("on", "off"), "writeback": ("on", "off"), "none": ("on", "on"), "writethrough": ("off", "off")}
_NIC_MODELS = {"paravirtual": "virtio-net-pci", "ne2k_isa": "ne2k_isa"}
_DISK_MODELS = {
    "paravirtual": "virtio-blk-pci",
    "ide": "ide-hd",
    "scsi": "scsi-hd",
    "scsi-hd": "scsi-hd",
    "scsi-cd": "scsi-cd",
    "scsi-block": "scsi-block",
    "scsi-generic": "scsi-generic",
}

_CIPHERS = "HIGH:-DES:-3DES:-EXPORT:-DH"
#: parameters whose other values this driver refuses, so that none is silently without effect
UNSUPPORTED = {
    "spice_use_tls": (False, "there are no certificates for SPICE"),
    "spice_tls_ciphers": (_CIPHERS, "SPICE has no TLS here"),
}
#: disk types that the emulator has no longer, or not for this machine
_NO_DISKS = {
    "sd": "an SD card has no place on a PC",
    "mtd": "flash memory has no place on a PC",
    "pflash": "flash memory holds the firmware only",
}


class Network(enum.Enum):
    """What a network card is connected to."""

    TAP = "tap"  # an interface of the node, set up by a script
    USER = "user"  # the emulator's own closed network: for nodes without root


class Drive(msgspec.Struct, frozen=True, kw_only=True):
    uuid: str
    path: str  # local
    is_device: bool
    read_only: bool = False


class Card(msgspec.Struct, frozen=True, kw_only=True):
    uuid: str
    mac: str
    network: Network
    script: str = ""  # tap: sets the interface up


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Local paths of what the emulator makes."""

    pid: str
    qmp: str
    monitor: str
    serial: str
    agent: str
    console_log: str
    vnc: str  # socket, when vnc_bind_address is a directory


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides the command line. Paths in `hvparams` are local."""

    name: str
    uuid: str
    memory: MiB
    vcpus: int
    accelerator: str  # kvm | tcg
    hvparams: Params
    files: Files
    drives: tuple[Drive, ...] = ()
    cards: tuple[Card, ...] = ()
    port: int = 0  # network port of the instance
    slots: dict[str, int] = {}  # PCI slots that disks and cards have already, by uuid
    account: str = ""  # that the emulator runs as, a name or uid:gid; empty: ours
    jail: str = ""  # directory that it is locked into; empty: none
    version: tuple[int, int, int] = (0, 0, 0)  # of the emulator, for its account and its jail


def unsupported(hvparams: Params) -> str:
    """Which parameters ask for something that this driver cannot do, or nothing."""
    found = [
        f"{name}={hvparams[name]} ({why})" for name, (plain, why) in UNSUPPORTED.items() if hvparams[name] != plain
    ]
    disk_type = hvparams["disk_type"]
    if disk_type not in _DISK_MODELS:
        found.append(f"disk_type={disk_type} ({_NO_DISKS[disk_type]})")
    return "this driver does not support " + ", ".join(found) if found else ""


def qemu(machine: Machine) -> Argv:
    """The whole command; it detaches itself when the guest's devices are there. Raises HypervisorError."""
    hv = machine.hvparams
    problem = unsupported(hv)
    if problem:
        raise errors.HypervisorError(problem)
    return (
        str(hv["kvm_path"]),
        *("-name", machine.name, "-uuid", machine.uuid),
        *("-nodefaults", "-no-user-config", "-daemonize", "-pidfile", machine.files.pid),
        *_board(machine),
        *_monitors(machine),
        *_console(machine),
        *_boot(machine),
        *_drives(machine),
        *_cards(machine),
        *extras.confinement(machine.account, machine.jail, machine.version),
        *_extra(machine),
    )


def _extra(machine: Machine) -> list[str]:
    try:
        return shlex.split(machine.hvparams["kvm_extra"])
    except ValueError as err:
        raise errors.HypervisorError(f"instance {machine.name}: kvm_extra cannot be split into words: {err}") from err


def version(binary: str) -> Argv:
    return (binary, "--version")


def machine_types(binary: str) -> Argv:
    return (binary, "-machine", "help")


def probe(binary: str, sector: str) -> Argv:
    """A machine under KVM that boots `sector` from a floppy; a write of N to port 0xf4 ends it with status 2N+1."""
    return (
        binary,
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "pc,accel=kvm", "-m", "32"),
        *("-drive", f"file={_quoted(sector)},format=raw,if=floppy,readonly=on"),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
    )


def bounded(argv: Argv, cpu_s: int) -> Argv:
    """The same command, ended when it has used so much time of a CPU."""
    return ("/bin/sh", "-c", f'ulimit -t {cpu_s} && exec "$0" "$@"', *argv)


def _quoted(value: str) -> str:
    """A comma ends a value in QEMU's option lists unless it is doubled."""
    return value.replace(",", ",,")


def device_id(uuid: str, what: str) -> str:
    """Device id: the first three groups of the uuid (QEMU allows 31 characters)."""
    return f"{what}-{'-'.join(uuid.split('-')[:3])}"


def slots(machine: Machine) -> dict[str, int]:
    """PCI slots above the emulator's own by uuid, the same on every node, so that migrations find them.

    Those that are taken stay; a new device gets the lowest that is free. One that is missing: the emulator chooses.
    """
    taken = {uuid: machine.slots[uuid] for uuid in _uuids(machine) if uuid in machine.slots}
    # the chip set of the newer machine sits in the last one
    end = _PCI_SLOTS - is_express(machine.hvparams["machine_version"])
    free = [slot for slot in range(machine.hvparams["kvm_pci_reservations"], end) if slot not in taken.values()]
    new = [uuid for uuid in _uuids(machine) if uuid not in taken]
    return taken | dict(zip(new, free, strict=False))


def _uuids(machine: Machine) -> list[str]:
    return [drive.uuid for drive in machine.drives] + [card.uuid for card in machine.cards]


def _place(machine: Machine, uuid: str) -> Form:
    slot = slots(machine).get(uuid)
    bus = "pcie.0" if is_express(machine.hvparams["machine_version"]) else "pci.0"
    return {} if slot is None else {"bus": bus, "addr": f"{slot:#x}"}


def is_express(machine_version: object) -> bool:
    """Whether the machine has PCI Express: another name of its root bus, which takes no new devices."""
    return "q35" in str(machine_version)


def blockdev(machine: Machine, drive: Drive) -> Form:
    """What QMP's blockdev-add takes."""
    hv = machine.hvparams
    return {
        "driver": "raw",
        "node-name": device_id(drive.uuid, "disk"),
        "read-only": drive.read_only,
        "auto-read-only": False,
        "discard": hv["disk_discard"],
        "cache": {"direct": _CACHE[hv["disk_cache"]][1] == "on", "no-flush": False},
        "file": {
            "driver": "host_device" if drive.is_device else "file",
            "filename": drive.path,
            "aio": hv["disk_aio"],
        },
    }


def disk_device(machine: Machine, drive: Drive) -> Form:
    """What QMP's device_add takes, with the model as `driver`."""
    hv = machine.hvparams
    model, name = _DISK_MODELS[hv["disk_type"]], device_id(drive.uuid, "disk")
    form: Form = {"driver": model, "id": name, "drive": name}
    if model == "virtio-blk-pci":
        form |= _place(machine, drive.uuid)
    elif model == "ide-hd" and is_express(hv["machine_version"]):
        form["bus"] = f"ide.{machine.drives.index(drive)}"  # each has one place
    if model not in ("scsi-block", "scsi-generic", "scsi-cd"):
        form["write-cache"] = _CACHE[hv["disk_cache"]][0]
    return form


def netdev(machine: Machine, card: Card) -> Form:
    """What QMP's netdev_add takes."""
    hv, name = machine.hvparams, device_id(card.uuid, "nic")
    if card.network is Network.USER:
        return {"type": "user", "id": name, "restrict": True}
    form: Form = {"type": "tap", "id": name, "script": card.script, "downscript": "no", "vnet_hdr": hv["vnet_hdr"]}
    if hv["nic_type"] == "paravirtual":
        form["vhost"] = hv["vhost_net"]
        if hv["virtio_net_queues"] > 1:
            form["queues"] = hv["virtio_net_queues"]
    return form


def nic_device(machine: Machine, card: Card) -> Form:
    hv, name = machine.hvparams, device_id(card.uuid, "nic")
    form: Form = {
        "driver": _NIC_MODELS.get(hv["nic_type"], hv["nic_type"]),
        "id": name,
        "netdev": name,
        "mac": card.mac,
    }
    if hv["nic_type"] == "paravirtual":
        form |= _place(machine, card.uuid)
        queues = hv["virtio_net_queues"]
        if queues > 1 and card.network is Network.TAP:
            form |= {"mq": True, "vectors": 2 * queues + 2}
    return form


def _memory(machine: Machine) -> str:
    """Value of ``-m``."""
    if machine.accelerator == "kvm":
        return str(machine.memory)
    # Seen with QEMU 7.2.22, TCG: guests crash after a live migration when their memory is a multiple of 256 KiB
    # (broke within 1 to 23 migrations; 55 went well with 8 KiB more). Source and target must have the same size.
    return f"{machine.memory * 1024 + 8}k"


def _board(machine: Machine) -> list[str]:
    hv = machine.hvparams
    board = str(hv["machine_version"] or "pc")
    if not hv["acpi"]:
        board += ",acpi=off"
    argv = ["-machine", board]
    argv += ["-accel", "kvm" if machine.accelerator == "kvm" else "tcg,thread=multi"]
    argv += ["-cpu", str(hv["cpu_type"]) or ("host" if machine.accelerator == "kvm" else "max")]
    argv += ["-m", _memory(machine)]
    shape = "".join(f",{n}={hv[f'cpu_{n}']}" for n in ("cores", "threads", "sockets") if hv[f"cpu_{n}"])
    argv += ["-smp", f"{machine.vcpus}{shape}"]
    if hv["mem_path"]:
        argv += ["-mem-path", str(hv["mem_path"]), "-mem-prealloc"]
    argv += ["-rtc", "base=" + ("localtime" if hv["use_localtime"] else "utc")]
    argv += ["-device", "virtio-balloon-pci"]
    # A guest that has ended stays visible until it is cleaned up: its state is asked for by QMP.
    reboot = "shutdown" if hv["reboot_behavior"] == "exit" else "reset"
    argv += ["-action", f"shutdown=pause,panic=pause,reboot={reboot}", "-device", "pvpanic"]
    return argv + extras.usb(hv) + extras.sound(hv)


def _monitors(machine: Machine) -> list[str]:
    argv = []
    for name, path, mode in (
        ("qmp", machine.files.qmp, "control"),
        ("monitor", machine.files.monitor, "readline"),
    ):
        argv += ["-chardev", f"socket,id={name},path={_quoted(path)},server=on,wait=off"]
        argv += ["-mon", f"chardev={name},mode={mode}"]
    if machine.hvparams["use_guest_agent"]:
        argv += ["-chardev", f"socket,id=agent,path={_quoted(machine.files.agent)},server=on,wait=off"]
        argv += ["-device", "virtio-serial-pci"]
        argv += ["-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"]
    return argv


def _console(machine: Machine) -> list[str]:
    hv = machine.hvparams
    argv = ["-display", "none"]
    if hv["serial_console"]:
        log = f"logfile={_quoted(machine.files.console_log)},logappend=on"
        argv += ["-chardev", f"socket,id=serial,path={_quoted(machine.files.serial)},server=on,wait=off,{log}"]
        argv += ["-serial", "chardev:serial"]
    if hv["vnc_bind_address"]:
        argv += _vnc(machine)
    argv += extras.spice(hv, machine.name, machine.port)
    is_seen = hv["vnc_bind_address"] or hv["spice_bind"] or not hv["kernel_path"]
    card = hv["vga"] or ("qxl" if hv["spice_bind"] else "std" if is_seen else "none")
    argv += ["-vga", str(card)]
    if hv["keymap"]:
        argv += ["-k", str(hv["keymap"])]
    return argv


def _vnc(machine: Machine) -> list[str]:
    hv = machine.hvparams
    address = str(hv["vnc_bind_address"])
    if address.startswith("/"):
        target = f"unix:{_quoted(machine.files.vnc)}"
    elif machine.port <= _FIRST_VNC_PORT:
        raise errors.HypervisorError(
            f"instance {machine.name} has no network port for VNC (port {machine.port})",
            hint="VNC needs one above 5900; use a directory as vnc_bind_address",
        )
    else:
        host = f"[{address}]" if ":" in address else "" if address == "0.0.0.0" else address
        target = f"{host}:{machine.port - _FIRST_VNC_PORT}"
    argv = []
    if hv["vnc_tls"]:
        credentials = "tls-creds-x509" if hv["vnc_x509_path"] else "tls-creds-anon"
        form = f"{credentials},id=vnctls,endpoint=server"
        if hv["vnc_x509_path"]:
            form += f",dir={_quoted(hv['vnc_x509_path'])},verify-peer={'on' if hv['vnc_x509_verify'] else 'off'}"
        argv += ["-object", form]
        target += ",tls-creds=vnctls"
    if hv["vnc_password_file"]:
        target += ",password=on"
    return [*argv, "-vnc", target]


def _boot(machine: Machine) -> list[str]:
    hv = machine.hvparams
    if not hv["kernel_path"]:
        return ["-boot", f"order={_BOOT[hv['boot_order']]}"]
    argv = ["-kernel", str(hv["kernel_path"])]
    if hv["initrd_path"]:
        argv += ["-initrd", str(hv["initrd_path"])]
    words = [f"root={hv['root_path']}", str(hv["kernel_args"])]
    if hv["serial_console"]:
        words.append(f"console={SERIAL_DEVICE},{hv['serial_speed']}")
    return [*argv, "-append", " ".join(word for word in words if word)]


def _text(form: Form, head: str = "") -> str:
    """A form as the command line writes it: nested keys with dots, `head`'s value alone at the start."""
    words = [_quoted(str(form[head]))] if head else []
    for key, value in form.items():
        inner = {f"{key}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {key: value}
        words += [f"{name}={_quoted(_word(each))}" for name, each in inner.items() if name != head]
    return ",".join(words)


def _word(value: object) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _drives(machine: Machine) -> list[str]:
    hv = machine.hvparams
    argv: list[str] = []
    model = _DISK_MODELS[hv["disk_type"]]
    if model.startswith("scsi") or str(hv["cdrom_disk_type"]).startswith("scsi"):
        argv += ["-device", f"{hv['scsi_controller_type']},id=scsi"]
    for drive in machine.drives:
        argv += ["-blockdev", _text(blockdev(machine, drive)), "-device", _text(disk_device(machine, drive), "driver")]
    for index, image in enumerate((hv["cdrom_image_path"], hv["cdrom2_image_path"])):
        if image:
            argv += ["-drive", f"file={_quoted(image)},format=raw,if=none,id=cdrom{index},media=cdrom,readonly=on"]
            argv += ["-device", f"{_cd_device(machine, index)},drive=cdrom{index}"]
    if hv["floppy_image_path"]:
        argv += ["-drive", f"file={_quoted(hv['floppy_image_path'])},format=raw,if=floppy,readonly=on"]
    return argv


def _cd_device(machine: Machine, index: int) -> str:
    hv = machine.hvparams
    if str(hv["cdrom_disk_type"]).startswith("scsi"):
        return "scsi-cd"
    before = len(machine.drives) if _DISK_MODELS[hv["disk_type"]] == "ide-hd" else 0
    return f"ide-cd,bus=ide.{before + index}" if is_express(hv["machine_version"]) else "ide-cd"


def _cards(machine: Machine) -> list[str]:
    if not machine.cards:
        return ["-nic", "none"]
    argv: list[str] = []
    for card in machine.cards:
        argv += ["-netdev", _text(netdev(machine, card), "type"), "-device", _text(nic_device(machine, card), "driver")]
    return argv


def tap_script(environment: dict[str, str], custom: str) -> str:
    """A script that QEMU calls with the interface's name; `custom` is used instead when it is there."""
    exports = "".join(f"{name}={shlex.quote(value)}\nexport {name}\n" for name, value in environment.items())
    return (
        "#!/bin/sh\n"
        f"{exports}"
        'INTERFACE="$1"\n'
        "export INTERFACE\n"
        f"if [ -x {shlex.quote(custom)} ]; then\n"
        f"  exec {shlex.quote(custom)}\n"
        "fi\n"
        "set -e\n"
        f"{_CONNECT}"
    )


#: A bridge takes the lowest address and the smallest size of its ports unless it was given its own, so a tap must
#: change neither. A switch keeps a port when its interface goes, and would take the next one of that name into it.
_CONNECT = """\
if command -v ovs-vsctl >/dev/null 2>&1; then
  ovs-vsctl --if-exists del-port "$INTERFACE"
fi
ip link set dev "$INTERFACE" address "fe:${MAC#*:}"
ip link set dev "$INTERFACE" up
case "$MODE" in
openvswitch)
  TAG="${VLAN%%:*}"
  TAG="${TAG#.}"
  set -- "$LINK" "$INTERFACE" ${TAG:+"tag=$TAG"}
  case "$VLAN" in
  *:*) set -- "$@" "trunks=$(echo "${VLAN#*:}" | tr : ,)" ;;
  esac
  ovs-vsctl add-port "$@"
  ;;
routed)
  if [ -w "/proc/sys/net/ipv4/conf/$INTERFACE/proxy_arp" ]; then
    echo 1 >"/proc/sys/net/ipv4/conf/$INTERFACE/proxy_arp"
  fi
  if [ -n "$IP" ]; then
    ip route replace "$IP" dev "$INTERFACE" table "$LINK" || ip route replace "$IP" dev "$INTERFACE"
  fi
  ;;
*)
  if [ -n "$BRIDGE" ]; then
    if [ -r "/sys/class/net/$BRIDGE/mtu" ]; then
      ip link set dev "$INTERFACE" mtu "$(cat "/sys/class/net/$BRIDGE/mtu")"
    fi
    ip link set dev "$INTERFACE" master "$BRIDGE"
  fi
  ;;
esac
"""
