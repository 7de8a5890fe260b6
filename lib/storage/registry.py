"""The storage drivers of a node."""

from __future__ import annotations

from ganeti import paths as account_table
from ganeti.host.clock import Clock, SystemClock
from ganeti.host.run import Runner
from ganeti.model.objects import DiskTemplate
from ganeti.model.types import MiB
from ganeti.paths import Paths
from ganeti.storage import wipe
from ganeti.storage.base import Storage, Watch
from ganeti.storage.blockdev.devices import Devices, FileDevices, KernelDevices
from ganeti.storage.blockdev.driver import BlockdevStorage
from ganeti.storage.diskless import DisklessStorage
from ganeti.storage.drbd8.driver import DrbdStorage
from ganeti.storage.drbd8.kernel import DrbdKernel, Kernel
from ganeti.storage.drbd8.virtual import VirtualKernel
from ganeti.storage.file import content
from ganeti.storage.file.driver import FileStorage
from ganeti.storage.lvm.driver import LvmStorage
from ganeti.storage.lvm.virtual import VirtualLvm


def drivers(paths: Paths, runner: Runner, clock: Clock | None = None) -> dict[DiskTemplate, Storage]:
    """Every template that this version can serve. Making them has no effect; `runner` is for those with tools.

    A virtual node has no devices of its own: its volumes are files, and its mirrors connect within the virtual cluster.
    """
    time = clock or SystemClock()
    plain: Storage = VirtualLvm(paths) if paths.is_virtual else LvmStorage(runner, time)
    devices: Devices = FileDevices(paths) if paths.is_virtual else KernelDevices(runner)
    kernel: Kernel = VirtualKernel(paths, time) if paths.is_virtual else DrbdKernel(runner)

    def zeroes(device: str, offset: MiB, size: MiB, watch: Watch) -> None:
        if paths.is_virtual:
            content.wipe(paths.local(device), offset << 20, size << 20, watch)
        else:
            wipe.wipe(runner, device, offset=offset, size=size, watch=watch)

    return {
        DiskTemplate.DISKLESS: DisklessStorage(),
        DiskTemplate.FILE: FileStorage(paths, account_table.FILE_STORAGE_DIR),
        DiskTemplate.SHAREDFILE: FileStorage(paths, account_table.SHARED_FILE_STORAGE_DIR),
        DiskTemplate.PLAIN: plain,
        DiskTemplate.BLOCKDEV: BlockdevStorage(devices),
        DiskTemplate.DRBD: DrbdStorage(plain, kernel, time, zeroes),
    }
