"""The root directory of a virtual node: hosts file, ssh, links, power and partition marks."""

from __future__ import annotations

import os
import shlex
import shutil
import uuid

from ganeti import paths, settings
from ganeti.host import files
from ganeti.host.partition import PARTITION_FILE
from ganeti.testing.vlayout import SYSTEM_PATH, Layout, VirtualNode

#: names that instances may take; each has an address in the hosts file
GUEST_NAMES = tuple(f"web{number}" for number in range(1, 10))

# Stands in for ssh: the command runs in the other node's environment, as a login there would.
# ssh(1) joins its arguments with blanks and hands them to the login shell; 255 is its own failure.
_SSH = """\
#!/bin/sh
# ssh of a virtual node: runs the command in the other node's environment.
while [ $# -gt 0 ]; do
  case "$1" in
    --) shift; break ;;
    -[BbcDEeFIiJLlmOopQRSWw]) shift 2 ;;
    -*) shift ;;
    *) break ;;
  esac
done
[ $# -gt 0 ] || {{ echo "ssh: no host given" >&2; exit 255; }}
host=${{1#*@}}
shift
while read -r address full short root; do
  case "$host" in "$full"|"$short"|"$address") found=1; break ;; esac
done < {table}
[ -n "$found" ] || {{ echo "ssh: Could not resolve hostname $host: Name or service not known" >&2; exit 255; }}
if [ -e "$root/powered-off" ] || grep -qxF "$address" {partition} 2>/dev/null; then
  echo "ssh: connect to host $host port 22: No route to host" >&2
  exit 255
fi
mkdir -p "$root/root" && cd "$root/root" || exit 255
if [ $# -eq 0 ]; then set -- exec sh; fi
exec env -i GANETI_ROOTDIR="$root" GANETI_HOSTNAME="$full" HOME="$root/root" USER="$(id -un)" \\
  PATH={path} LC_ALL=C.UTF-8 TERM="${{TERM:-dumb}}" sh -c "$*"
"""


def make(layout: Layout, node: VirtualNode, *, os_definitions: str) -> None:
    """Make the root as it shall be, or complete one that was left half made."""
    for directory in ("etc/ganeti", "root", "srv/ganeti/os", "usr/bin", "var/lib", "var/log", "var/run", "var/lock"):
        os.makedirs(f"{node.root}/{directory}", exist_ok=True)
    os.makedirs(layout.shared, exist_ok=True)
    make_run_directory(node)
    _write(f"{node.root}/etc/hosts", hosts_file(layout))
    table = "".join(f"{n.address} {n.name} {n.short_name} {n.root}\n" for n in layout.nodes)
    _write(f"{layout.directory}/nodes", table)
    script = _SSH.format(
        table=shlex.quote(layout.directory + "/nodes"),
        partition=shlex.quote(node.root + PARTITION_FILE),
        path=shlex.quote(f"{layout.bin_dir}:{SYSTEM_PATH}"),
    )
    _write(f"{node.root}/usr/bin/ssh", script, mode=0o755)
    link(layout.shared, node.root + settings.SHARED_FILE_STORAGE_DIR)
    os.makedirs(layout.devices, exist_ok=True)
    link(layout.devices, node.root + paths.FAKE_DEVICES_DIR.path)
    # kernels are read-only files of the machine: shared by all nodes
    if os.path.isdir("/boot"):
        link("/boot", node.root + "/boot")
    if os.path.isdir(os_definitions):
        for name in sorted(os.listdir(os_definitions)):
            if os.path.isdir(f"{os_definitions}/{name}"):
                link(f"{os_definitions}/{name}", f"{node.root}{settings.OS_SEARCH_PATH[0]}/{name}")


#: of the machine; a virtual node has its own once it was booted anew
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def make_run_directory(node: VirtualNode) -> None:
    """The machine may have been restarted since: what lies in /tmp is gone then."""
    os.makedirs(node.run_dir, mode=0o700, exist_ok=True)
    link(node.run_dir, node.root + settings.RUN_DIR)


def power_on(node: VirtualNode) -> None:
    """As a machine's start does: what was in memory is gone, and the boot has an id of its own."""
    if os.path.isdir(node.run_dir):
        shutil.rmtree(node.run_dir)
    make_run_directory(node)
    path = node.root + BOOT_ID
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _write(path, f"{uuid.uuid4()}\n")


def hosts_file(layout: Layout) -> str:
    lines = ["127.0.0.1 localhost", f"{layout.cluster_address} {layout.cluster_name}"]
    lines += [f"{node.address} {node.name} {node.short_name}" for node in layout.nodes]
    lines += [
        f"{layout.network}.{101 + index} {name}.{layout.cluster_name.partition('.')[2]} {name}"
        for index, name in enumerate(GUEST_NAMES)
    ]
    return "\n".join(lines) + "\n"


def cut_off(node: VirtualNode, unreachable: list[VirtualNode]) -> None:
    """From now on the node can not reach these others; empty: it reaches all."""
    path = node.root + PARTITION_FILE
    if unreachable:
        _write(path, "".join(other.address + "\n" for other in unreachable))
    elif os.path.exists(path):
        os.unlink(path)


def link(target: str, path: str) -> None:
    """A symbolic link as it shall be; an empty directory in its place gives way."""
    if os.path.islink(path):
        if os.readlink(path) == target:
            return
        os.unlink(path)
    elif os.path.isdir(path):
        os.rmdir(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


def _write(path: str, text: str, *, mode: int = 0o644) -> None:
    files.write_atomic(path, text.encode(), mode=mode)
