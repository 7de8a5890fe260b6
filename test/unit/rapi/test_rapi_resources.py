"""What requests become operations, and what answers look like; all without a network."""

import asyncio

import msgspec
import pytest
from unit.rapi.kit import TABLE, Master, answer, ask, failure

from ganeti import errors
from ganeti.rapi import failures
from ganeti.rapi.ask import Ask, Query
from ganeti.rapi.objects import INSTANCE

WEB = "/2/instances/web1.example.com"


def test_path_that_is_not_there_and_method_that_is_not_known():
    assert failure(Master(), "GET", "/2/nothing")[0] == 404
    assert failure(Master(), "GET", "/2/instances/")[0] == 404
    assert failure(Master(), "GET", "/2/jobs/abc")[0] == 404
    assert failure(Master(), "DELETE", "/2/info") == (501, "Method DELETE is unsupported for path /2/info")


def test_every_route_has_its_own_name_and_a_sentence():
    names = [route.name for route in TABLE.routes]
    assert len(names) == len(set(names))
    assert all(route.summary.endswith(".") or "Result:" in route.summary for route in TABLE.routes)


def test_changes_need_the_right_to_write():
    reads = {route.path: route.rights for route in TABLE.routes if route.method == "GET"}
    assert all(route.rights for route in TABLE.routes if route.method != "GET")
    assert reads["/2/instances"] == ()
    assert reads["/2/jobs/{job_id}/wait"] == ("write",)
    assert reads["/2/nodes/{nodes}/storage"] == ("write",)
    assert set(reads["/2/query/{resource}"]) == {"read", "write"}
    assert set(reads["/2/instances/{instance_name}/console"]) == {"read", "write"}


def test_create_takes_older_names_and_needs_its_version():
    master = Master()
    body = {"__version__": 1, "name": "web1", "os": "noop", "disks": [], "mode": "create", "disk_template": "diskless"}
    assert ask(master, "POST", "/2/instances", [("dry-run", "1")], body) == 17
    assert master.forms == [
        {
            "OP_ID": "OP_INSTANCE_CREATE", "instance_name": "web1", "os_type": "noop", "disks": [], "mode": "create",
            "disk_template": "diskless", "dry_run": True,
        }
    ]  # fmt: skip
    assert failure(master, "POST", "/2/instances", (), {"name": "web1"})[0] == 400
    assert failure(master, "POST", "/2/instances", (), {**body, "__version__": 2})[0] == 400
    assert failure(master, "POST", "/2/instances", (), {**body, "os_type": "other"})[0] == 400
    assert failure(master, "POST", "/2/instances", (), {**body, "nonsense": 1})[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "wanted"),
    [
        (
            "DELETE",
            WEB,
            [],
            {"shutdown_timeout": 3},
            {"OP_ID": "OP_INSTANCE_REMOVE", "shutdown_timeout": 3, "ignore_failures": False},
        ),
        (
            "POST",
            f"{WEB}/reboot",
            [("type", "soft"), ("ignore_secondaries", "0")],
            {},
            {"OP_ID": "OP_INSTANCE_REBOOT", "reboot_type": "soft", "ignore_secondaries": False},
        ),
        (
            "PUT",
            f"{WEB}/startup",
            [("force", "1"), ("no_remember", "1")],
            {"rubbish": 1},
            {"OP_ID": "OP_INSTANCE_STARTUP", "force": True, "no_remember": True},
        ),
        (
            "PUT",
            f"{WEB}/shutdown",
            [("no_remember", "1"), ("dry-run", "0")],
            {"timeout": 0},
            {"OP_ID": "OP_INSTANCE_SHUTDOWN", "no_remember": True, "dry_run": False, "timeout": 0},
        ),
        (
            "PUT",
            f"{WEB}/modify",
            [],
            {"custom_beparams": {"vcpus": 2}},
            {"OP_ID": "OP_INSTANCE_SET_PARAMS", "beparams": {"vcpus": 2}},
        ),
        (
            "POST",
            f"{WEB}/replace-disks",
            [("mode", "replace_auto"), ("disks", "0,1"), ("early_release", "1")],
            msgspec.UNSET,
            {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "mode": "replace_auto", "disks": ["0", "1"], "early_release": True},
        ),
        (
            "POST",
            f"{WEB}/replace-disks",
            [],
            {"mode": "replace_auto", "disks": "0,1"},
            {"OP_ID": "OP_INSTANCE_REPLACE_DISKS", "mode": "replace_auto", "disks": ["0", "1"]},
        ),
        (
            "POST",
            f"{WEB}/disk/3/grow",
            [],
            {"amount": 512},
            {"OP_ID": "OP_INSTANCE_GROW_DISK", "disk": 3, "amount": 512},
        ),
        ("PUT", f"{WEB}/export", [], {"destination": "node2"}, {"OP_ID": "OP_BACKUP_EXPORT", "target_node": "node2"}),
    ],
)
def test_request_becomes_one_operation(method, path, query, body, wanted):
    master = Master()
    assert ask(master, method, path, query, body) == 17
    assert master.forms == [{**wanted, "instance_name": "web1.example.com"}]


