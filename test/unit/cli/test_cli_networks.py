"""gnt-network."""

from __future__ import annotations

from unit.cli.kit import Master, check_golden, job_master, rows, run

FACTS = {
    "name": "lan",
    "uuid": "u",
    "serial_no": 3,
    "network": "198.51.100.0/25",
    "gateway": "198.51.100.1",
    "network6": (3, None),
    "gateway6": (3, None),
    "mac_prefix": (3, None),
    "free_count": 124,
    "reserved_count": 4,
    "map": "XX.X" + "." * 123 + "X",
    "external_reservations": "",
    "group_list": [["default", "bridged", "br0", ""]],
    "inst_list": ["web"],
    "tags": [],
}
WEB = {"name": "web", "nic.networks": ["x", "u"], "nic.ips": [None, "198.51.100.3"]}


def answered(what, fields, wanted):
    tables = {"network": [FACTS], "instance": [WEB], "group": [{"name": "default"}, {"name": "rack2"}]}
    columns = [(name, name, "other") for name in fields]
    return rows(columns, *([row[name] for name in fields] for row in tables[what]))


def sent(master: Master) -> dict[str, object]:
    ((ops,),) = master.sent("SubmitJob")
    return {key: value for key, value in ops[0].items() if key != "reason"}


def many(*jobs: int) -> Master:
    return Master(
        Query=answered,
        QueryClusterInfo={"nicparams": {"default": {"mode": "bridged", "link": "br0", "vlan": ""}}},
        SubmitManyJobs=[[True, job] for job in jobs],
        WaitForJobChange=[["success"], []],
        QueryJobs=lambda ids, fields: [["success", ["success"], [None]][: len(fields)] for _ in ids],
    )


def test_add():
    master = job_master()
    words = ("--network=198.51.100.0/25", "--gateway=198.51.100.1", "--add-reserved-ips=198.51.100.2,198.51.100.3")
    assert run("gnt-network", "add", *words, "--no-conflicts-check", "lan", master=master).code == 0
    assert sent(master) == {
        "OP_ID": "OP_NETWORK_ADD",
        "network_name": "lan",
        "network": "198.51.100.0/25",
        "gateway": "198.51.100.1",
        "add_reserved_ips": ["198.51.100.2", "198.51.100.3"],
        "conflicts_check": False,
    }
    assert run("gnt-network", "add", "lan", master=job_master()).code == 2


def test_other_changes():
    for verb, words, op_id in (
        ("modify", ("--gateway=none", "lan"), "OP_NETWORK_SET_PARAMS"),
        ("rename", ("lan", "wan"), "OP_NETWORK_RENAME"),
        ("remove", ("lan",), "OP_NETWORK_REMOVE"),
    ):
        master = job_master()
        assert run("gnt-network", verb, *words, master=master).code == 0
        assert sent(master)["OP_ID"] == op_id
    assert run("gnt-network", "modify", "lan", master=job_master()).code == 1


def test_connect_takes_the_clusters_mode_and_link_where_none_is_given():
    master = many(7, 8)
    assert run("gnt-network", "connect", "-N", "link=br9", "lan", master=master).code == 0
    ((jobs,),) = master.sent("SubmitManyJobs")
    wanted = {"OP_ID": "OP_NETWORK_CONNECT", "network_name": "lan", "network_mode": "bridged", "network_link": "br9"}
    assert [{key: value for key, value in ops[0].items() if key != "reason"} for ops in jobs] == [
        {**wanted, "group_name": "default"},
        {**wanted, "group_name": "rack2"},
    ]
    assert run("gnt-network", "connect", "-N", "mtu=9000", "lan", master=many()).code == 1


def test_disconnect_of_named_groups():
    master = many(7)
    assert run("gnt-network", "disconnect", "lan", "rack2", master=master).code == 0
    ((jobs,),) = master.sent("SubmitManyJobs")
    assert [ops[0]["group_name"] for ops in jobs] == ["rack2"]
    assert run("gnt-network", "disconnect", "--submit", "lan", "rack2", master=many(7)).out == "7: rack2\n"


def test_list_and_info():
    ended = run("gnt-network", "list", "--no-headers", "--separator=|", master=Master(Query=answered))
    assert ended.out == "lan|198.51.100.0/25|198.51.100.1|-|default (bridged, br0, )|\n"
    check_golden("info-network", run("gnt-network", "info", "lan", master=Master(Query=answered)).out)
