"""Ends a node's membership in a cluster, as far as files go."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterable

from ganeti import paths
from ganeti.bootstrap import daemons
from ganeti.host import services
from ganeti.node import hosts, ssh_files
from ganeti.paths import Paths
from ganeti.rpc import credentials


def make_storage_directories(where: Paths, directories: Iterable[str]) -> None:
    """The base directories of file volumes (logical paths); empty ones are not used."""
    for directory in directories:
        if directory:
            os.makedirs(where.local(directory), mode=0o750, exist_ok=True)


def remove_everything(where: Paths) -> None:
    """Stop our daemons and remove all that makes this host a node: state, certificates, ssconf files.

    Logs, storage and guests stay. Not a node: fine. May be repeated.
    """
    services.of(where).disable()
    for daemon in (daemons.RAPI, daemons.MASTERD, daemons.CONFD, daemons.NODED):
        daemons.stop(where, daemon)
    credentials.remove(where)
    hosts.keep(where, {})
    ssh_files.forget(where)
    for directory in (paths.STATE_DIR, paths.NODE_DIR, paths.RENEWAL_DIR, paths.CRYPTO_DIR):
        if os.path.isdir(where.local(directory)):
            shutil.rmtree(where.local(directory))
    doomed = glob.glob(glob.escape(where.local(paths.DATA_DIR)) + "/ssconf_*")
    doomed += glob.glob(glob.escape(where.local(paths.DATA_DIR)) + "/watcher.*")
    doomed += [where.local(file) for file in (paths.CONFD_DATA, paths.INSTANCE_STATUS, *paths.SHARED_SECRETS.values())]
    for path in doomed:
        if os.path.exists(path):
            os.unlink(path)
