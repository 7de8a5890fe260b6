"""gnt-instance list-detached-disks, remove-detached-disk, and the words that detach and attach."""

from unit.cli.kit import Keyboard, job_master, run

UUID = "11111111-2222-4333-8444-555555555555"


def test_detached_disks_are_listed():
    master = job_master([[UUID, "", 2048, "drbd", ["node1", "node2"], "web1", 1000.0]])
    words = ("gnt-instance", "list-detached-disks", "--no-headers", "--separator=|")
    listed = run(*words, master=master).out.split("|")
    assert listed[:6] == [UUID, "-", "2048", "drbd", "node1,node2", "web1"]
    assert run(*words, "--units=g", master=job_master([[UUID, "data", 2048, "file", ["n"], "w", 0.0]])).out.split("|")[
        1:3
    ] == ["data", "2.0"]


def test_a_detached_disk_is_removed_after_a_question():
    master = job_master()
    words = ("gnt-instance", "remove-detached-disk")
    assert run(*words, "data", master=master, keyboard=Keyboard("n")).code == 1
    assert master.sent("SubmitJob") == []
    assert run(*words, "data", master=master, keyboard=Keyboard("y")).code == 0
    ((form,),) = master.sent("SubmitJob")[0]
    assert (form["OP_ID"], form["disk"]) == ("OP_DETACHED_DISK_REMOVE", "data")


def test_modify_detaches_and_attaches():
    master = job_master([])
    disks = (
        "--disk",
        "detach",
        "--disk",
        f"attach:uuid={UUID}",
        "--disk",
        "0:attach,name=data",
        "--disk",
        "data:detach",
    )
    assert run("gnt-instance", "modify", *disks, "web1", master=master).code == 0
    ((form,),) = master.sent("SubmitJob")[0]
    assert form["disks"] == [
        ["detach", -1, {}],
        ["attach", -1, {"uuid": UUID}],
        ["attach", 0, {"name": "data"}],
        ["detach", "data", {}],
    ]
