"""gnt-cluster watcher, verify-disks, repair-disk-sizes."""

import time

from unit.cli.kit import NOW, Master, Steps, job_master, run


def test_watcher_pause_and_continue():
    master = Master(SetWatcherPause=lambda until: until, QueryConfigValues=[None])
    until = time.ctime(NOW + 3600)
    assert run("gnt-cluster", "watcher", "pause", "1h", master=master).out == f"The watcher is paused until {until}.\n"
    assert run("gnt-cluster", "watcher", "continue", master=master).out == "The watcher is no longer paused.\n"
    assert run("gnt-cluster", "watcher", "info", master=master).out == "The watcher is not paused.\n"
    assert master.sent("SetWatcherPause") == [[NOW + 3600], [None]]
    master.answers["QueryConfigValues"] = [NOW + 60]
    assert "paused until" in run("gnt-cluster", "watcher", "info", master=master).out
    master.answers["QueryConfigValues"] = [NOW - 60]
    assert run("gnt-cluster", "watcher", "info", master=master).out == "The watcher is not paused.\n"


def test_watcher_wants_a_time_for_pause_only():
    for words in (("pause",), ("info", "1h"), ("sleep",)):
        assert run("gnt-cluster", "watcher", *words).code == 1


def disks_master(found):
    """The job of the command, then that of the group; then activations."""
    results = Steps(
        [
            [["success", ["success"], [{"jobs": [[True, 8]]}]]],
            [["success", ["success"], [found]]],
            [["success", ["success"], [None]]],
        ]
    )
    return job_master(QueryJobs=results, SubmitManyJobs=[[True, 9]])


def test_verify_disks_activates_what_is_not_active():
    master = disks_master([{}, ["web1"], {}])
    ended = run("gnt-cluster", "verify-disks", master=master)
    assert ended.code == 0
    assert "Activating disks for instance 'web1'\n" in ended.out
    (((form,),),) = master.sent("SubmitManyJobs")[0]
    assert (form["OP_ID"], form["instance_name"]) == ("OP_INSTANCE_ACTIVATE_DISKS", "web1")


def test_verify_disks_tells_what_is_missing_and_who_is_silent():
    master = disks_master(
        [{"node2": "no connection"}, ["web1"], {"web1": [["node1", "xenvg/a"], ["node2", "xenvg/b"]]}]
    )
    ended = run("gnt-cluster", "verify-disks", "-g", "default", "--no-strict", master=master)
    assert ended.code == 1
    assert ended.err == "Error on node node2: no connection\n"
    assert "Instance web1 has missing volumes:\n\tnode1 xenvg/a\n\tbroken node node2 xenvg/b\n" in ended.out
    ((form,),) = master.sent("SubmitJob")[0]
    assert (form["group_name"], form["is_strict"]) == ("default", False)


def test_verify_disks_with_nothing_to_do():
    assert (
        run("gnt-cluster", "verify-disks", master=disks_master([{}, [], {}])).out == "No disks need to be activated.\n"
    )


def test_repair_disk_sizes_of_all_or_some():
    for words, wanted in (((), None), (("web1", "web2"), ["web1", "web2"])):
        master = job_master([])
        assert run("gnt-cluster", "repair-disk-sizes", *words, master=master).code == 0
        ((form,),) = master.sent("SubmitJob")[0]
        assert form.get("instances") == wanted
