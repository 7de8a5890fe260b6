"""Cut-off nodes of a virtual cluster: which addresses this node can not reach.

`tools/vcluster partition` writes the addresses into a file below the node's root, one a line. Node daemons and
their clients ask here before they dial or answer. A real node has no such file and is never cut off.
"""

from __future__ import annotations

import os
import threading

from ganeti.paths import Paths

PARTITION_FILE = "/etc/ganeti/partition"

_lock = threading.Lock()
#: root → (stamp of the file, addresses); one small entry for each virtual node of this process
_cache: dict[str, tuple[tuple[int, int, int], frozenset[str]]] = {}


def blocked(paths: Paths, address: str) -> bool:
    """Whether packets from and to this address are to be taken as lost. Costs one `stat` on a virtual node."""
    return paths.is_virtual and address in cut_off(paths)


def cut_off(paths: Paths) -> frozenset[str]:
    """All addresses that this virtual node can not reach."""
    local = paths.local(PARTITION_FILE)
    try:
        status = os.stat(local)
    except FileNotFoundError:
        return frozenset()
    stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
    with _lock:
        known = _cache.get(paths.root)
    if known is not None and known[0] == stamp:
        return known[1]
    try:
        with open(local, encoding="ascii") as file:
            addresses = frozenset(file.read().split())
    except FileNotFoundError:  # healed since the stat
        return frozenset()
    with _lock:
        _cache[paths.root] = (stamp, addresses)
    return addresses
