"""Parameters of Xen's fully virtual guests."""

from string import ascii_lowercase

from ganeti import settings
from ganeti.hypervisor.declare import (
    HypervisorParameters,
    between,
    for_cluster,
    is_cpu_mask,
    is_ipv4,
    letters,
    number,
    one_of,
    path,
    switch,
    text,
)

PARAMETERS = HypervisorParameters(
    name="xen-hvm",
    needs_port=True,
    parameters=(
        text("boot_order", "cd", "boot devices: a floppy, c disk, d cdrom, n network", letters("acdn"), required=True),
        path("cdrom_image_path", "", "image in the CD drive"),
        text(
            "nic_type",
            "rtl8139",
            "network card that the guest sees",
            one_of("rtl8139", "ne2k_isa", "ne2k_pci", "e1000", "paravirtual"),
            required=True,
        ),
        text("disk_type", "paravirtual", "disks that the guest sees", one_of("ioemu", "paravirtual"), required=True),
        text("vnc_bind_address", "0.0.0.0", "address on which VNC listens", is_ipv4),
        switch("acpi", True, "whether the guest has ACPI"),
        switch("pae", True, "whether the guest has PAE"),
        path("kernel_path", "/usr/lib/xen/boot/hvmloader", "the loader of such guests", required=True),
        path("device_model", "/usr/lib/xen/bin/qemu-dm", "the device model", required=True),
        path(
            "vnc_password_file",
            f"{settings.CONFIG_DIR}/vnc-cluster-password",
            "file with the VNC password",
            required=True,
        ),
        for_cluster(number("migration_port", 8002, "TCP port of the migration daemon", between(1, 65534))),
        for_cluster(
            text(
                "migration_mode",
                "non-live",
                "how instances are migrated; with xl both ways are live",
                one_of("live", "non-live"),
                required=True,
            )
        ),
        switch("use_localtime", False, "whether the guest's clock runs in local time"),
        text("blockdev_prefix", "hd", "prefix of disk names in the guest", letters(ascii_lowercase)),
        text("pci_pass", "", "PCI devices given to the guest"),
        text(
            "reboot_behavior", "reboot", "what happens when the guest reboots", one_of("reboot", "exit"), required=True
        ),
        text("cpu_mask", "all", "CPUs that the virtual ones may run on", is_cpu_mask, required=True),
        number("cpu_cap", 0, "limit of CPU time in percent of one CPU, 0 for none", between(0)),
        number("cpu_weight", 256, "share of CPU time relative to others", between(1, 65535)),
        text("vif_type", "ioemu", "kind of network interface", one_of("ioemu", "vif"), required=True),
        path("vif_script", "", "script that sets up network interfaces"),
        switch("viridian", False, "whether the guest sees Hyper-V's interfaces"),
        text("cpuid", "", "CPUID mask"),
        text("soundhw", "", "sound devices"),
    ),
)