def test_what_the_path_says_cannot_be_said_again():
    status, message = failure(Master(), "PUT", f"{WEB}/modify", (), {"instance_name": "other"})
    assert status == 400 and "overwrite" in message
    assert failure(Master(), "DELETE", WEB, (), {"ignore_failures": True})[0] == 400


def test_body_cannot_name_another_operation():
    master = Master()
    for method, path in (("PUT", "/2/redistribute-config"), ("POST", "/2/groups"), ("PUT", f"{WEB}/modify")):
        status, message = failure(master, method, path, (), {"OP_ID": "OP_CLUSTER_DESTROY"})
        assert status == 400 and "OP_ID" in message
    assert master.calls == []


def test_null_in_the_body_is_not_given_and_the_query_counts():
    master = Master()
    body = {"dry_run": None, "shutdown_timeout": None, "reason": None}
    assert ask(master, "DELETE", WEB, [("dry-run", "1"), ("shutdown_timeout", "5")], body) == 17
    assert master.forms[0]["dry_run"] is True and master.forms[0]["shutdown_timeout"] == 5
    assert failure(master, "DELETE", WEB, [("dry-run", "1")], {"dry_run": False})[0] == 400
    assert failure(master, "DELETE", WEB, (), {"reason": "because"})[0] == 400


def test_argument_that_is_no_number_is_refused():
    assert failure(Master(), "PUT", f"{WEB}/startup", [("force", "yes")])[0] == 400
    assert failure(Master(), "GET", "/2/instances", [("bulk", "")])[0] == 400
    assert failure(Master(), "GET", "/2/instances", [("lock", "x")])[0] == 400


def test_compression_tools_are_not_set_from_afar():
    assert failure(Master(), "PUT", "/2/modify", (), {"compression_tools": ["/bin/sh"]})[0] == 403


def test_info_is_a_job_about_one_instance():
    master = Master()
    ask(master, "GET", f"{WEB}/info", [("static", "1")])
    assert master.forms == [{"OP_ID": "OP_INSTANCE_QUERY_DATA", "instances": ["web1.example.com"], "static": True}]


def test_storage_of_a_node_is_asked_by_a_job():
    master = Master()
    query = [("storage_type", "lvm-pv"), ("output_fields", "name,size")]
    ask(master, "GET", "/2/nodes/node1/storage", query)
    (form,) = master.forms
    assert form["nodes"] == ["node1"] and form["output_fields"] == ["name", "size"]
    assert failure(master, "GET", "/2/nodes/node1/storage", [("storage_type", "file")])[0] == 400


