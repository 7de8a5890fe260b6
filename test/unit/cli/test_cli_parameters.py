"""Parameters on the command line: policies, ranges, what an operating system gets."""

from __future__ import annotations

import pytest
from unit.cli.kit import job_master, run
from unit.cli.test_cli_moves import form


def test_parts_of_a_policy_make_one():
    spec = "cpu-count=1,disk-count=1,disk-size=1g,memory-size=128m,nic-count=0,spindle-use=1"
    bounds = f"--ipolicy-bounds-specs=min:{spec}/max:{spec}"
    words = (bounds, "--ipolicy-vcpu-ratio=2", "--ipolicy-std-specs=nic-count=0",
             "--ipolicy-disk-templates=file,plain", "--ipolicy-spindle-ratio=default")  # fmt: skip
    master = job_master()
    assert run("gnt-cluster", "modify", *words, master=master).code == 0
    policy = form(master)["ipolicy"]
    assert list(policy["minmax"][0]) == ["min", "max"]
    assert policy["minmax"][0]["max"]["disk-size"] == "1g"
    rest = {key: value for key, value in policy.items() if key != "minmax"}
    assert rest == {
        "vcpu-ratio": "2", "std": {"nic-count": "0"}, "disk-templates": ["file", "plain"], "spindle-ratio": "default",
    }  # fmt: skip


def test_one_part_of_a_policy_is_given_once():
    ended = run("gnt-cluster", "modify", "--ipolicy-bounds-specs=min:a=1/min:a=2", master=job_master())
    assert (ended.code, "write min:key" in ended.err) == (2, True)


def test_ranges_of_user_ids_travel_as_pairs():
    master = job_master()
    assert run("gnt-cluster", "modify", "--uid-pool=1000-1010,2000", "--reserved-lvs=", master=master).code == 0
    sent = form(master)
    assert (sent["uid_pool"], sent["reserved_lvs"]) == ([[1000, 1010], [2000, 2000]], [])
    assert "user ids" in run("gnt-cluster", "modify", "--uid-pool=x", master=job_master()).err


def test_an_operating_system_gets_parameters():
    master = job_master()
    words = ("modify", "-H", "kvm:acpi=false", "-O", "size=big,-old", "--hidden=yes", "--blacklisted=no", "debian")
    assert run("gnt-os", *words, master=master).code == 0
    assert form(master) == {
        "OP_ID": "OP_CLUSTER_SET_PARAMS",
        "os_hvp": {"debian": {"kvm": {"acpi": "false"}}},
        "osparams": {"debian": {"size": "big", "old": None}},
        "hidden_os": [["add", "debian"]],
        "blacklisted_os": [["remove", "debian"]],
    }


@pytest.mark.parametrize("tool_words", [("gnt-os", "modify", "debian"), ("gnt-cluster", "modify")])
def test_nothing_to_change_is_told(tool_words):
    master = job_master()
    ended = run(*tool_words, master=master)
    assert (ended.code, "nothing to change" in ended.err, master.calls) == (1, True, [])


def test_changes_of_devices_keep_their_order():
    master = job_master()
    words = ("--disk", "add:size=1g,mode=ro", "--disk", "2:add,size=64", "--disk=remove", "--disk=-1:mode=rw",
             "--net", "web:remove", "--net", "0:ip=none,-link", "--no-hotplug")  # fmt: skip
    assert run("gnt-instance", "modify", *words, "web1", master=master).code == 0
    sent = form(master)
    assert sent["disks"] == [
        ["add", -1, {"size": 1024, "mode": "ro"}], ["add", 2, {"size": 64}],
        ["remove", -1, {}], ["modify", -1, {"mode": "rw"}],
    ]  # fmt: skip
    assert sent["nics"] == [["remove", "web", {}], ["modify", 0, {"ip": "none", "link": None}]]
    assert sent["hotplug"] is False


@pytest.mark.parametrize("text", ["2", "2:add,remove", ":mode=ro", "2:size=10q"])
def test_a_change_of_a_device_that_cannot_be_read_is_told(text):
    ended = run("gnt-instance", "modify", "--disk", text, "web1", master=job_master())
    assert (ended.code, "--disk" in ended.err) == (2, True)
