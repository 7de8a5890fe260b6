"""ganeti-daemons."""

import contextlib
import os

import pytest

from ganeti import errors, paths
from ganeti.bootstrap.control import Control, main
from ganeti.host import files
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.rpc.identity import Identity
from ganeti.store.api import Batch, Write
from ganeti.store.batch import seal
from ganeti.store.db import Database


class Host:
    def __init__(self, root, *, member=True):
        self.paths = Paths(str(root), "node1")
        files.make_directory(self.paths, paths.DATA_DIR)
        if member:
            identity.store(self.paths, Identity(cluster="c", node="node1", uuid="u1", address="127.0.0.1"))
        self.running, self.said = set(), []
        self.refusals = {}  # daemon → exit status with which it does not start

    def start(self, name):
        if name in self.refusals:
            try:
                raise errors.CommandFailed((name,), self.refusals[name], "")
            except errors.CommandFailed as err:
                raise errors.ExecError(f"{name} did not start") from err
        self.running.add(name)

    def stop(self, name):
        was = name in self.running
        self.running.discard(name)
        return was

    def run(self, action, *names):
        control = Control(
            self.paths,
            start=self.start,
            stop=self.stop,
            is_running=lambda name: name in self.running,
            reopen=lambda name: name in self.running,
            tell=self.said.append,
        )
        return control.run(action, names)


def test_all_daemons_start_and_stop_in_order(tmp_path):
    host = Host(tmp_path)
    assert host.run("start") == 0
    assert host.run("stop") == 0
    assert host.said == [
        "ganeti-noded started",
        "ganeti-confd started",
        "ganeti-masterd started",
        "ganeti-rapi started",
        "ganeti-rapi stopped",
        "ganeti-masterd stopped",
        "ganeti-confd stopped",
        "ganeti-noded stopped",
    ]


def test_master_daemon_that_is_not_wanted_here_is_no_error(tmp_path):
    host = Host(tmp_path)
    host.refusals["ganeti-masterd"] = 11
    assert host.run("start") == 0
    assert host.run("status") == 0
    host.refusals["ganeti-masterd"] = 1
    with pytest.raises(errors.ExecError):
        host.run("restart", "ganeti-masterd")


def test_nothing_of_the_master_is_tried_where_another_node_is_named(tmp_path):
    host = Host(tmp_path)
    files.write(host.paths, paths.ssconf("master_node"), b"node2\n")
    assert host.run("restart") == 0
    assert host.running == {"ganeti-noded", "ganeti-confd"}


def test_the_state_of_this_node_is_newer_than_its_file(tmp_path):
    host = Host(tmp_path)
    files.write(host.paths, paths.ssconf("master_node"), b"node2\n")
    os.makedirs(os.path.dirname(host.paths.local(paths.STATE_DB)))
    with contextlib.closing(Database.open(host.paths.local(paths.STATE_DB))) as database:
        for serial, (master, wanted) in enumerate((("u2", False), ("u1", True)), 1):
            write = Write("object", "cluster/c", f'{{"name":"c","master_node":"{master}"}}')
            database.apply([seal(Batch(1, serial, 0.0, (write,)), database.position.hash)])
            assert wants_master(host) is wanted


def test_status_tells_when_the_node_daemon_is_missing(tmp_path):
    host = Host(tmp_path)
    assert host.run("status") == 3
    assert host.said == [f"ganeti-{name} does not run" for name in ("noded", "confd", "masterd", "rapi")]


def test_nothing_is_started_on_a_host_without_cluster(tmp_path):
    host = Host(tmp_path, member=False)
    assert host.run("start") == 0
    assert host.running == set()


@pytest.mark.parametrize("words", [[], ["begin"], ["start", "httpd"]])
def test_unknown_words_are_refused(words):
    with pytest.raises(SystemExit):
        main(words)


def test_reopen_reaches_the_daemons_that_run(tmp_path):
    host = Host(tmp_path)
    host.running.add("ganeti-noded")
    assert host.run("reopen") == 0
    assert host.said == ["ganeti-noded opens its log anew"]


def wants_master(host):
    return host.run("wanted", "ganeti-masterd") == 0


def test_master_daemon_is_wanted_on_the_node_that_ssconf_names(tmp_path):
    host = Host(tmp_path)
    assert wants_master(host), "no ssconf yet: the daemon itself knows"
    for master, wanted in (("node1", True), ("node2", False)):
        files.write(host.paths, paths.ssconf("master_node"), f"{master}\n".encode())
        assert wants_master(host) is wanted
        assert host.run("wanted", "ganeti-noded") == 0


def test_master_daemon_is_wanted_for_a_take_over(tmp_path):
    host = Host(tmp_path)
    files.write(host.paths, paths.ssconf("master_node"), b"node2\n")
    files.make_directory(host.paths, paths.RUN_DIR)
    files.write(host.paths, paths.once_file("ganeti-masterd"), b"ARGUMENTS=--take-over\n")
    assert wants_master(host)


def test_no_daemon_is_wanted_outside_a_cluster(tmp_path):
    assert Host(tmp_path, member=False).run("wanted", "ganeti-noded") == 1