def test_reinstall_is_one_job_of_three_operations():
    master = Master()
    ask(master, "POST", f"{WEB}/reinstall", [("reason", "tidy")], {"os": "noop", "osparams": {"a": "b"}})
    assert [form["OP_ID"] for form in master.forms] == [
        "OP_INSTANCE_SHUTDOWN", "OP_INSTANCE_REINSTALL", "OP_INSTANCE_STARTUP",
    ]  # fmt: skip
    assert master.forms[1]["os_type"] == "noop"
    ask(master, "POST", f"{WEB}/reinstall", [("nostartup", "1"), ("os", "other")])
    assert len(master.forms) == 2 and master.forms[1]["os_type"] == "other"
    assert failure(master, "POST", f"{WEB}/reinstall", [("os", "x")], {"start": True})[0] == 400


def test_reason_of_the_user_comes_before_the_name_of_the_resource():
    master = Master()
    ask(master, "PUT", f"{WEB}/startup", [("reason", "night is over")])
    assert master.calls[0][1][0]["reason"] == [
        ["gnt:user", "night is over", 5], ["gnt:library:rlib2:instance_startup", "", 5],
    ]  # fmt: skip


def test_tags_come_from_the_query_alone():
    master = Master(QueryTags=["a"])
    ask(master, "PUT", "/2/nodes/node1/tags", [("tag", "a"), ("tag", "b"), ("dry-run", "1")], ["a", "b"])
    assert master.forms == [
        {"OP_ID": "OP_TAGS_SET", "kind": "node", "name": "node1", "tags": ["a", "b"], "dry_run": True}
    ]
    assert failure(master, "DELETE", "/2/tags")[0] == 400
    assert ask(master, "GET", "/2/groups/default/tags") == ["a"]
    assert master.calls[-1] == ("QueryTags", "nodegroup", "default")


def test_role_of_a_node_is_a_word():
    master = Master(QueryNodes=[["D"]])
    assert ask(master, "GET", "/2/nodes/node1/role") == "drained"
    ask(master, "PUT", "/2/nodes/node1/role", [("force", "1"), ("auto-promote", "1")], "offline")
    assert master.forms == [
        {"OP_ID": "OP_NODE_SET_PARAMS", "node_name": "node1", "offline": True, "force": True, "auto_promote": True}
    ]
    assert failure(master, "PUT", "/2/nodes/node1/role", (), "master")[0] == 400
    assert failure(master, "PUT", "/2/nodes/node1/role", (), {"role": "offline"})[0] == 400


# Objects


def instance_row(**values):
    return [values.get(name) for name in INSTANCE.fields]


def instances(serial=7, status="running"):
    row = instance_row(name="web1", serial_no=serial, uuid="0123456789ab-cd", beparams={"maxmem": 512}, status=status)
    return Master(QueryInstances=lambda names, fields, locking: [[row[INSTANCE.fields.index(name)] for name in fields]])


def test_instance_has_the_older_name_of_its_memory():
    found = ask(instances(), "GET", "/2/instances", [("bulk", "1")])
    assert found[0]["beparams"] == {"maxmem": 512, "memory": 512}
    assert set(found[0]) == set(INSTANCE.fields)
    assert ask(instances(), "GET", "/2/instances") == [{"id": "web1", "uri": "/2/instances/web1"}]


def test_tag_of_an_object_that_is_known_saves_its_answer():
    first = answer(instances(), "GET", "/2/instances/web1")
    tag = first.headers["ETag"]
    assert tag.startswith('"7-01234567-')
    assert answer(instances(), "GET", "/2/instances/web1", known=tag).status == 304
    assert answer(instances(), "GET", "/2/instances/web1", known='"7"').status == 304
    assert answer(instances(), "GET", "/2/instances/web1", known='"77"').status == 200
    # whether it runs is not in its serial number
    assert answer(instances(status="ERROR_down"), "GET", "/2/instances/web1", known=tag).status == 200
    assert answer(instances(serial=8), "GET", "/2/instances/web1", known=tag).status == 200


