"""Parameters of KVM."""

import shlex

from ganeti import settings
from ganeti.hypervisor.declare import (
    HypervisorParameters,
    OnNode,
    Parameter,
    between,
    for_cluster,
    is_cpu_mask,
    is_ip,
    is_path,
    number,
    one_of,
    path,
    switch,
    text,
)
from ganeti.model.objects import Params

_SPEEDS = (75, 110, 300, 600, 1200, 1800, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 57600, 115200, 230400)
_DISKS = ("ide", "scsi", "sd", "mtd", "pflash", "paravirtual", "scsi-generic", "scsi-block", "scsi-cd", "scsi-hd")
_NICS = ("rtl8139", "ne2k_isa", "ne2k_pci", "i82551", "i82557b", "i82559er", "pcnet", "e1000", "paravirtual")
_WAN = one_of("", "auto", "never", "always")


def _address_or_directory(value: str) -> str:
    if value.startswith("/"):
        return is_path(value)
    return "must be an IP address or an absolute directory" if is_ip(value) else ""


def _path_or_address(value: str) -> str:
    return "" if value.startswith(("http://", "https://", "ftp://", "tftp://")) else is_path(value)


def _image(name: str, description: str) -> Parameter:
    return Parameter(name=name, description=description, check=_path_or_address, on_node=OnNode.FILE)


def _words(value: str) -> str:
    try:
        shlex.split(value)
    except ValueError as err:
        return f"must be words as a shell splits them ({str(err).lower()})"
    return ""


def _depends(complete: Params) -> str:
    if complete["kernel_path"] and not complete["root_path"]:
        return "kernel_path is set, so root_path is needed: the device the kernel mounts, such as /dev/vda"
    if complete["initrd_path"] and not complete["kernel_path"]:
        return "initrd_path is of no use without kernel_path"
    if complete["vnc_x509_verify"] and not complete["vnc_x509_path"]:
        return "vnc_x509_verify needs vnc_x509_path, the directory with the certificates"
    if complete["vnc_bind_address"] and complete["spice_bind"]:
        return "vnc_bind_address and spice_bind exclude each other"
    if complete["boot_order"] == "cdrom" and not complete["cdrom_image_path"]:
        return "boot_order cdrom needs cdrom_image_path"
    if complete["boot_order"] == "floppy" and not complete["floppy_image_path"]:
        return "boot_order floppy needs floppy_image_path"
    if complete["disk_aio"] == "native" and complete["disk_cache"] != "none":
        return "disk_aio native needs disk_cache none"
    version = complete["spice_ip_version"]
    if version and not complete["spice_bind"]:
        return "spice_ip_version is of no use without spice_bind"
    if version and is_ip(str(complete["spice_bind"]), versions=(int(version),)):
        return f"spice_bind {complete['spice_bind']} is no address of IP version {version}"
    if (complete["security_model"] == "user") != bool(complete["security_domain"]):
        return "security_domain names the account of security_model user; the one needs the other"
    return ""


