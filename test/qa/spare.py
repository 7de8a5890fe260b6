"""Disks that come to a running node, and that go as when somebody pulls them out."""

import subprocess

from qa.conftest import WORK, wait_until

_RUN = f"{WORK}/run"


class Spare:
    """A physical volume of xenvg on a disk of its own."""

    def __init__(self, bed, node, name, size_mib):
        self._bed, self._node, self._name = bed, node, name
        image = f"{_RUN}/node{node}/{name}.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, f"{size_mib}M"], check=True)
        self._monitor(f"drive_add 0 if=none,id={name},format=qcow2,file={image}")
        self._monitor(f"device_add virtio-blk-pci,drive={name},serial={name},id={name}-device")
        bed.ok(node, "echo 1 >/sys/bus/pci/rescan")
        wait_until("the disk is there", self._find)
        self.device = f"/dev/{self._find()}"
        bed.ok(node, f"pvcreate -q {self.device} && vgextend -q xenvg {self.device}")

    def _monitor(self, command):
        socket = f"UNIX-CONNECT:{_RUN}/node{self._node}/mon"
        subprocess.run(["socat", "-t1", "-", socket], input=command + "\n", text=True, capture_output=True, check=True)

    def _find(self):
        found = self._bed.ok(self._node, f"grep -l '^{self._name}$' /sys/block/vd*/serial || true").split("/")
        return found[3] if len(found) > 3 else ""

    def pull(self):
        """The kernel loses the disk, whoever uses it."""
        self._bed.ok(self._node, f"echo 1 >$(dirname $(readlink -f /sys/block/{self._find()}/device))/remove")
        wait_until("the disk is gone", lambda: not self._find())
