"""Every hypervisor parameter changes what a guest is, or is refused: none can be set and do nothing.

Most show in what is written for xl or on the emulator's command line. Of the others a test is named that proves it.
"""

from __future__ import annotations

import ast
from typing import Any

import pytest

from ganeti import errors
from ganeti.calls.instance import GuestSpec
from ganeti.hypervisor import parameters
from ganeti.hypervisor.kvm import commands
from ganeti.hypervisor.xen import config
from ganeti.model.objects import Disk, DiskTemplate, Instance, Nic, Params

KVM, PVM, HVM = "kvm", "xen-pvm", "xen-hvm"
KERNEL = {"kernel_path": "/boot/vmlinuz"}
DISK_BOOT = {"kernel_path": "", "initrd_path": ""}
VNC = {"vnc_bind_address": "192.0.2.1"}
SPICE = {"spice_bind": "192.0.2.1"}
SCSI = {"disk_type": "scsi-hd"}

#: hypervisor → parameter → (another value, what has to be set besides to see it)
SEEN: dict[str, dict[str, tuple[Any, Params]]] = {
    PVM: {
        "kernel_path": ("/boot/other", {}),
        "initrd_path": ("/boot/initrd", {}),
        "root_path": ("/dev/xvdb", {}),
        "kernel_args": ("rw quiet", {}),
        "use_bootloader": (True, {"bootloader_path": "/usr/bin/pygrub"}),
        "bootloader_path": ("/usr/bin/other", {"use_bootloader": True}),
        "bootloader_args": ("-q", {"use_bootloader": True, "bootloader_path": "/usr/bin/pygrub"}),
        "blockdev_prefix": ("xvd", {}),
        "reboot_behavior": ("exit", {}),
        "cpu_mask": ("0-1", {}),
        "cpu_cap": (50, {}),
        "cpu_weight": (512, {}),
        "vif_script": ("/etc/xen/scripts/own", {}),
        "cpuid": ("host,sse3=0", {}),
        "soundhw": ("ac97", {}),
    },
    HVM: {
        "boot_order": ("n", {}),
        "cdrom_image_path": ("/srv/cd.iso", {}),
        "nic_type": ("e1000", {}),
        "disk_type": ("ioemu", {"blockdev_prefix": "xvd"}),
        "vnc_bind_address": ("192.0.2.1", {}),
        "acpi": (False, {}),
        "pae": (False, {}),
        "kernel_path": ("/usr/lib/xen-4.17/boot/hvmloader", {}),
        "device_model": ("/usr/bin/own-model", {}),
        "use_localtime": (True, {}),
        "blockdev_prefix": ("xvd", {}),
        "pci_pass": ("0000:03:00.0", {}),
        "reboot_behavior": ("exit", {}),
        "cpu_mask": ("0:1", {}),
        "cpu_cap": (50, {}),
        "cpu_weight": (512, {}),
        "vif_type": ("vif", {}),
        "vif_script": ("/etc/xen/scripts/own", {}),
        "viridian": (True, {}),
        "cpuid": ("host,sse3=0", {}),
        "soundhw": ("ac97", {}),
    },
    KVM: {
        "kvm_path": ("/usr/local/bin/kvm", {}),
        "kernel_path": ("/boot/other", {}),
        "initrd_path": ("/boot/initrd", KERNEL),
        "root_path": ("/dev/vdb", KERNEL),
        "kernel_args": ("rw quiet", KERNEL),
        "acpi": (False, {}),
        "serial_console": (False, {}),
        "serial_speed": (9600, KERNEL),
        "vnc_bind_address": ("192.0.2.1", {}),
        "vnc_tls": (True, VNC),
        "vnc_x509_path": ("/etc/vnc", {**VNC, "vnc_tls": True}),
        "vnc_x509_verify": (True, {**VNC, "vnc_tls": True, "vnc_x509_path": "/etc/vnc"}),
        "vnc_password_file": ("/etc/vnc-password", VNC),
        "spice_bind": ("192.0.2.1", {}),
        "spice_ip_version": (4, SPICE),
        "spice_password_file": ("/etc/spice-password", SPICE),
        "spice_image_compression": ("glz", SPICE),
        "spice_jpeg_wan_compression": ("always", SPICE),
        "spice_zlib_glz_wan_compression": ("always", SPICE),
        "spice_streaming_video": ("all", SPICE),
        "spice_playback_compression": (False, SPICE),
        "spice_use_tls": (True, SPICE),
        "spice_tls_ciphers": ("HIGH", SPICE),
        "spice_use_vdagent": (False, SPICE),
        "floppy_image_path": ("/srv/floppy", {}),
        "cdrom_image_path": ("/srv/cd.iso", {}),
        "cdrom2_image_path": ("/srv/cd2.iso", {}),
        "cdrom_disk_type": ("scsi", {"cdrom_image_path": "/srv/cd.iso"}),
        "boot_order": ("network", DISK_BOOT),
        "nic_type": ("e1000", {}),
        "disk_type": ("ide", {}),
        "scsi_controller_type": ("virtio-scsi-pci", SCSI),
        "kvm_pci_reservations": (20, {}),
        "disk_cache": ("writethrough", {}),
        "disk_aio": ("io_uring", {}),
        "disk_discard": ("unmap", {}),
        "usb_mouse": ("tablet", {}),
        "keymap": ("de", {}),
        "usb_devices": ("keyboard", {}),
        "vga": ("cirrus", {}),
        "soundhw": ("hda", {}),
        "use_localtime": (True, {}),
        "use_guest_agent": (True, {}),
        "mem_path": ("/dev/hugepages", {}),
        "reboot_behavior": ("exit", {}),
        "cpu_type": ("qemu64", {}),
        "cpu_cores": (2, {}),
        "cpu_threads": (2, {}),
        "cpu_sockets": (2, {}),
        "vhost_net": (False, {}),
        "virtio_net_queues": (2, {}),
        "vnet_hdr": (False, {}),
        "kvm_extra": ("-no-hpet", {}),
        "machine_version": ("pc-i440fx-7.2", {}),
    },
}
TUNING = "test/logic/test_instance_migrate.py::test_tuning_comes_from_the_parameters_and_the_command"
CONFINED = "test/driver/test_hypervisors.py::test_a_confined_emulator_runs_as_the_pool_s_user_in_an_empty_directory"
#: the tests of what shows elsewhere; each has the parameter's name in it
PROVEN: dict[tuple[str, str], str] = {
    **{(name, "migration_mode"): TUNING for name in (PVM, HVM, KVM, "fake")},
    **{(KVM, f"migration_{what}"): TUNING for what in ("bandwidth", "downtime", "caps")},
    **{(KVM, name): CONFINED for name in ("security_model", "security_domain", "use_chroot")},
    (KVM, "cpu_mask"): "test/driver/test_hypervisors.py::test_virtual_cpus_stay_on_the_cpus_of_their_mask",
    (KVM, "kvm_flag"): "test/unit/hypervisor/test_kvm_accelerator.py::test_flags_decide_without_asking",
    (KVM, "user_shutdown"): "test/unit/query/test_query_lists.py::test_status_of_kvm_needs_the_instance_s_leave_too",
    (HVM, "vnc_password_file"): "test/driver/test_hypervisors.py::test_vnc_of_xen_is_open_to_others_by_password_only",
}
PORTS = "migration_port"