PARAMETERS = HypervisorParameters(
    name="kvm",
    needs_port=True,
    depends=_depends,
    parameters=(
        path("kvm_path", settings.KVM_PATH, "the emulator", required=True),
        path("kernel_path", "/boot/vmlinuz-3-kvmU", "kernel of the guest; empty: the disk's own loader"),
        path("initrd_path", "", "initial ramdisk of the guest"),
        text("root_path", "/dev/vda1", "root device that the kernel is told"),
        text("kernel_args", "ro", "more arguments for the kernel"),
        switch("acpi", True, "whether the guest has ACPI, which a soft shutdown needs"),
        switch("serial_console", True, "whether the guest has a serial console, on a socket and in a log"),
        number("serial_speed", 38400, "speed of the serial console in bit/s", one_of(*_SPEEDS, 345600, 460800)),
        text("vnc_bind_address", "", "address on which VNC listens, or directory of its socket", _address_or_directory),
        switch("vnc_tls", False, "whether VNC uses TLS"),
        path("vnc_x509_path", "", "directory with VNC's certificates", OnNode.DIRECTORY),
        switch("vnc_x509_verify", False, "whether VNC asks clients for certificates"),
        path("vnc_password_file", "", "file with the VNC password"),
        text("spice_bind", "", "address on which SPICE listens", is_ip),
        number("spice_ip_version", 0, "IP version of spice_bind, 0 for either", one_of(0, 4, 6)),
        path("spice_password_file", "", "file with the SPICE password"),
        text(
            "spice_image_compression",
            "",
            "SPICE image compression",
            one_of("", "auto_glz", "auto_lz", "quic", "glz", "lz", "off"),
        ),
        text("spice_jpeg_wan_compression", "", "SPICE JPEG compression", _WAN),
        text("spice_zlib_glz_wan_compression", "", "SPICE zlib compression", _WAN),
        text("spice_streaming_video", "", "SPICE video detection", one_of("", "off", "all", "filter")),
        switch("spice_playback_compression", True, "whether SPICE compresses sound"),
        switch("spice_use_tls", False, "whether SPICE uses TLS"),
        text("spice_tls_ciphers", "HIGH:-DES:-3DES:-EXPORT:-DH", "ciphers of SPICE"),
        switch("spice_use_vdagent", True, "whether SPICE talks to an agent in the guest"),
        path("floppy_image_path", "", "image in the floppy drive"),
        _image("cdrom_image_path", "image in the first CD drive, a file or an address"),
        _image("cdrom2_image_path", "image in the second CD drive, a file or an address"),
        text("cdrom_disk_type", "", "bus of the CD drives", one_of("", *_DISKS)),
        text(
            "boot_order",
            "disk",
            "what is booted without kernel_path",
            one_of("disk", "cdrom", "network", "floppy"),
            required=True,
        ),
        text("nic_type", "paravirtual", "network card that the guest sees", one_of(*_NICS), required=True),
        text("disk_type", "paravirtual", "disks that the guest sees", one_of(*_DISKS), required=True),
        text(
            "scsi_controller_type",
            "lsi",
            "controller of SCSI disks",
            one_of("lsi", "virtio-scsi-pci", "megasas"),
            required=True,
        ),
        number("kvm_pci_reservations", 12, "PCI slots left to the emulator", between(0, 32)),
        text(
            "disk_cache",
            "default",
            "how the host caches disks",
            one_of("default", "none", "writethrough", "writeback"),
            required=True,
        ),
        text(
            "disk_aio",
            "threads",
            "how disks are read and written",
            one_of("threads", "native", "io_uring"),
            required=True,
        ),
        text("disk_discard", "ignore", "what becomes of discards", one_of("ignore", "unmap"), required=True),
        text("usb_mouse", "", "USB pointer", one_of("", "mouse", "tablet")),
        text("keymap", "", "keyboard map of VNC"),
        text("usb_devices", "", "USB devices: mouse, tablet, keyboard, wacom-tablet, host:VENDOR:PRODUCT"),
        text("vga", "", "graphics card"),
        text("soundhw", "", "sound devices: ac97, es1370, sb16, hda"),
        for_cluster(number("migration_port", 8102, "TCP port of incoming migrations", between(1, 65534))),
        for_cluster(number("migration_bandwidth", 32, "limit of migrations in MiB/s", between(0))),
        number("migration_downtime", 30, "longest pause of a live migration in milliseconds", between(0)),
        for_cluster(
            text("migration_mode", "live", "how instances are migrated", one_of("live", "non-live"), required=True)
        ),
        text("migration_caps", "", "migration capabilities, colons between"),
        switch("use_localtime", False, "whether the guest's clock runs in local time"),
        switch("use_guest_agent", False, "whether the guest has a channel for the QEMU guest agent"),
        text(
            "security_model",
            "none",
            "account of the emulator: root, one user, one of a pool",
            one_of("none", "user", "pool"),
            required=True,
        ),
        text("security_domain", "", "account for security_model user"),
        text(
            "kvm_flag",
            "",
            "hardware acceleration; empty: used where it works",
            one_of("", "enabled", "disabled"),
        ),
        switch("use_chroot", False, "whether the emulator is locked into an empty directory"),
        switch("user_shutdown", False, "whether a shutdown from inside the guest is respected"),
        path("mem_path", "", "mount point of huge pages", OnNode.DIRECTORY),
        text(
            "reboot_behavior", "reboot", "what happens when the guest reboots", one_of("reboot", "exit"), required=True
        ),
        text("cpu_mask", "all", "CPUs that the virtual ones may run on", is_cpu_mask, required=True),
        text("cpu_type", "", "CPU model; empty: the host's, or all that emulation can"),
        number("cpu_cores", 0, "cores of a socket, 0 for the emulator's choice", between(0)),
        number("cpu_threads", 0, "threads of a core, 0 for the emulator's choice", between(0)),
        number("cpu_sockets", 0, "sockets, 0 for the emulator's choice", between(0)),
        switch("vhost_net", True, "whether the kernel moves network packets"),
        number("virtio_net_queues", 1, "queues of a paravirtual network card", between(1, 8)),
        switch("vnet_hdr", True, "whether network offloading is passed on"),
        text("kvm_extra", "", "more arguments for the emulator", _words),
        text("machine_version", "", "machine type, such as pc-i440fx-7.2"),
    ),
)