def test_change_of_what_was_seen_carries_the_serial_number():
    master = instances()
    ask(master, "PUT", "/2/instances/web1/startup", expected='"7-01234567-89abcdef"')
    wanted = {"kind": "instance", "name": "web1", "serial": 7, "uuid": "01234567"}
    assert master.forms == [{"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1", "expected": wanted}]
    assert failure(master, "PUT", "/2/instances/web1/startup", expected='"6"')[0] == 412
    assert failure(master, "PUT", "/2/instances/web1/startup", expected="nonsense")[0] == 400
    assert failure(master, "POST", "/2/groups", (), {"name": "g"}, expected='"6"')[0] == 400


def test_change_of_the_cluster_may_depend_on_what_was_seen():
    master = Master(QueryClusterInfo={"serial_no": 4, "uuid": "0123456789ab", "volume_group_name": "xenvg"})
    found = answer(master, "GET", "/2/info")
    assert found.headers["ETag"].startswith('"4-01234567-')
    ask(master, "PUT", "/2/modify", (), {"candidate_pool_size": 5}, expected=found.headers["ETag"])
    assert master.forms[0]["expected"] == {"kind": "cluster", "name": "", "serial": 4, "uuid": "01234567"}
    assert failure(master, "PUT", "/2/tags", [("tag", "x")], expected='"3"')[0] == 412


def test_client_that_waits_is_told_that_the_object_has_changed():
    error = ["OpPrereqError", ["it changed", errors.SERIAL_MISMATCH]]
    master = instances()
    master.answers["WaitForJobChange"] = [["error", [error]], []]
    assert failure(master, "PUT", "/2/instances/web1/startup", expected='"7"', wait_s=5.0)[0] == 412
    master.answers["WaitForJobChange"] = [["success", [None]], []]
    done = answer(master, "PUT", "/2/instances/web1/startup", wait_s=5.0)
    assert done.text == b"17" and done.headers == {"Preference-Applied": "wait=5"}


def test_client_that_waits_gets_the_number_of_its_job_whatever_happens_meanwhile():
    master = Master(WaitForJobChange=errors.LuxiError("the master is gone"))
    assert ask(master, "PUT", f"{WEB}/startup", wait_s=30.0) == 17

    class Silent(Master):
        async def call(self, method, *args, key=None):
            if method == "WaitForJobChange":
                await asyncio.Event().wait()
            return await super().call(method, *args, key=key)

    async def ends(method, path, **more):
        """The answer when the daemon is told to end while it waits."""
        ending = asyncio.Event()
        route, words = TABLE.find(method, path)
        wanted = Ask(path=words, query=Query(()), luxi=Silent(), now_ns=5, ending=ending, **more)
        running = asyncio.ensure_future(route.run(wanted))
        await asyncio.sleep(0)
        ending.set()
        return (await running).text

    async def both():
        body = {"fields": ["status"]}
        return await ends("PUT", f"{WEB}/startup", body={}, wait_s=60.0), await ends("GET", "/2/jobs/5/wait", body=body)

    assert asyncio.run(both()) == (b"17", b"null")


def test_key_of_a_submission_belongs_to_the_user():
    master = Master()
    ask(master, "PUT", f"{WEB}/startup", key="abc")
    assert master.calls[0][2] == "rest//abc"
    assert failure(master, "PUT", f"{WEB}/startup", key="x" * 300)[0] == 400


# Jobs, rules, queries


def test_jobs_are_listed_by_number():
    master = Master(QueryJobs=[[3], [1]])
    assert ask(master, "GET", "/2/jobs") == [{"id": 1, "uri": "/2/jobs/1"}, {"id": 3, "uri": "/2/jobs/3"}]
    assert failure(Master(QueryJobs=[None]), "GET", "/2/jobs/99")[0] == 404
    assert failure(Master(QueryJobs=[[99, *[None] * 9]]), "GET", "/2/jobs/99")[0] == 404


