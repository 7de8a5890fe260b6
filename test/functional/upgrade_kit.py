"""An older version that runs, an upgrade that dies, and what is promised at its end."""

import os
import shutil
import signal
import sys
from contextlib import contextmanager

from functional.conftest import make_cluster
from functional.kit import wait_until
from functional.test_ft_upgrade import format_on, set_format

from ganeti import paths, settings
from ganeti.bootstrap import daemons
from ganeti.host import files
from ganeti.store import formats
from ganeti.store.api import Write

OLD = "0.0.1"
#: this program, which takes itself for an older one that knows the first format only
OLDER = """#!{python}
import sys
from ganeti import settings
from ganeti.store import formats
settings.VERSION = {version!r}
formats.check = lambda found: None
from ganeti.master.main import main
sys.exit(main())
"""
UPGRADE = ("gnt-cluster", "upgrade", "--to", settings.VERSION)
RESUME = ("gnt-cluster", "upgrade", "--resume")


def make_shell():
    made = make_cluster(3)
    place = f"{made.cluster.layout.directory}/older"
    os.mkdir(place)
    with open(f"{place}/ganeti-masterd", "w", encoding="utf-8") as file:
        file.write(OLDER.format(python=sys.executable, version=OLD))
    os.chmod(file.name, 0o755)
    made.older = place
    made.ok("gnt-instance", "add", "-t", "diskless", "-n", "node2", "-o", "busybox-linux", "--no-install",
            "web1.vc.example")  # fmt: skip
    made.ok("gnt-instance", "startup", "web1.vc.example")
    return made


def run_older(shell, *, number):
    """The version from before runs, on a state of its format."""
    master = shell.master
    daemons.stop(master.paths, daemons.MASTERD)
    row = Write(*formats.KEY, None) if number == formats.FIRST else formats.write(number, OLD)
    set_format(master, row)
    daemons.start(master.paths, daemons.MASTERD, bin_dir=shell.older)
    shell.wait_for_answers()
    assert shell.luxi("QueryClusterInfo")["result"]["software_version"] == OLD


def killed_at(shell, fault, argv=UPGRADE):
    """How it ended. With the fault in a daemon's code the daemon that it starts dies, not itself."""
    return shell.cluster.call(shell.master, ("env", f"GANETI_FAULT={fault}", *argv), timeout_s=300)


def dies(shell, fault, argv=UPGRADE):
    done = killed_at(shell, fault, argv)
    assert done.returncode == -signal.SIGKILL, (fault, done.stdout, done.stderr)


def intent(shell):
    return files.read_text(shell.master.paths.local(paths.UPGRADE_INTENT))


def backups(shell):
    place = shell.master.paths.local(paths.BACKUP_DIR)
    return sorted(f"{place}/{name}" for name in os.listdir(place)) if os.path.isdir(place) else []


def is_well(shell):
    """All that an upgrade promises, whatever happened on its way."""
    shell.wait_for_answers()
    assert intent(shell) is None
    assert shell.luxi("QueryConfigValues", ["drain_flag", "watcher_pause"])["result"] == [False, None]
    assert shell.luxi("QueryClusterInfo")["result"]["software_version"] == settings.VERSION
    for node in shell.nodes:
        assert all(daemons.is_running(node.paths, daemon) for daemon in (daemons.NODED, daemons.CONFD)), node.name
    assert daemons.is_running(shell.master.paths, daemons.RAPI)
    assert shell.rows("gnt-instance", "name,status") == [["web1.vc.example", "running"]]
    wait_until("the new format", lambda: all(format_on(node).number == formats.CURRENT for node in shell.nodes))
    # whole copies only, and readable by root alone
    assert all(path.endswith(".tar") and os.stat(path).st_mode & 0o077 == 0 for path in backups(shell))


@contextmanager
def no_place_for_backups(shell):
    """It fails before the conversion, so that what was done is taken back."""
    place = shell.master.paths.local(paths.BACKUP_DIR)
    if os.path.isdir(place):
        shutil.rmtree(place)
    files.write_atomic(place, b"")
    yield
    os.unlink(place)
