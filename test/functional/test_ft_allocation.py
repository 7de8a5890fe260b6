"""Instances that allocators place, many at once, and hook scripts around operations."""

import json
import os
import time

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

HAIL = "/usr/lib/ganeti/iallocators/hail"
#: the whole of it: GANETI_TEST_MANY=100
MANY = int(os.environ.get("GANETI_TEST_MANY", "20"))


@pytest.fixture(scope="module")
def five():
    """Nodes 1 to 3 take instances; node 4 is drained, node 5 offline."""
    shell = make_cluster(5)
    try:
        shell.ok("gnt-node", "modify", "--drained=yes", "node4")
        shell.ok("gnt-node", "modify", "--offline=yes", "node5")
        yield shell
    finally:
        destroy(os.path.dirname(shell.cluster.layout.directory))


def primaries(shell):
    """How many instances each node has."""
    return [int(row[0]) for row in shell.rows("gnt-node", "pinst_cnt")]


def remove_all(shell):
    names = [row[0] for row in shell.rows("gnt-instance", "name")]
    if names:
        jobs = [
            [{"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": name, "shutdown_timeout": 0, "ignore_failures": False}]
            for name in names
        ]
        submit(shell, jobs)


def submit(shell, jobs):
    """Ends when all jobs have, well."""
    answer = shell.luxi("SubmitManyJobs", jobs)
    ids = [job for is_good, job in answer["result"] if is_good]
    assert len(ids) == len(jobs), answer

    def ended():
        rows = shell.luxi("QueryJobs", ids, ["status"])["result"]
        return all(row[0] in ("success", "error", "canceled") for row in rows)

    wait_until("the end of all jobs", ended)
    rows = shell.luxi("QueryJobs", ids, ["status", "opresult"])["result"]
    assert [row for row in rows if row[0] != "success"] == []


def create(name, **changes):
    form = {"OP_ID": "OP_INSTANCE_CREATE", "instance_name": name, "disk_template": "diskless", "disks": []}
    return [form | {"os_type": "busybox-linux", "mode": "create", **changes}]


def test_many_at_once_are_spread_over_the_nodes_that_take_any(five, record_property, capsys):
    five.ok("gnt-cluster", "modify", "--max-running-jobs=20")
    begun = time.monotonic()
    submit(five, [create(f"many{number}.vc.example") for number in range(MANY)])
    took_s = time.monotonic() - begun
    record_property("seconds", took_s)
    with capsys.disabled():
        print(f" [{MANY} instances on 3 nodes in {took_s:.1f} s] ", end="")
    counts = primaries(five)
    assert counts[3:] == [0, 0]
    assert sum(counts) == MANY
    assert max(counts[:3]) - min(counts[:3]) <= 1
    remove_all(five)


def test_file_of_instances_and_builtin_trial(five):
    path = f"{five.master.root}/batch.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump([create(f"batch{n}.vc.example")[0] for n in range(3)], file)
    assert "All instances created successfully." in five.ok("gnt-instance", "batch-create", path)
    assert primaries(five) == [1, 1, 1, 0, 0]
    text = five.ok("gnt-debug", "iallocator", "-m", "allocate", "-t", "diskless", "--dir", "out", "new.vc.example")
    answer = json.loads(text.splitlines()[-1])
    assert answer["success"], answer
    text = five.ok("gnt-debug", "iallocator", "-m", "allocate", "-t", "diskless", "new.vc.example")
    question = json.loads(text.splitlines()[-1])
    assert question["nodes"]["node5.vc.example"]["offline"] is True
    assert "total_memory" not in question["nodes"]["node5.vc.example"]
    remove_all(five)


@pytest.mark.skipif(not os.path.exists(HAIL), reason="needs the allocator hail, of the package ganeti-htools")
def test_hail_places_and_relocates(five):
    five.ok("gnt-instance", "add", "-o", "busybox-linux", "-t", "diskless", "-I", "hail", "hail1.vc.example")
    file_instance = ("-t", "sharedfile", "--disk", "0:size=1g", "--no-install")
    five.ok("gnt-instance", "add", "-o", "busybox-linux", *file_instance, "-I", "hail", "hail2.vc.example")
    assert sum(primaries(five)[:3]) == 2
    before = five.field("gnt-instance", "hail2.vc.example", "pnode")
    five.ok("gnt-instance", "failover", "-f", "-I", "hail", "hail2.vc.example")
    assert five.field("gnt-instance", "hail2.vc.example", "pnode") not in (before, "node4.vc.example")
    words = ("gnt-debug", "iallocator", "--dir", "out", "-I", "hail", "-m", "relocate", "hail2.vc.example")
    assert json.loads(five.ok(*words).splitlines()[-1])["success"] is True
    remove_all(five)


