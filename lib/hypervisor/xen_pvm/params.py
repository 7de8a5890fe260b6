"""Parameters of Xen's paravirtual guests."""

from string import ascii_lowercase

from ganeti.hypervisor.declare import (
    HypervisorParameters,
    between,
    for_cluster,
    is_cpu_mask,
    letters,
    number,
    one_of,
    path,
    switch,
    text,
)
from ganeti.model.objects import Params


def _depends(complete: Params) -> str:
    if complete["use_bootloader"] and not complete["bootloader_path"]:
        return "use_bootloader needs bootloader_path"
    return ""


PARAMETERS = HypervisorParameters(
    name="xen-pvm",
    depends=_depends,
    parameters=(
        path("kernel_path", "/boot/vmlinuz-3-xenU", "kernel of the guest", required=True),
        path("initrd_path", "", "initial ramdisk of the guest"),
        text("root_path", "/dev/xvda1", "root device that the kernel is told"),
        text("kernel_args", "ro", "more arguments for the kernel"),
        switch("use_bootloader", False, "boot through a loader that looks into the disk"),
        path("bootloader_path", "", "the loader"),
        text("bootloader_args", "", "arguments of the loader"),
        for_cluster(number("migration_port", 8002, "TCP port of the migration daemon", between(1, 65534))),
        for_cluster(
            text(
                "migration_mode",
                "live",
                "how instances are migrated; with xl both ways are live",
                one_of("live", "non-live"),
                required=True,
            )
        ),
        text("blockdev_prefix", "sd", "prefix of disk names in the guest", letters(ascii_lowercase)),
        text(
            "reboot_behavior", "reboot", "what happens when the guest reboots", one_of("reboot", "exit"), required=True
        ),
        text("cpu_mask", "all", "CPUs that the virtual ones may run on", is_cpu_mask, required=True),
        number("cpu_cap", 0, "limit of CPU time in percent of one CPU, 0 for none", between(0)),
        number("cpu_weight", 256, "share of CPU time relative to others", between(1, 65535)),
        path("vif_script", "", "script that sets up network interfaces"),
        text("cpuid", "", "CPUID mask"),
        text("soundhw", "", "sound devices"),
    ),
)
