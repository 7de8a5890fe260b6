"""failover, reinstall and console: questions, forms, what follows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from unit.cli.kit import FixedClock, Keyboard, Master, job_master, run
from unit.cli.test_cli_many import many_master

from ganeti.cli.main import main
from ganeti.cli.world import World
from ganeti.paths import Paths


def form(master: Master) -> dict[str, object]:
    """The one opcode of the one job."""
    ((ops,),) = master.sent("SubmitJob")
    return {key: value for key, value in ops[0].items() if key != "reason"}


def test_failover_asks_and_submits():
    master = job_master()
    assert run("gnt-instance", "failover", "-n", "node2", "web1", master=master).code == 1
    assert master.calls == []
    keyboard = Keyboard("y")
    assert run("gnt-instance", "failover", "-n", "node2", "web1", master=master, keyboard=keyboard).code == 0
    assert "web1 will be stopped" in " ".join(keyboard.shown.split())
    assert form(master) == {"OP_ID": "OP_INSTANCE_FAILOVER", "instance_name": "web1", "target_node": "node2"}


def test_failover_that_ignores_the_source_asks_twice():
    words = ("failover", "-n", "node2", "--ignore-consistency", "web1")
    master, keyboard = job_master(), Keyboard("y", "n")
    assert run("gnt-instance", *words, master=master, keyboard=keyboard).code == 1
    assert "destroy its data" in " ".join(keyboard.shown.split())
    assert master.calls == []
    assert run("gnt-instance", *words, master=master, keyboard=Keyboard("y", "y")).code == 0
    assert form(master)["ignore_consistency"] is True
    forced = job_master()
    assert run("gnt-instance", "failover", "-f", *words[1:], master=forced).code == 0


def test_reinstall_of_one_asks_unless_forced():
    master, keyboard = many_master(), Keyboard("n")
    assert run("gnt-instance", "reinstall", "web1", master=master, keyboard=keyboard).code == 1
    assert "remove all data on the disks of the instance web1" in " ".join(keyboard.shown.split())
    assert master.calls == []
    assert run("gnt-instance", "reinstall", "-f", "-O", "a=1", "web1", master=master).code == 0
    ((jobs,),) = master.sent("SubmitManyJobs")
    assert jobs[0][0]["osparams"] == {"a": "1"}


def test_reinstall_of_several_warns_of_the_data():
    master, keyboard = many_master(), Keyboard("y")
    assert run("gnt-instance", "reinstall", "-f", "a", "b", master=master, keyboard=keyboard).code == 0
    assert "All data on their disks will be removed." in " ".join(keyboard.shown.split())
    assert len(master.sent("SubmitManyJobs")[0][0]) == 2


def os_master(*rows: list[object]) -> Master:
    results = [["success", ["success"], [list(rows)]]]
    more = {
        "SubmitJob": 7,
        "QueryClusterInfo": {},
        "QueryJobs": lambda ids, fields: (
            [["success"]] if fields == ["status"] else results if ids == [7] else [["success", ["success"], [None]]]
        ),
    }
    return many_master(**more)


def test_reinstall_with_a_menu_takes_the_number():
    master = os_master(["busybox", []], ["debian", ["min", "full"]])
    keyboard = Keyboard("7", "", "2", "y")
    assert run("gnt-instance", "reinstall", "--select-os", "web1", master=master, keyboard=keyboard).code == 0
    assert "Available OS templates:\n  0: busybox\n  1: debian+min\n  2: debian+full\n" in keyboard.shown
    ((jobs,),) = master.sent("SubmitManyJobs")
    assert jobs[0][0]["os_type"] == "debian+full"


@pytest.mark.parametrize("keyboard", [Keyboard("x"), Keyboard(), None])
def test_reinstall_with_a_menu_that_is_left_does_nothing(keyboard):
    master = os_master(["busybox", []])
    assert run("gnt-instance", "reinstall", "--select-os", "web1", master=master, keyboard=keyboard).code == 1
    assert master.sent("SubmitManyJobs") == []


def test_reinstall_with_a_menu_of_nothing():
    ended = run("gnt-instance", "reinstall", "--select-os", "web1", master=os_master())
    assert ended.code == 1
    assert "gnt-os diagnose" in ended.err


def test_reinstall_takes_one_way_to_name_the_os():
    ended = run("gnt-instance", "reinstall", "--select-os", "-o", "x", "web1", master=os_master())
    assert ended.code == 1
    assert "exclude each other" in ended.err


def told(kind: str, **more: object) -> dict[str, object]:
    empty = dict.fromkeys(("host", "port", "user", "command", "display", "message"))
    return {"instance": "web1", "kind": kind} | empty | more


SERIAL = told("ssh", host="node2.example.com", user="root", command=["ganeti-kvm-console", "web1"])


def test_console_shows_the_command():
    ended = run("gnt-instance", "console", "--show-cmd", "web1", master=job_master(SERIAL))
    assert ended.code == 0
    assert ended.out == (
        "ssh -t -oBatchMode=yes -oEscapeChar=none -oLogLevel=ERROR -oStrictHostKeyChecking=yes "
        "root@node2.example.com 'exec ganeti-kvm-console web1'\n"
    )


@pytest.mark.parametrize("root", ["", "/virtual/node1"])
def test_console_becomes_the_command(root):
    became: list[list[str]] = []

    def become(argv) -> int:
        became.append(list(argv))
        return 0

    world = World(
        out=io.StringIO(),
        err=io.StringIO(),
        environ={},
        paths=Paths(root, "node1.example.com"),
        clock=FixedClock(),
        connect=lambda paths, environment: job_master(SERIAL),
        become=become,
    )
    assert main("gnt-instance", ["console", "web1"], world) == 0
    (argv,) = became
    assert argv[-2] == "root@node2.example.com"
    assert argv[-1].endswith("exec ganeti-kvm-console web1")
    assert ("PATH=$PATH:" in argv[-1]) == (root == "")


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (told("vnc", host="10.0.0.1", port=11005, display="5105"), "URL: vnc://10.0.0.1:11005/"),
        (told("spice", host="10.0.0.1", port=11005), "SPICE listening on 10.0.0.1:11005"),
        (told("msg", message="no console here"), "no console here"),
    ],
)
def test_console_that_is_no_terminal_is_told(answer, shown):
    ended = run("gnt-instance", "console", "web1", master=job_master(answer))
    assert ended.code == 0
    assert shown in ended.out


def test_console_of_a_kind_from_the_future_is_an_error():
    assert run("gnt-instance", "console", "web1", master=job_master(told("hologram"))).code == 1


def test_console_without_ssh_tells_it(tmp_path: Path):
    from ganeti import errors

    with pytest.raises(errors.ExecError, match="cannot run"):
        World().become([str(tmp_path / "none")])
