"""Runs of the watcher: what it starts, remembers and leaves alone."""

import os

import pytest
from unit.watcher.kit import GROUP, NOW, World

from ganeti import errors, paths
from ganeti.host import files
from ganeti.watcher.main import guarded, main


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def status_lines(world, file):
    return files.read_text(world.paths.local(file))


# A group


def test_down_instances_are_started_and_counted(world):
    world.master.instances = {"web1": "ERROR_down", "web2": "running", "db": "ERROR_nodedown"}
    world.master.failing = {"web1"}
    for count in (1, 2):
        assert world.group_run() == 0
        assert world.remembered()["instance"] == {"web1": {"restart_count": count, "restart_when": NOW}}
    assert world.master.asked("OP_INSTANCE_STARTUP") == ["web1", "web1"]
    assert world.master.reasons[0][0][0] == "gnt:watcher"
    assert status_lines(world, paths.watcher_status(GROUP)) == "web1 ERROR_down\nweb2 running\ndb ERROR_nodedown\n"


def test_start_that_has_not_ended_is_not_started_again(world):
    world.master.instances = {"web1": "ERROR_down"}
    world.master.endless = {"web1"}
    world.group_run()
    assert world.remembered()["instance"]["web1"]["job"] == 1
    world.clock.now += 300
    world.group_run()
    assert world.master.asked("OP_INSTANCE_STARTUP") == ["web1"]
    world.master.endless = set()
    world.group_run()
    assert world.master.asked("OP_INSTANCE_STARTUP") == ["web1", "web1"]
    assert world.remembered()["instance"]["web1"]["restart_count"] == 2


def test_count_is_saved_though_a_later_step_fails(world):
    world.master.instances = {"web1": "ERROR_down"}
    world.master.disks = "no such thing"  # what comes after the start cannot be read
    with pytest.raises(ValueError):
        world.group_run()
    assert world.remembered()["instance"]["web1"]["restart_count"] == 1


def test_disks_are_activated_after_a_boot_until_it_went_well(world):
    world.master.instances = {"web1": "running"}
    world.master.secondaries = {"web1": ["node2"]}
    world.group_run()
    assert world.master.asked("OP_INSTANCE_ACTIVATE_DISKS") == ["web1"]
    world.group_run()
    assert world.master.asked("OP_INSTANCE_ACTIVATE_DISKS") == ["web1"]
    world.master.nodes["node2"] = "boot-c"
    world.master.failing = {"web1"}
    world.group_run()
    assert world.remembered()["node"] == {"node1": {"bootid": "boot-a"}, "node2": {"bootid": "boot-b"}}
    world.master.failing = set()
    world.group_run()
    world.group_run()
    assert world.master.asked("OP_INSTANCE_ACTIVATE_DISKS") == ["web1"] * 3
    assert world.remembered()["node"]["node2"] == {"bootid": "boot-c"}


def test_inactive_disks_are_activated_but_not_those_with_missing_volumes(world):
    world.master.instances = {"web1": "running", "web2": "running"}
    world.master.disks = [{"node2": "no answer"}, ["web1", "web2"], {"web2": [["node1", "xenvg/disk0"]]}]
    world.group_run()
    assert world.master.asked("OP_INSTANCE_ACTIVATE_DISKS") == ["web1"]
    assert world.master.asked("OP_GROUP_VERIFY_DISKS") == ["default"]


def test_guests_and_minors_of_no_instance_are_ended_only_where_that_is_wanted(world):
    world.master.instances = {"web1": "running"}
    world.group_run()
    assert world.master.asked("OP_GROUP_END_STRAYS") == []
    world.master.values["maintain_node_health"] = True
    world.master.strays = [[["node2", "lost"]], [["node2", 7]]]
    world.group_run()
    assert world.master.asked("OP_GROUP_END_STRAYS") == ["default"]


def test_user_shutdown_is_recorded(world):
    world.master.instances = {"web1": "USER_down"}
    world.group_run()
    assert world.master.jobs[1] == {
        "OP_ID": "OP_INSTANCE_SHUTDOWN",
        "instance_name": "web1",
        "admin_state_source": "user",
        "expected": {"kind": "instance", "name": "web1", "serial": 1, "uuid": "uuid-web1"},
    }


@pytest.mark.parametrize("status", ["ERROR_down", "USER_down"])
def test_what_was_decided_holds_for_the_instance_as_it_was_seen_only(world, status):
    """Somebody may shut it down, or remove it, while the job waits."""
    world.master.instances, world.master.serials = {"web1": status}, {"web1": 7}
    world.group_run()
    assert world.master.jobs[1]["expected"] == {
        "kind": "instance", "name": "web1", "serial": 7, "uuid": "uuid-web1"
    }  # fmt: skip


