"""The storage drivers of a node."""

from __future__ import annotations

from ganeti import paths as account_table
from ganeti.host.run import Runner
from ganeti.model.objects import DiskTemplate
from ganeti.paths import Paths
from ganeti.storage.base import Storage
from ganeti.storage.diskless import DisklessStorage
from ganeti.storage.file.driver import FileStorage


def drivers(paths: Paths, runner: Runner) -> dict[DiskTemplate, Storage]:
    """Every template that this version can serve. Making them has no effect; `runner` is for those with tools."""
    return {
        DiskTemplate.DISKLESS: DisklessStorage(),
        DiskTemplate.FILE: FileStorage(paths, account_table.FILE_STORAGE_DIR),
        DiskTemplate.SHAREDFILE: FileStorage(paths, account_table.SHARED_FILE_STORAGE_DIR),
    }
