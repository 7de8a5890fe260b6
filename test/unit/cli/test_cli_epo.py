"""gnt-cluster epo."""

from unit.cli.kit import Keyboard, Steps, job_master, run

OFF = {"OP_ID": "OP_OOB_COMMAND", "command": "power-off"}


def node(name, *, master=False, powered=True, instances=()):
    status = [2 if powered is None else 0, powered]
    return [[0, name], [0, master], [0, "default"], [0, "g1"], [0, list(instances)], [0, []], status]


NODES = [node("node1", master=True), node("node2", instances=["web1"]), node("node3", powered=None)]


def master_of(nodes=NODES, **more):
    answers = {
        "Query": Steps([{"fields": [], "data": nodes}]),
        "QueryNodes": [["node2"]],
        "SubmitManyJobs": [[True, 8]],
    }
    return job_master([[[0, "node2"], [0, None]]], **(answers | more))


def test_off_stops_the_instances_without_remembering_then_switches():
    master = master_of()
    ended = run("gnt-cluster", "epo", "-f", "--shutdown-timeout=5", "node2", master=master)
    assert ended.code == 0
    ((((stop,),),),) = [master.sent("SubmitManyJobs")]
    stop = stop[0]
    assert (stop["OP_ID"], stop["no_remember"], stop["timeout"]) == ("OP_INSTANCE_SHUTDOWN", True, 5)
    ((switch,),) = master.sent("SubmitJob")[0]
    assert (switch["command"], switch["node_names"], switch["ignore_status"]) == ("power-off", ["node2"], True)


def test_all_leaves_the_master_and_those_without_helper():
    ended = run("gnt-cluster", "epo", "-f", "--all", master=master_of())
    assert "node1 is the master and stays on" in ended.err
    assert "node3 has no out-of-band helper" in ended.err


def test_nothing_is_switched_when_an_instance_does_not_stop():
    failed = [["error", ["error"], [["OpExecError", ["it hangs"]]]]]
    master = master_of(QueryJobs=failed, WaitForJobChange=[["error"], []])
    assert run("gnt-cluster", "epo", "-f", "node2", master=master).code == 1
    assert master.sent("SubmitJob") == []


def test_on_starts_instances_when_their_nodes_answer():
    web1 = [[0, "web1"], [0, "up"], [0, "node2"], [0, []]]
    silent, awake = [[0, "node2"], [2, None]], [[0, "node2"], [0, "boot"]]
    queries = [[node("node2", powered=False, instances=["web1"])], [silent], [web1], [awake], [web1]]
    master = master_of(Query=Steps({"fields": [], "data": data} for data in queries))
    assert run("gnt-cluster", "epo", "-f", "--on", "--groups", "default", master=master).code == 0
    ((((start,),),),) = [master.sent("SubmitManyJobs")]
    assert start[0]["OP_ID"] == "OP_INSTANCE_STARTUP"


def test_epo_is_refused():
    for words in ((), ("--all", "node2"), ("--groups", "nope"), ("node1",)):
        answers = {"QueryNodes": [["node1"]]}
        assert run("gnt-cluster", "epo", "-f", *words, master=master_of(**answers)).code == 1
    assert run("gnt-cluster", "epo", "node2", master=master_of(), keyboard=Keyboard("n")).code == 1
