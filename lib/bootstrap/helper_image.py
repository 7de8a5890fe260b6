"""Makes a small install image, in which untrusted OS scripts run: `tools/helper-image`.

It is a directory with a kernel of this host and an initial ramdisk: busybox, the drivers of paravirtual devices and
of some file systems, and a first program that keeps the contract of install images (doc/helper-machine.rst).
"""

from __future__ import annotations

import optparse
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from typing import TextIO

from ganeti import errors
from ganeti.bootstrap import ramdisk
from ganeti.host import files, regular

#: where kernels have their modules, by version
MODULES = "/lib/modules"
#: loaded at once
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_console", "virtio_rng")
#: loaded when something of that kind is mounted
FILE_SYSTEMS = ("ext4", "xfs", "btrfs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "loop", "crc32c_generic")

INIT = """#!/bin/busybox sh
# The first program of a helper machine: see the contract of install images.
PATH=/sbin:/bin:/usr/sbin:/usr/bin
export PATH
/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /dev /proc /sys /run /tmp /mnt /job
[ -e /bin/sh ] || /bin/busybox --install -s
[ -e /sbin/modprobe ] || /bin/busybox ln -s /bin/busybox /sbin/modprobe
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mkdir -p /dev/pts /dev/shm
/bin/busybox mount -t devpts pts /dev/pts
/bin/busybox mount -t tmpfs -o mode=1777 tmp /tmp
/bin/busybox mount -t tmpfs -o mode=755 run /run
for module in DRIVERS; do
  /bin/busybox modprobe "$module" 2>/dev/null
done
tries=200
job=
while [ -z "$job" ] && [ $tries -gt 0 ]; do
  tries=$((tries - 1))
  for disk in /sys/block/*; do
    [ "$(/bin/busybox cat "$disk/serial" 2>/dev/null)" = ganeti-job ] && job=/dev/${disk##*/}
  done
  [ -n "$job" ] || /bin/busybox usleep 50000
done
if [ -n "$job" ] && /bin/busybox tar -xf "$job" -C /job; then
  /bin/sh /job/start
else
  echo "helper: there is no disk with the serial ganeti-job that can be unpacked; there are:"
  /bin/busybox cat /proc/partitions
fi
/bin/busybox sync
/bin/busybox poweroff -f
""".replace("DRIVERS", " ".join(DRIVERS))


def newest_kernel(boot: str = "/boot") -> str:
    """Raises PrereqError when there is none that we may read."""
    names = sorted(name for name in os.listdir(boot) if name.startswith("vmlinuz-")) if os.path.isdir(boot) else []
    found = next((f"{boot}/{name}" for name in reversed(names) if os.access(f"{boot}/{name}", os.R_OK)), "")
    if not found:
        raise errors.PrereqError(
            "environment_error", f"there is no kernel in {boot} that can be read", hint="name one with --kernel"
        )
    return found


def ramdisk_of(version: str, busybox: str, tree: str, *, modules: str) -> bytes:
    """`tree`: a directory whose content comes along, or empty. Raises PrereqError, OSError."""
    archive = ramdisk.Archive()
    if tree:
        archive.tree(tree)
    archive.directories("bin", "sbin", "usr/bin", "usr/sbin", "dev", "proc", "sys", "etc", "root")
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.file("bin/busybox", regular.read(busybox), 0o755)
    ramdisk.add_modules(archive, version, (*DRIVERS, *FILE_SYSTEMS), base=modules)
    archive.file("init", INIT.encode(), 0o755)
    return archive.finish()


def build(directory: str, *, kernel: str = "", busybox: str = "", tree: str = "", modules: str = MODULES) -> None:
    """Make or replace an image; empty: what this host has. Raises PrereqError, OSError."""
    kernel = kernel or newest_kernel()
    name, dash, version = os.path.basename(kernel).partition("-")
    if (name, dash) != ("vmlinuz", "-"):
        raise errors.PrereqError(
            "wrong_input", f"{kernel} is not called vmlinuz-VERSION", hint="its modules are found by the version"
        )
    busybox = busybox or shutil.which("busybox") or ""
    if not busybox:
        raise errors.PrereqError(
            "environment_error", "busybox is not installed", hint="the Debian package busybox-static has it"
        )
    if b"/ld-linux" in regular.read(busybox):
        raise errors.PrereqError(
            "environment_error",
            f"{busybox} is not statically linked",
            hint="the Debian package busybox-static has one that is; --busybox names another",
        )
    if tree and not os.path.isdir(tree):
        raise errors.PrereqError("wrong_input", f"there is no directory {tree}")
    packed = ramdisk_of(version, busybox, tree, modules=modules)
    program_text = regular.read(kernel)
    os.makedirs(directory, exist_ok=True)
    files.write_atomic(f"{directory}/initrd", packed)
    files.write_atomic(f"{directory}/vmlinuz", program_text)


def main(arguments: Sequence[str], out: TextIO, err: TextIO, *, modules: str = MODULES) -> int:
    """Exit status: 1 for a failure, 2 for words that are not understood."""
    parser = optparse.OptionParser(
        prog="helper-image",
        usage="%prog [options] DIRECTORY",
        description="Makes an install image for gnt-cluster modify --install-image out of this host's kernel and"
        " busybox. Copy the directory to the same place on every node.",
    )
    parser.add_option("--kernel", default="", metavar="FILE", help="vmlinuz-VERSION; default: the newest in /boot")
    parser.add_option("--busybox", default="", metavar="FILE", help="statically linked; default: the one in the path")
    parser.add_option("--tree", default="", metavar="DIR", help="programs that scripts need, laid out as below /")
    options, words = parser.parse_args(list(arguments))
    if len(words) != 1:
        parser.error("name the directory to make")
    try:
        build(words[0], kernel=options.kernel, busybox=options.busybox, tree=options.tree, modules=modules)
    except errors.GanetiError as failure:
        err.write(f"{failure.message}\n")
        if failure.hint:
            err.write(f"Hint: {failure.hint}\n")
        return 1
    except OSError as failure:
        err.write(f"{failure.filename}: {failure.strerror}\n")
        return 1
    except subprocess.CalledProcessError as failure:
        err.write(f"a kernel module cannot be unpacked: {failure}\n")
        return 1
    out.write(f"{words[0]} is an install image: gnt-cluster modify --install-image {os.path.abspath(words[0])}\n")
    return 0


def on_this_host(arguments: Sequence[str]) -> int:
    return main(arguments, sys.stdout, sys.stderr)
