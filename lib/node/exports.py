"""Exports on this node."""

from __future__ import annotations

import os

from ganeti import errors, paths
from ganeti.calls.export import ExportList
from ganeti.node.base import Context, NodeEnv, handles

#: end of the name of an export that is being written
UNFINISHED = ".new"


@handles(ExportList)
def names(call: ExportList, env: NodeEnv, context: Context) -> tuple[str, ...]:
    home = env.paths.local(paths.EXPORT_DIR)
    try:
        found = os.listdir(home)
    except FileNotFoundError:
        return ()
    except OSError as err:
        raise errors.NodeFailure(f"{paths.EXPORT_DIR.path} cannot be read: {err.strerror}") from err
    whole = (name for name in found if not name.startswith(".") and not name.endswith(UNFINISHED))
    return tuple(sorted(name for name in whole if os.path.isfile(f"{home}/{name}/config.ini")))
