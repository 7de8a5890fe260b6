"""What the cleaner removes."""

import os

from unit.watcher.kit import GROUP, NOW, World

from ganeti import paths
from ganeti.host import files
from ganeti.testing.clock import SteppedClock
from ganeti.watcher.cleaner import AGE_S, KEPT_LOGS, Cleaner, open_log


class Archive:
    def __init__(self):
        self.calls = []

    def call(self, *args, key=None):
        self.calls.append(args)
        return 3


def aged(world, file, age_s):
    files.write(world.paths, file, b"{}")
    os.utime(world.paths.local(file), (NOW - age_s, NOW - age_s))
    return world.paths.local(file)


def test_old_state_of_the_watcher_goes_and_new_stays(tmp_path):
    world = World(tmp_path)
    old = [aged(world, make("gone"), AGE_S + 60) for make in (paths.watcher_state, paths.watcher_status)]
    new = [aged(world, make(GROUP), AGE_S - 60) for make in (paths.watcher_state, paths.watcher_status)]
    archive = Archive()
    Cleaner(world.paths, world.clock, lambda: archive).run(["node"])
    assert [os.path.exists(path) for path in (*old, *new)] == [False, False, True, True]
    assert archive.calls == []


def test_master_drops_archived_jobs_and_others_do_not(tmp_path):
    for number, (master, calls) in enumerate((("node1", [("PurgeArchive", AGE_S)]), ("node2", []))):
        world, archive = World(tmp_path / str(number), master=master), Archive()
        Cleaner(world.paths, world.clock, lambda archive=archive: archive).run(["node", "master"])
        assert archive.calls == calls


def test_host_without_cluster_is_left_alone(tmp_path):
    world = World(tmp_path, member=False)
    old = aged(world, paths.watcher_state("gone"), AGE_S + 60)
    Cleaner(world.paths, world.clock, Archive).run(["node", "master"])
    assert os.path.exists(old)


def test_only_the_newest_logs_are_kept(tmp_path):
    world, clock = World(tmp_path), SteppedClock(NOW)
    directory = world.paths.local(paths.CLEANER_LOG_DIR)
    for _ in range(KEPT_LOGS + 5):
        open_log(world.paths, clock).close()
        clock.now += 86400
    assert len(os.listdir(directory)) == KEPT_LOGS
