"""gnt-node power, health, powercycle, modify-storage, repair-storage."""

from unit.cli.kit import Keyboard, job_master, run

ROWS = [[[0, "node1"], [0, {"powered": True}]], [[0, "node2"], [3, None]], [[0, "node3"], [2, None]]]


def test_power_status():
    ended = run("gnt-node", "power", "--no-headers", "--separator=:", "status", master=job_master(ROWS))
    assert ended.out == "node1:powered\nnode2:(unavail)\nnode3:(nodata)\n"
    assert ended.code == 1


def test_power_off_marks_the_nodes_offline_first():
    master = job_master([[[0, "node2"], [0, None]]], QueryNodes=[["node2", False], ["node3", True]])
    ended = run("gnt-node", "power", "-f", "--oob-timeout=9", "off", "node2", "node3", master=master)
    assert (ended.code, "invoked" in ended.out) == (0, True)
    ops = [args[0][0] for args in master.sent("SubmitJob")]
    assert [op["OP_ID"] for op in ops] == ["OP_NODE_SET_PARAMS", "OP_OOB_COMMAND"]
    assert (ops[0]["node_name"], ops[1]["timeout"]) == ("node2", 9)


def test_power_asks_and_needs_names():
    assert run("gnt-node", "power", "off").code == 1
    assert run("gnt-node", "power", "cycle", "node2", keyboard=Keyboard("n")).code == 1
    assert run("gnt-node", "power", "burn", "node2").code == 1


def test_health():
    rows = [[[0, "node1"], [0, [["fan", "OK"], ["psu", "CRITICAL"]]]], [[0, "node2"], [3, None]]]
    ended = run("gnt-node", "health", "--no-headers", "--separator=:", master=job_master(rows))
    assert ended == (0, "node1:fan=OK\nnode1:psu=CRITICAL\nnode2:(unavail)\n", "")


def test_powercycle_asks_and_tells_what_the_node_says():
    master = job_master("rebooting in 5 seconds")
    assert run("gnt-node", "powercycle", "node2", master=master, keyboard=Keyboard("n")).code == 2
    assert run("gnt-node", "powercycle", "--yes", "-f", "node2", master=master).err == "rebooting in 5 seconds\n"
    assert master.sent("SubmitJob")[0][0][0]["force"] is True


def test_storage_units():
    master = job_master()
    assert "Nothing to change" in run("gnt-node", "modify-storage", "node1", "lvm-pv", "/dev/sdb", master=master).err
    run("gnt-node", "modify-storage", "--allocatable=no", "node1", "lvm-pv", "/dev/sdb", master=master)
    run("gnt-node", "repair-storage", "--ignore-consistency", "node1", "lvm-vg", "xenvg", master=master)
    ops = [args[0][0] for args in master.sent("SubmitJob")]
    assert ops[0]["changes"] == {"allocatable": False}
    assert (ops[1]["name"], ops[1]["ignore_consistency"]) == ("xenvg", True)