DISK = Disk(uuid="11111111-2222-4333-8444-000000000001", template=DiskTemplate.PLAIN, size=64, logical_id=("vg", "lv"))
CARD = Nic(uuid="11111111-2222-4333-8444-000000000002", mac="aa:00:00:00:00:01")
UUID = "11111111-2222-4333-8444-555555555555"


def xen(name: str, hv: Params) -> str:
    instance = Instance(
        uuid=UUID, name="web1", primary_node="n1", os="noop", hypervisor=name, disks=(DISK,), nics=(CARD,),
        network_port=11003,
    )  # fmt: skip
    be = {"maxmem": 256, "minmem": 256, "vcpus": 2}
    spec = GuestSpec(instance=instance, hvparams=hv, beparams=be, nicparams=({"mode": "bridged", "link": "br0"},))
    return config.render(spec, config.Places(disks=("/dev/vg/lv",), vnc_password="secret"))


def kvm(hv: Params) -> str:
    names = ("pid", "qmp", "monitor", "serial", "agent", "console_log", "vnc")
    drive = commands.Drive(uuid=DISK.uuid, path="/dev/vg/lv", is_device=True)
    card = commands.Card(uuid=CARD.uuid, mac=CARD.mac, network=commands.Network.TAP, script="/run/tap")
    machine = commands.Machine(
        name="web1",
        uuid=UUID,
        memory=256,
        vcpus=2,
        accelerator="kvm",
        hvparams=hv,
        files=commands.Files(**{name: f"/run/{name}" for name in names}),
        drives=(drive,),
        cards=(card,),
        port=11003,
    )
    return " ".join(commands.qemu(machine))


def made(name: str, *overrides: Params) -> str:
    """What becomes of a guest with these parameters, or why it is refused."""
    complete = parameters.fill(name, *overrides)
    try:
        return kvm(complete) if name == KVM else xen(name, complete)
    except errors.HypervisorError as err:
        return f"refused: {err}"


EVERY = [(name, each.name) for name, declared in parameters.HYPERVISORS.items() for each in declared.parameters]


@pytest.mark.parametrize(("name", "parameter"), EVERY, ids="-".join)
def test_a_parameter_has_an_effect_or_is_refused(name: str, parameter: str) -> None:
    seen = SEEN.get(name, {}).get(parameter)
    proofs = [seen is not None, (name, parameter) in PROVEN, parameter == PORTS]
    assert sum(proofs) == 1, f"{name} {parameter}: say once how its effect is seen"
    if parameter == PORTS:
        other = parameters.fill(name, {PORTS: 20000})
        assert parameters.migration_ports(other) == range(20000, 20064)
        assert parameters.migration_ports(parameters.fill(name, {PORTS: 65534})) == range(65534, 65536)
    elif seen is not None:
        value, besides = seen
        assert parameters.fill(name)[parameter] != value
        before, after = made(name, besides), made(name, besides, {parameter: value})
        assert after != before, f"{parameter}={value} of {name} changes nothing"
        # what is refused is refused by its name; the rest of the guest can be made
        assert not before.startswith("refused")
        assert not after.startswith("refused") or parameter in after


def test_no_proof_is_of_a_parameter_that_is_not_there() -> None:
    named = [(name, parameter) for name, table in SEEN.items() for parameter in table] + list(PROVEN)
    assert set(named) <= set(EVERY)


@pytest.mark.parametrize("place", sorted(set(PROVEN.values())))
def test_the_proofs_are_tests_that_name_the_parameter(repository: str, place: str) -> None:
    file, _, function = place.partition("::")
    with open(f"{repository}/{file}", encoding="utf-8") as source:
        text = source.read()
    found = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == function]
    assert found, f"there is no {place}"
    body = ast.get_source_segment(text, found[0]) or ""
    missing = [name for (_, name), proof in PROVEN.items() if proof == place and name not in body]
    assert not missing, f"{place} does not say {missing}"
