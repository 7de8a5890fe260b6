"""Creating instances from a file, and trying allocators."""

import json

import pytest
from unit.cli.kit import Steps, job_master, run

from ganeti.ops import base


def written(tmp_path, content) -> str:
    path = tmp_path / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_batch_create_sends_one_operation_and_follows_its_jobs(tmp_path):
    result = {"jobs": [[True, 8], [True, 9]], "allocatable": ["a", "b"], "failed": []}
    master = job_master(
        QueryJobs=Steps(
            [
                [["success", ["success"], [result]]],
                [["success"], ["running"]],
                [["success", ["success"], [["n1"]]]],
                [["success", ["success"], [["n2"]]]],
            ]
        )
    )
    path = written(tmp_path, [{"instance_name": "a"}, {"instance_name": "b"}])
    ended = run("gnt-instance", "batch-create", "-I", "hail", path, master=master)
    ((((form,),),),) = (master.sent("SubmitJob"),)
    assert form["OP_ID"] == "OP_INSTANCE_MULTI_ALLOC"
    assert (form["iallocator"], form["instances"]) == ("hail", [{"instance_name": "a"}, {"instance_name": "b"}])
    assert ended.code == 0
    assert ended.out.endswith("All instances created successfully.\n")


def test_batch_create_tells_what_has_no_place(tmp_path):
    result = {"jobs": [], "allocatable": [], "failed": ["a"]}
    ended = run("gnt-instance", "batch-create", written(tmp_path, [{"instance_name": "a"}]), master=job_master(result))
    assert ended.code == 1
    assert ended.err == "There is no place for instance a.\n1 of 1 instances were not created.\n"


def test_batch_create_reads_the_old_form(tmp_path):
    content = {
        "web2": {"template": "plain", "os": "busybox", "primary_node": "n1", "iallocator": "x", "disk_size": [10, 20]},
        "web1": {"template": "diskless", "os": "busybox", "backend": {"memory": 64}, "mac": "auto", "bridge": "br0"},
    }
    master = job_master(SubmitManyJobs=[[True, 8], [True, 9]])
    ended = run("gnt-instance", "batch-create", written(tmp_path, content), master=master)
    assert ended == (0, "8: web1\n9: web2\n", "")
    ((jobs,),) = master.sent("SubmitManyJobs")
    one, two = ({key: value for key, value in job[0].items() if key != "reason"} for job in jobs)
    common = {"OP_ID": "OP_INSTANCE_CREATE", "os_type": "busybox"}
    assert one == common | {
        "instance_name": "web1",
        "disk_template": "diskless",
        "beparams": {"memory": 64},
        "iallocator": ".",
        "nics": [{"mac": "auto", "bridge": "br0"}],
    }
    disks = [{"size": 10}, {"size": 20}]
    assert two == common | {
        "instance_name": "web2",
        "disk_template": "plain",
        "pnode": "n1",
        "disks": disks,
        "nics": [{}],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("3", "not a list of instances"),
        ({"a": 3}, "not an object"),
        ({"a": {"template": "plain"}}, "'os' is missing"),
        ({"a": {"template": "plain", "os": "x", "colour": 1}}, "unknown key 'colour'"),
    ],
)
def test_batch_create_refuses_bad_files(tmp_path, content, message):
    master = job_master()
    ended = run("gnt-instance", "batch-create", written(tmp_path, content), master=master)
    assert ended.code == 1
    assert message in ended.err
    assert master.sent("SubmitJob") == master.sent("SubmitManyJobs") == []


def asked(*words: str) -> dict:
    master = job_master("the answer")
    ended = run("gnt-debug", "iallocator", *words, master=master)
    assert (ended.code, ended.out) == (0, "the answer\n"), ended.err
    ((forms,),) = master.sent("SubmitJob")
    assert base.decode(forms[0]).op_id == "OP_TEST_ALLOCATOR"
    return {key: value for key, value in forms[0].items() if key not in ("reason", "OP_ID")}


def test_iallocator_has_the_defaults_that_it_always_had():
    assert asked("web1") == {
        "direction": "in",
        "mode": "relocate",
        "name": "web1",
        "memory": 128,
        "vcpus": 1,
        "disks": [{"size": 4096, "mode": "rw"}, {"size": 4096, "mode": "rw"}],
        "nics": [{"mac": "00:11:22:33:44:55"}],
        "count": 2,
    }


def test_iallocator_takes_all_its_options():
    found = asked(
        "--dir", "out", "-I", "hail", "-m", "multi-allocate", "--memory", "1g", "--disks", "1g,20", "-t", "plain",
        "--nics", "auto/192.0.2.9/br1,auto", "-o", "busybox", "-p", "3", "--tags", "a,b", "--spindle-use", "4",
        "--count", "5", "new",
    )  # fmt: skip
    assert found == {
        "direction": "out",
        "mode": "multi-allocate",
        "name": "new",
        "iallocator": "hail",
        "memory": 1024,
        "disks": [{"size": 1024, "mode": "rw"}, {"size": 20, "mode": "rw"}],
        "disk_template": "plain",
        "nics": [{"mac": "auto", "ip": "192.0.2.9", "bridge": "br1"}, {"mac": "auto"}],
        "os": "busybox",
        "vcpus": 3,
        "tags": ["a", "b"],
        "spindle_use": 4,
        "count": 5,
    }
    found = asked("-m", "change-group", "--target-groups", "g1,g2", "web1", "web2")
    assert (found["instances"], found["target_groups"]) == (["web1", "web2"], ["g1", "g2"])
    found = asked("-m", "node-evacuate", "--evac-mode", "primary-only", "web1")
    assert (found["instances"], found["evac_mode"]) == (["web1"], "primary-only")


def test_iallocator_takes_several_instances_only_where_that_is_meant():
    assert "about one instance" in run("gnt-debug", "iallocator", "a", "b", master=job_master()).err
    assert "cannot read" in run("gnt-debug", "allocator", "--nics", "a/b/c/d", "a", master=job_master()).err
