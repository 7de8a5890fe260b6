"""The end of a node's membership."""

from __future__ import annotations

import glob
import logging
import os
import shutil

from ganeti import errors, paths
from ganeti.calls.node import NodeLeave
from ganeti.calls.store import StoreDrop
from ganeti.host import services
from ganeti.node import hosts, ssh_files
from ganeti.node.base import HANDLERS, Context, NodeEnv, handles
from ganeti.node.ending import Ending
from ganeti.paths import Paths
from ganeti.rpc import credentials, identity

log = logging.getLogger(__name__)


#: directories of ours with nothing in them that a host outside of a cluster has a use for; the daemon's own go last
_DIRECTORIES = (paths.RENEWAL_DIR, paths.BACKUP_DIR, paths.CRYPTO_DIR)
_LAST = (paths.STATE_DIR, paths.NODE_DIR)


@handles(NodeLeave)
def leave(call: NodeLeave, env: NodeEnv, context: Context) -> None:
    """The daemon ends after the reply. What is gone already: fine."""
    HANDLERS[StoreDrop](StoreDrop(), env, context)
    credentials.remove(env.paths)
    remove_files(env.paths)
    hosts.keep(env.paths, {})
    ssh_files.forget(env.paths)
    try:
        services.of(env.paths).disable()
    except errors.CommandFailed as err:
        log.warning("%s: the units are still enabled; without an identity they start nothing", err)
    log.info("this node has left the cluster; the daemon ends")
    env.service(Ending).set()


def remove_files(where: Paths) -> None:
    """ssconf files, shared secrets, copies of all that, and what the daemons keep of the state.

    The request table is still in use, and so may the state be: `finish` removes them.
    """
    doomed = glob.glob(glob.escape(where.local(paths.DATA_DIR)) + "/ssconf_*")
    doomed += glob.glob(glob.escape(where.local(paths.STATE_DIR)) + "/*")
    doomed += glob.glob(glob.escape(where.local(paths.DATA_DIR)) + "/watcher.*")
    kept = (paths.SSCONF_SERIAL, paths.CONFD_DATA, paths.UPGRADE_INTENT, paths.INSTANCE_STATUS)
    doomed += [where.local(file) for file in (*kept, *paths.SHARED_SECRETS.values())]
    for path in doomed:
        if os.path.isfile(path):
            os.unlink(path)
    for directory in _DIRECTORIES:
        _remove_directory(where.local(directory))


def finish(where: Paths) -> None:
    """When the daemon has closed what was its own: nothing of the cluster stays. A member of one: nothing is done."""
    if identity.load(where) is not None:
        return
    for directory in _LAST:
        _remove_directory(where.local(directory))


def _remove_directory(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