def test_an_allocator_that_fails_or_is_missing_is_told(five):
    directory = five.master.paths.local("/usr/local/lib/ganeti/iallocators")
    os.makedirs(directory)
    with open(f"{directory}/broken", "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\necho it is out of order >&2\nexit 3\n")
    os.chmod(f"{directory}/broken", 0o755)
    words = ("gnt-instance", "add", "-o", "busybox-linux", "-t", "diskless", "-I")
    assert "failed with status 3: it is out of order" in five.fails(*words, "broken", "no.vc.example")
    assert "there is no allocator 'missing'" in five.fails(*words, "missing", "no.vc.example")
    assert five.rows("gnt-instance", "name") == []


def install_hook(node, name, body):
    path = f"{node.root}/etc/ganeti/hooks/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + body)
    os.chmod(path, 0o755)
    return path


def environment_of(path):
    with open(path, encoding="utf-8") as file:
        return dict(line.rstrip("\n").partition("=")[::2] for line in file if line.startswith("GANETI_"))


def test_hooks_are_told_what_was_and_what_is(five):
    node = five.master
    dumps = {}
    for name in ("instance-stop-pre.d/dump", "instance-stop-post.d/dump", "config-update-post.d/dump"):
        dumps[name] = f"{node.root}/{name.replace('/', '-')}"
        install_hook(node, name, f'env > "{dumps[name]}"\n')
    five.ok("gnt-instance", "add", "-o", "busybox-linux", "-t", "diskless", "-n", "node1", "hook.vc.example")
    assert environment_of(dumps["config-update-post.d/dump"])["GANETI_OP_CODE"] == "OP_INSTANCE_CREATE"
    five.ok("gnt-instance", "shutdown", "--timeout=0", "hook.vc.example")
    before = environment_of(dumps["instance-stop-pre.d/dump"])
    after = environment_of(dumps["instance-stop-post.d/dump"])
    common = {
        "GANETI_HOOKS_VERSION": "2",
        "GANETI_HOOKS_PATH": "instance-stop",
        "GANETI_OP_CODE": "OP_INSTANCE_SHUTDOWN",
        "GANETI_OBJECT_TYPE": "INSTANCE",
        "GANETI_OP_TARGET": "hook.vc.example",
        "GANETI_MASTER": "node1.vc.example",
        "GANETI_DATA_DIR": f"{node.root}/var/lib/ganeti",
        "GANETI_TIMEOUT": "0",
    }
    for found, phase in ((before, "pre"), (after, "post")):
        assert {key: found.get(key) for key in common} == common
        assert found["GANETI_HOOKS_PHASE"] == phase
        assert found["GANETI_INSTANCE_STATUS"] == "up"
    assert after["GANETI_POST_INSTANCE_STATUS"] == "down"
    assert not [key for key in before if key.startswith("GANETI_POST_")]
    remove_all(five)


def test_a_pre_hook_that_fails_stops_the_operation_and_a_post_hook_does_not(five):
    path = install_hook(five.master, "instance-add-pre.d/no", "echo not today; exit 1\n")
    words = ("gnt-instance", "add", "-o", "busybox-linux", "-t", "diskless", "-n", "node2", "hook.vc.example")
    said = five.fails(*words)
    assert "hooks execution failed" in said
    assert "not today" in said
    assert five.rows("gnt-instance", "name") == []
    os.unlink(path)
    path = install_hook(five.master, "instance-add-post.d/no", "echo too late; exit 1\n")
    assert "too late" in five.ok(*words)
    os.unlink(path)
    remove_all(five)


def test_verify_runs_its_hooks_and_fails_with_them(five):
    path = install_hook(five.nodes[1], "cluster-verify-post.d/check", 'echo "$GANETI_CLUSTER_TAGS" seen; exit 1\n')
    five.ok("gnt-cluster", "add-tags", "blue")
    done = five.cluster.call(five.master, ("gnt-cluster", "verify", "--error-codes"))
    assert done.returncode == 1
    assert "ENODEHOOKS:node:node2.vc.example" in done.stdout
    assert "blue seen" in done.stdout
    five.ok("gnt-cluster", "remove-tags", "blue")
    os.unlink(path)
