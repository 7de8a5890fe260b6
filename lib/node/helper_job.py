"""What a helper machine is given to do: a disk with an archive, in it a program `start` and the OS definition.

All that can change from version to version is in `start`; an install image only unpacks and runs it
(doc/helper-machine.rst).
"""

from __future__ import annotations

import io
import os
import shlex
import stat
import tarfile
from collections.abc import Mapping

from ganeti import errors
from ganeti.hypervisor.kvm import helper

SCRIPT = "create_untrusted"
#: what begins a line that is meant for the node, before the token
MARK = "ganeti-helper"
#: of an OS definition with all its files
MAX_BYTES = 64 << 20
_SECTOR = 512

_START = """# What this helper machine is to do; run by its image as: sh start
cd "${0%/*}/os" || exit 1
port=
for each in /sys/class/virtio-ports/*; do
  [ "$(cat "$each/name" 2>/dev/null)" = PORT ] && port=/dev/${each##*/}
done
[ -c "$port" ] || { echo "helper: there is no port PORT"; exit 1; }
exec </dev/null >"$port" 2>&1
say() { echo "MARK $*"; }
disk() {
  for try in 1 2 3 4 5 6 7 8 9 10; do
    for each in /sys/block/*; do
      [ "$(cat "$each/serial" 2>/dev/null)" = "$1" ] && { echo "/dev/${each##*/}"; return; }
    done
    sleep 1
  done
  echo "helper: there is no disk with the serial $1" >&2
  return 1
}
say hello
DISKS(exec env -i ENVIRONMENT ./SCRIPT)
status=$?
sync
written() { # a sync of everything does not tell what a disk did not take: its device does, and the kernel
  sync "$1" 2>/dev/null && ! dmesg 2>/dev/null | grep -q "I/O error, dev ${1##*/}," && return
  echo "helper: not everything that was written to $1 is on the disk"
  [ $status -ne 0 ] || status=1
}
WRITTENecho
say "end $status"
"""


def start(environment: Mapping[str, str], disks: int, token: str) -> str:
    """A program for a POSIX shell. The paths of disks are what the helper calls them; the rest is as given."""
    own = [f"DISK_{index}_PATH" for index in range(disks)]
    words = [shlex.quote(f"{name}={value}") for name, value in environment.items() if name not in own]
    words += [f'"{name}=${name}"' for name in own]
    finding = [
        f"{name}=$(disk {helper.disk_serial(index)}) || {{ say end 1; exit 1; }}\n" for index, name in enumerate(own)
    ]
    return (
        _START.replace("PORT", helper.PORT)
        .replace("MARK", f"{MARK} {token}")
        .replace("SCRIPT", SCRIPT)
        .replace("DISKS", "".join(finding))
        .replace("WRITTEN", "".join(f'written "${name}"\n' for name in own))
        .replace("ENVIRONMENT", " ".join(words))
    )


def archive(directory: str, program: str) -> bytes:
    """As it lies on the disk. Links are taken as links: none of them leads out of the helper into the node.

    Raises NodeFailure when the definition is too large or cannot be read.
    """
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.GNU_FORMAT) as tar:
        _put(tar, "start", program.encode("utf-8", "surrogateescape"), 0o600)
        try:
            _add(tar, directory)
        except OSError as err:
            raise errors.NodeFailure(f"{err.filename} of the OS definition cannot be read: {err.strerror}") from err
    found = output.getvalue()
    return found + b"\0" * (-len(found) % _SECTOR)


def _put(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    tar.addfile(member, io.BytesIO(data))


def _add(tar: tarfile.TarFile, directory: str) -> None:
    left = MAX_BYTES
    _directory(tar, "os", 0o755)
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = f"{folder}/{name}"
            member = "os/" + os.path.relpath(path, directory)
            found = os.lstat(path)
            if stat.S_ISLNK(found.st_mode):
                link = tarfile.TarInfo(member)
                link.type, link.linkname, link.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
                tar.addfile(link)
            elif stat.S_ISDIR(found.st_mode):
                _directory(tar, member, stat.S_IMODE(found.st_mode))
            elif stat.S_ISREG(found.st_mode):
                data = _read(path, left)
                left -= len(data)
                _put(tar, member, data, stat.S_IMODE(found.st_mode))


def _directory(tar: tarfile.TarFile, name: str, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, mode
    tar.addfile(member)


def _read(path: str, left: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        data = file.read(left + 1)
    if len(data) > left:
        raise errors.NodeFailure(
            f"the OS definition has more than {MAX_BYTES >> 20} MiB of files",
            hint="put what is large into the install image",
        )
    return data
