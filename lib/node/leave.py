"""The end of a node's membership."""

from __future__ import annotations

import glob
import logging
import os

from ganeti import paths
from ganeti.calls.node import NodeLeave
from ganeti.calls.store import StoreDrop
from ganeti.node import hosts, ssh_files
from ganeti.node.base import HANDLERS, Context, NodeEnv, handles
from ganeti.node.ending import Ending
from ganeti.paths import Paths
from ganeti.rpc import credentials

log = logging.getLogger(__name__)


@handles(NodeLeave)
def leave(call: NodeLeave, env: NodeEnv, context: Context) -> None:
    """The daemon ends after the reply. What is gone already: fine."""
    HANDLERS[StoreDrop](StoreDrop(), env, context)
    credentials.remove(env.paths)
    remove_files(env.paths)
    hosts.keep(env.paths, {})
    ssh_files.forget(env.paths)
    log.info("this node has left the cluster; the daemon ends")
    env.service(Ending).set()


def remove_files(where: Paths) -> None:
    """ssconf files, shared secrets and what the daemons keep of the state. The request table is still in use."""
    doomed = glob.glob(glob.escape(where.local(paths.DATA_DIR)) + "/ssconf_*")
    doomed += glob.glob(glob.escape(where.local(paths.STATE_DIR)) + "/*")
    doomed += glob.glob(glob.escape(where.local(paths.DATA_DIR)) + "/watcher.*")
    doomed += glob.glob(glob.escape(where.local(paths.RENEWAL_DIR)) + "/*")
    kept = (paths.SSCONF_SERIAL, paths.CONFD_DATA, *paths.SHARED_SECRETS.values())
    doomed += [where.local(file) for file in kept]
    for path in doomed:
        if os.path.isfile(path):
            os.unlink(path)