def test_wait_for_a_job_takes_its_body_from_a_get():
    master = Master(WaitForJobChange="nochange")
    body = {"fields": ["status"], "previous_job_info": ["queued"], "previous_log_serial": 2}
    assert ask(master, "GET", "/2/jobs/5/wait", (), body) is None
    assert master.calls == [("WaitForJobChange", 5, ["status"], ["queued"], 2, 10.0)]
    master.answers["WaitForJobChange"] = [["running"], [[1, [2, 3], "message", "x"]]]
    assert ask(master, "GET", "/2/jobs/5/wait", (), body) == {
        "job_info": ["running"], "log_entries": [[1, [2, 3], "message", "x"]],
    }  # fmt: skip
    assert failure(master, "GET", "/2/jobs/5/wait")[0] == 400
    assert failure(master, "GET", "/2/jobs/5/wait", (), {"fields": ["status"], "previous_log_serial": "x"})[0] == 400


def test_rule_of_the_queue_gets_what_it_lacks():
    master = Master(ReplaceFilter="u-1")
    assert ask(master, "POST", "/2/filters", (), {"action": "REJECT"}) == "u-1"
    method, uuid, priority, predicates, action, reason = master.calls[0]
    assert (method, uuid, priority, predicates, action) == ("ReplaceFilter", None, 0, [], "REJECT")
    assert reason[-1][0] == "gnt:library:rlib2:add_filter"
    assert failure(master, "POST", "/2/filters", (), {"colour": 1})[0] == 400


def test_query_needs_fields_and_a_known_list():
    master = Master(Query={"fields": [], "data": []}, QueryFields={"fields": []})
    assert failure(master, "GET", "/2/query/node")[0] == 400
    assert failure(master, "GET", "/2/query/nothing", [("fields", "name")])[0] == 404
    ask(master, "GET", "/2/query/node", [("fields", "name,role")])
    ask(master, "PUT", "/2/query/node", (), {"fields": ["name"], "filter": ["=", "name", "x"]})
    ask(master, "GET", "/2/query/node/fields")
    assert master.calls == [
        ("Query", "node", ["name", "role"], None),
        ("Query", "node", ["name"], ["=", "name", "x"]),
        ("QueryFields", "node", None),
    ]


def test_variants_of_an_operating_system_are_names():
    data = [[[0, "noop"], [0, []]], [[0, "deb"], [0, ["a", "b"]]]]
    assert ask(Master(Query={"data": data}), "GET", "/2/os") == ["noop", "deb+a", "deb+b"]


def test_console_of_a_stopped_instance_is_not_there():
    assert failure(Master(QueryInstances=[[None]]), "GET", f"{WEB}/console")[0] == 503
    assert ask(Master(QueryInstances=[[{"kind": "ssh"}]]), "GET", f"{WEB}/console") == {"kind": "ssh"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.PrereqError("unknown_entity", "no"), 404),
        (errors.PrereqError("wrong_input", "no"), 400),
        (errors.PrereqError(errors.SERIAL_MISMATCH, "no"), 412),
        (errors.JobLost("no"), 404),
        (errors.JobQueueDrainError("no"), 503),
        (errors.JobQueueFull("no"), 503),
        (errors.QuorumError("no"), 503),
        (errors.NoMasterError("no"), 502),
        (errors.LuxiError("no"), 502),
        (errors.RequestError("no"), 400),
        (errors.ParameterError("no"), 400),
        (errors.ExecError("no"), 500),
    ],
)
def test_error_of_the_master_has_its_status(error, status):
    assert failures.of_error(error).status == status


def test_error_body_is_harmless_text():
    assert failures.body(404, "<b>") == {
        "code": 404, "message": "&lt;b&gt;", "explain": "Nothing matches the given URI",
    }  # fmt: skip
    assert failures.body(404, "")["message"] == "Not Found"
