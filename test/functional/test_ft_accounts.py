"""A node with its real paths, daemons with accounts of their own, a network with a neighbour: in namespaces."""

import os
import shutil
import subprocess
import sys

import pytest
from functional.conftest import REPOSITORY

UNSHARE = ("unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
PROGRAMS = ("unshare", "setpriv", "ip", "mount", "ssh", "ssh-keygen", "/usr/sbin/sshd")


def _why_not():
    if os.geteuid() != 0:
        return "only root can change accounts and make namespaces"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return "these programs are missing: " + ", ".join(missing)
    tried = subprocess.run([*UNSHARE, "ip", "link", "add", "t0", "type", "veth"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "namespaces cannot be made here"


def test_daemons_with_accounts_of_their_own():
    reason = _why_not()
    if reason:
        pytest.skip(reason)
    here = os.path.dirname(__file__)
    done = subprocess.run(
        [*UNSHARE, "sh", f"{here}/accounts.sh", sys.executable, REPOSITORY, sys.executable, f"{here}/real_node.py"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
