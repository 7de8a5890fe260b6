"""Commands on disks: what their words become."""

import pytest
from unit.cli.kit import job_master, run
from unit.cli.test_cli_moves import form

DISKS = "OP_INSTANCE_"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("recreate-disks", "web1"), {"OP_ID": DISKS + "RECREATE_DISKS"}),
        (
            ("recreate-disks", "--disk", "0:size=10g", "--disk", "2", "web1"),
            {"OP_ID": DISKS + "RECREATE_DISKS", "disks": [[0, {"size": "10g"}], [2, {}]]},
        ),
        (
            ("recreate-disks", "-n", "node1:node2", "web1"),
            {"OP_ID": DISKS + "RECREATE_DISKS", "nodes": ["node1", "node2"]},
        ),
        (
            ("replace-disks", "-s", "--disks", "0,1", "--early-release", "web1"),
            {
                "OP_ID": DISKS + "REPLACE_DISKS",
                "mode": "replace_on_secondary",
                "disks": ["0", "1"],
                "early_release": True,
            },
        ),
        (("replace-disks", "-n", "node3", "web1"), {"OP_ID": DISKS + "REPLACE_DISKS", "remote_node": "node3"}),
        (("replace-disks", "-a", "web1"), {"OP_ID": DISKS + "REPLACE_DISKS", "mode": "replace_auto"}),
        (
            ("grow-disk", "--no-wait-for-sync", "web1", "0", "10g"),
            {"OP_ID": DISKS + "GROW_DISK", "disk": "0", "amount": "10g", "wait_for_sync": False},
        ),
        (("deactivate-disks", "-f", "web1"), {"OP_ID": DISKS + "DEACTIVATE_DISKS", "force": True}),
    ],
)
def test_words_become_the_operation(words, wanted):
    master = job_master()
    ended = run("gnt-instance", *words, master=master)
    assert ended.code == 0, ended.err
    assert form(master) == {"instance_name": "web1", **wanted}


def test_a_disk_that_is_no_number_is_refused():
    master = job_master()
    ended = run("gnt-instance", "recreate-disks", "--disk", "root", "web1", master=master)
    assert ended.code == 1
    assert "cannot read 'root' as a disk" in ended.err
    assert master.calls == []
