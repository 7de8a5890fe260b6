"""An upgrade of a cluster whose state has the format of an earlier version."""

import os
import subprocess

from functional.kit import wait_until

from ganeti import paths, settings
from ganeti.bootstrap import daemons
from ganeti.host import files
from ganeti.store import formats, reading
from ganeti.store.api import Batch, Write
from ganeti.store.batch import seal
from ganeti.store.db import Database


def format_on(node):
    rows = dict(reading.look_rows(node.paths.local(paths.STATE_DB), formats.KEY[0], prefix=formats.KEY[1]))
    return formats.parse(rows.get(formats.KEY[1]))


def set_format(node, write):
    """As if another version had written the state."""
    with_lock = Database.open(node.paths.local(paths.STATE_DB))
    try:
        at = with_lock.position
        with_lock.apply([seal(Batch(at.term, at.serial + 1, 1.0, (write,)), at.hash)], is_leader=True)
    finally:
        with_lock.close()


def start_fails(shell):
    """What the master daemon says about the state."""
    daemons.stop(shell.master.paths, daemons.MASTERD)
    return shell.cluster.call(shell.master, (daemons.MASTERD,)).stderr


def test_state_of_an_earlier_version_is_upgraded_on_all_candidates(own_cluster):
    master = own_cluster.master
    assert format_on(master).number == formats.CURRENT
    own_cluster.ok("gnt-cluster", "upgrade", "--to", settings.VERSION)  # nothing to do
    assert own_cluster.ok("gnt-cluster", "upgrade", "--resume") == ""
    assert "is installed on this node" in own_cluster.fails("gnt-cluster", "upgrade", "--to", "99.1")
    assert "give one of" in own_cluster.fails("gnt-cluster", "upgrade")
    own_cluster.ok("gnt-instance", "add", "-t", "diskless", "-n", "node2", "-o", "busybox-linux", "--no-install",
                   "--no-start", "web1.vc.example")  # fmt: skip

    daemons.stop(master.paths, daemons.MASTERD)
    set_format(master, formats.write(formats.CURRENT + 1, "99.1"))
    assert "install version 99.1" in start_fails(own_cluster)
    assert "install version 99.1" in own_cluster.fails("gnt-cluster", "upgrade", "--to", settings.VERSION, status=2)

    set_format(master, Write(*formats.KEY, None))
    assert "gnt-cluster upgrade --to" in start_fails(own_cluster)
    own_cluster.ok("gnt-cluster", "upgrade", "--to", settings.VERSION)
    own_cluster.wait_for_answers()
    assert own_cluster.rows("gnt-instance", "name") == [["web1.vc.example"]]
    wait_until(
        "the new format on all candidates",
        lambda: all(format_on(node).number == formats.CURRENT for node in own_cluster.nodes),
    )


def go_back(shell, backup):
    """What doc/upgrade.rst says, word for word."""
    for node in shell.nodes:
        assert shell.cluster.call(node, ("ganeti-daemons", "stop")).returncode == 0
    for node in shell.nodes:
        os.rename(node.paths.local(paths.STATE_DIR), node.paths.local(paths.STATE_DIR) + ".away")
    data = shell.master.paths.local(paths.DATA_DIR)
    subprocess.run(["tar", "-C", data, "-xpf", backup, "./identity.json", "./state"], check=True)
    for node in shell.nodes:
        shell.cluster.call(node, ("ganeti-daemons", "start"))


def test_the_backup_of_an_upgrade_is_a_way_back(own_cluster):
    shell, master = own_cluster, own_cluster.master
    new = ("-t", "diskless", "-n", "node2", "-o", "busybox-linux", "--no-install")
    shell.ok("gnt-instance", "add", *new, "--no-start", "web1.vc.example")
    shell.ok("gnt-instance", "startup", "web1")
    # no master daemon, so it is not known that this version ran already; the format stays, as there is no other version
    daemons.stop(master.paths, daemons.MASTERD)
    shell.ok("gnt-cluster", "upgrade", "--to", settings.VERSION)
    shell.wait_for_answers()
    (backup,) = (place for place in os.listdir(master.paths.local(paths.BACKUP_DIR)) if place.endswith(".tar"))
    backup = f"{master.paths.local(paths.BACKUP_DIR)}/{backup}"
    assert os.stat(backup).st_mode & 0o077 == 0
    # what is done from here on is lost with the way back
    shell.ok("gnt-instance", "add", *new, "--no-start", "web2.vc.example")
    shell.ok("gnt-instance", "add-tags", "web1", "late")
    for number in range(4):
        shell.ok("gnt-cluster", "add-tags", f"tag{number}")

    go_back(shell, backup)
    shell.ok("gnt-cluster", "master-failover", "--no-voting", "--yes-do-it")
    shell.wait_for_answers()
    assert shell.rows("gnt-instance", "name,status,tags") == [["web1.vc.example", "running", ""]]
    assert shell.ok("gnt-cluster", "list-tags") == ""
    wait_until(
        "copies on all candidates", lambda: all(format_on(node).number == formats.CURRENT for node in shell.nodes)
    )
    wait_until("equal positions", lambda: len(set(shell.positions())) == 1)
    # the nodes take what the master of the older serial number says: it has a newer term
    shell.ok("gnt-cluster", "rename", "-f", "web9")
    for node in shell.nodes:
        wait_until(
            "the new name", lambda node=node: "web9" in files.read_text(node.paths.local(paths.ssconf("cluster_name")))
        )
    shell.ok("gnt-instance", "add", *new, "web3.vc.example")
    shell.ok("gnt-cluster", "verify")
