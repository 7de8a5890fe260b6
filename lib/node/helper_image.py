"""Install images as they lie on this node: looked at before anything is booted."""

from __future__ import annotations

import os
import stat
import struct

from ganeti import errors
from ganeti.host import regular
from ganeti.host.trust import why_not_trusted
from ganeti.hypervisor.kvm.helper import Image
from ganeti.paths import Paths

_QCOW2 = b"QFI\xfb"
#: docs/interop/qcow2.txt of QEMU: magic, version, offset of the backing file's name; since version 3 the features that
#: a reader has to know, at byte 72
_HEAD = struct.Struct(">4sIQ")
_FEATURES = struct.Struct(">Q")
_FEATURES_AT = 72
_EXTERNAL_DATA = 1 << 2


def find(path: str, where: Paths) -> Image:
    """The image at a local path: a directory with `vmlinuz` and `initrd`, or a disk that boots.

    Raises NodeFailure that says what it is instead.
    """
    try:
        _check_trusted(path, where)
        if os.path.isdir(path):
            return _directory(path, where)
        if not stat.S_ISBLK(os.stat(path).st_mode):
            regular.check(path)
        with open(path, "rb") as file:
            head = file.read(_FEATURES_AT + _FEATURES.size)
    except OSError as err:
        raise errors.NodeFailure(f"the install image cannot be read: {err.filename}: {err.strerror}") from err
    if not head.startswith(_QCOW2):
        if len(head) < _FEATURES_AT:
            raise errors.NodeFailure(f"the install image {path} is no disk image: it is (almost) empty")
        return Image(disk=path, form="raw")
    # What the image refers to would be opened too, with our rights.
    if len(head) < _FEATURES_AT:
        raise errors.NodeFailure(f"the install image {path} is damaged")
    _, version, backing = _HEAD.unpack_from(head)
    features = _FEATURES.unpack_from(head, _FEATURES_AT)[0] if version >= 3 and len(head) > _FEATURES_AT else 0
    if backing or features & _EXTERNAL_DATA:
        raise errors.NodeFailure(
            f"the install image {path} needs another file", hint="make it whole with qemu-img convert"
        )
    return Image(disk=path, form="qcow2")


def _directory(path: str, where: Paths) -> Image:
    for name in ("vmlinuz", "initrd"):
        _check_trusted(f"{path}/{name}", where)
        if not regular.read(f"{path}/{name}", max_bytes=1):
            raise errors.NodeFailure(f"the file {name} of the install image {path} is empty")
    return Image(kernel=f"{path}/vmlinuz", initrd=f"{path}/initrd")


def _check_trusted(path: str, where: Paths) -> None:
    """What is booted gets the disks and the secrets of instances."""
    problem = why_not_trusted(path, where)
    if problem:
        raise errors.NodeFailure(f"the install image is not booted: {problem}")
