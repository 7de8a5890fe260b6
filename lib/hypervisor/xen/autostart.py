"""What starts guests on a node without being asked by the cluster: Xen's own service `xendomains`.

When a node goes down it saves the guests that run, and when the node is back it restores them. Meanwhile they may have
failed over: then they would run twice, and those that are restored have a memory that does not fit their disks.
"""

from __future__ import annotations

import os
import shlex

from ganeti.host import files
from ganeti.hypervisor import linux
from ganeti.paths import Paths

_DEFAULTS = "/etc/default/xendomains"
_SYSTEMD = "/run/systemd/system"  # sd_booted(3)
_ENABLED = "/etc/systemd/system/multi-user.target.wants/xendomains.service"


def problem(paths: Paths) -> str:
    """What is wrong with it on this node, or nothing."""
    if not all(os.path.exists(linux.host_file(paths, path)) for path in (_SYSTEMD, _ENABLED)):
        return ""
    if not restores(files.read_text(linux.host_file(paths, _DEFAULTS)) or ""):
        return ""
    return (
        "the service xendomains restores guests when this node boots, also those that run elsewhere since;"
        f' type: systemctl disable xendomains (or write XENDOMAINS_RESTORE=false and XENDOMAINS_SAVE="" to {_DEFAULTS})'
    )


def restores(defaults: str) -> bool:
    """Of the service's settings, a file of a shell."""
    found = {}
    for line in defaults.splitlines():
        key, sep, value = line.strip().partition("=")
        if sep and not key.startswith("#"):
            try:
                found[key] = "".join(shlex.split(value, comments=True))
            except ValueError:
                found[key] = value
    return bool(found.get("XENDOMAINS_SAVE")) and found.get("XENDOMAINS_RESTORE", "").lower() == "true"