def test_unreadable_memory_counts_as_none(world):
    files.write(world.paths, paths.watcher_state(GROUP), b"{broken")
    world.master.instances = {"web1": "ERROR_down"}
    world.master.failing = {"web1"}
    world.group_run()
    assert world.remembered()["instance"]["web1"]["restart_count"] == 1


def test_removed_instances_and_nodes_are_forgotten(world):
    world.master.instances = {"web1": "ERROR_down"}
    world.master.failing = {"web1"}
    world.group_run()
    world.master.instances, world.master.nodes = {}, {"node1": "boot-a"}
    world.group_run()
    assert world.remembered() == {"node": {"node1": {"bootid": "boot-a"}}, "instance": {}}


# A node


def test_master_starts_what_is_missing_and_gives_each_group_a_process(world):
    world.is_silent = True
    world.master.groups.append(("other-uuid", "empty", 0))
    files.write(world.paths, paths.watcher_status(GROUP), b"web1 running\n")
    assert world.watcher(job_age_s=60, verify_disks=False).run() == 0
    assert world.started == ["ganeti-noded", "ganeti-confd", "ganeti-masterd", "ganeti-masterd", "ganeti-rapi"]
    assert world.master.archived == 60
    (command,) = world.commands
    assert command == ("/sbin/ganeti-watcher", "--node-group", GROUP, "--ignore-pause", "--no-verify-disks")
    assert status_lines(world, paths.INSTANCE_STATUS) == "web1 running\n"


def test_other_nodes_only_look_after_their_daemon(tmp_path):
    world = World(tmp_path, master="node2")
    assert world.watcher().run() == 0
    assert (world.started, world.commands) == (["ganeti-noded", "ganeti-confd"], [])


def test_host_without_cluster_is_left_alone(tmp_path):
    world = World(tmp_path, member=False)
    assert world.watcher().run() == 0
    assert world.started == []


def test_master_that_is_none_any_more_is_told(world):
    world.master.values["master_node"] = "node2"
    assert world.watcher().run() == 11


def test_drained_queue_is_no_fault_and_nothing_is_submitted(world):
    world.master.values["drain_flag"] = True
    assert world.watcher().run() == 0
    assert world.commands == []


@pytest.mark.parametrize(
    ("text", "rests"), [(f"{NOW + 60:.0f}\n", True), (f"{NOW - 60:.0f}\n", False), ("x", False), ("", False)]
)
def test_pause_file(world, text, rests):
    files.write(world.paths, paths.WATCHER_PAUSE, text.encode())
    assert world.watcher().run() == 0
    assert (world.started == []) == rests
    assert world.watcher(ignore_pause=True).run() == 0
    assert "ganeti-noded" in world.started


def test_two_never_run_at_once(world):
    lock = world.paths.local(paths.WATCHER_LOCK)
    os.makedirs(os.path.dirname(lock))
    with files.locked(lock):
        assert world.watcher().run() == 1
    assert world.started == []
    assert world.watcher().run() == 0


def test_failed_group_makes_the_run_fail(world):
    watcher = world.watcher()
    watcher._own_program = "/sbin/fails"
    assert watcher.run() == 1


def test_hooks_run_on_every_node_and_change_nothing(tmp_path):
    world = World(tmp_path, master="node2")
    directory = world.paths.local(paths.HOOKS_DIR) + "/watcher"
    os.makedirs(directory)
    for name, mode in (("10-ok", 0o755), ("05-fails", 0o755), ("20.bad", 0o755), ("30-not", 0o644), ("40-open", 0o777)):
        with open(f"{directory}/{name}", "w", encoding="ascii"):
            os.chmod(f"{directory}/{name}", mode)
    assert world.watcher().run() == 0
    assert [os.path.basename(argv[0]) for argv in world.commands] == ["05-fails", "10-ok"]


def test_hooks_that_cannot_be_looked_for_do_not_stop_the_watcher(tmp_path):
    world = World(tmp_path, master="node2")
    os.makedirs(world.paths.local(paths.HOOKS_DIR))
    with open(world.paths.local(paths.HOOKS_DIR) + "/watcher", "w", encoding="ascii"):
        pass
    assert world.watcher().run() == 0
    assert world.commands == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.JobQueueDrainError("drained"), 0),
        (errors.JobQueueFull("full"), 0),
        (errors.ResolverError("x", -2, "no"), 12),
        (errors.LuxiError("lost"), 1),
        (ValueError("bug"), 1),
    ],
)
def test_exit_status_of_what_goes_wrong(error, status):
    class Failing:
        def run(self):
            raise error

    assert guarded(Failing()) == status


def test_bad_words_are_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--job-age", "soon"])
    assert ended.value.code == 2
    assert "cannot read 'soon' as a time span" in capsys.readouterr().err
