"""The info commands and the small ones."""

import io

import pytest
from unit.cli.kit import FixedClock, Keyboard, Master, check_golden, job_master, rows, run

from ganeti import errors
from ganeti.cli.main import main
from ganeti.cli.world import World
from ganeti.paths import Paths

INSTANCE = {
    "name": "web1.example.com",
    "uuid": "11111111-2222-3333-4444-555555555555",
    "serial_no": 3,
    "ctime": 1_700_000_000.0,
    "mtime": 1_700_000_100.0,
    "config_state": "up",
    "run_state": "down",
    "blocked": "",
    "pnode": "node1",
    "pnode_group_name": "default",
    "snodes": ["node2"],
    "os": "busybox-linux",
    "os_instance": {"colour": "red"},
    "os_actual": {"colour": "red", "size": "l"},
    "disk_template": "drbd",
    "nics": [[None, "nic-uuid", None, "aa:00:00:00:00:01", "bridged", "xen-br0", "", None, None]],
    "hypervisor": "kvm",
    "network_port": 11000,
    "hv_instance": {"acpi": False},
    "hv_actual": {"acpi": False, "boot_order": "disk", "kernel_path": ""},
    "be_instance": {},
    "be_actual": {"maxmem": 512, "vcpus": 1},
    "disks": [
        {
            "dev_type": "drbd",
            "logical_id": ["node1", "node2", 11000, 0, 0],
            "pstatus": ["/dev/drbd0", 147, 0, 41.5, 120, True, 1],
            "sstatus": ["/dev/drbd0", 147, 0, None, None, False, 1],
            "children": [
                {
                    "dev_type": "plain",
                    "logical_id": ["xenvg", "lv0"],
                    "pstatus": ["/dev/xenvg/lv0", 254, 3, None, None, None, 1],
                    "sstatus": None,
                    "children": [],
                    "mode": "rw",
                    "size": 1024,
                    "name": None,
                    "uuid": "child-uuid",
                }
            ],
            "mode": "rw",
            "size": 1024,
            "name": "root",
            "uuid": "disk-uuid",
        }
    ],
}
DISKLESS = INSTANCE | {"name": "db", "disks": [], "nics": [], "snodes": [], "run_state": None, "blocked": "half moved"}


def test_instance_info():
    master = job_master({"web1.example.com": INSTANCE, "db": DISKLESS})
    ended = run("gnt-instance", "info", "web1", "db", master=master)
    assert ended.code == 0
    check_golden("info-instance", ended.out)
    ((forms,),) = master.sent("SubmitJob")
    assert forms[0]["instances"] == ["web1", "db"]


def test_instance_info_needs_names_or_all():
    assert "give either the names" in run("gnt-instance", "info").err
    assert run("gnt-instance", "info", "--all", "web1").code == 1
    master = job_master({})
    assert run("gnt-instance", "show", "--all", "-s", master=master) == (0, "", "")
    ((forms,),) = master.sent("SubmitJob")
    assert forms[0]["static"] is True
    assert "instances" not in forms[0]


def test_node_info():
    answer = rows(
        [],
        [
            *("node1", "192.0.2.1", "198.51.100.1", True, False, False, (3, None), True, True, "default"),
            *(["web1", "db"], [], {"oob_program": "/bin/oob"}, {"oob_program": "/bin/oob", "spindle_count": 1}),
        ],
    )
    master = Master(Query=answer)
    ended = run("gnt-node", "info", "node1", master=master)
    assert ended.code == 0
    assert master.sent("Query")[0][2] == ["==", "name", "node1"]
    check_golden("info-node", ended.out)


CLUSTER = {
    "software_version": "0.1.0",
    "protocol_version": 3000000,
    "config_version": 3000000,
    "os_api_version": 20,
    "export_version": 0,
    "vcs_version": "",
    "architecture": ["64bits", "x86_64"],
    "name": "cluster.example.com",
    "uuid": "cluster-uuid",
    "ctime": 1_700_000_000.0,
    "mtime": 1_700_000_000.0,
    "master": "node1",
    "default_hypervisor": "kvm",
    "enabled_hypervisors": ["kvm", "fake"],
    "hvparams": {"kvm": {"acpi": True, "kernel_path": ""}, "xen-pvm": {"x": 1}, "fake": {}},
    "os_hvp": {},
    "osparams": {"busybox": {"size": "l"}},
    "beparams": {"default": {"maxmem": 128, "vcpus": 1}},
    "nicparams": {"default": {"mode": "bridged"}},
    "ndparams": {"spindle_count": 1},
    "diskparams": {},
    "candidate_pool_size": 10,
    "max_running_jobs": 20,
    "max_tracked_jobs": 25,
    "mac_prefix": "aa:00:00",
    "volume_group_name": None,
    "reserved_lvs": [],
    "enabled_disk_templates": ["diskless", "file"],
    "tags": ["b", "a"],
    "ipolicy": {
        "minmax": [{"min": {"cpu-count": 1}, "max": {"cpu-count": 8}}],
        "std": {"cpu-count": 1},
        "disk-templates": ["file"],
        "vcpu-ratio": 4.0,
        "spindle-ratio": 32.0,
    },
}


def test_cluster_info_and_version():
    master = Master(QueryClusterInfo=CLUSTER)
    check_golden("info-cluster", run("gnt-cluster", "info", master=master).out)
    assert run("gnt-cluster", "version", master=master).out.splitlines()[:2] == [
        "Software version: 0.1.0",
        "Internode protocol: 3000000",
    ]


def test_cluster_queue():
    master = Master(SetDrainFlag=True, QueryConfigValues=[True])
    assert run("gnt-cluster", "queue", "drain", master=master) == (0, "", "")
    assert run("gnt-cluster", "queue", "undrain", master=master) == (0, "", "")
    assert run("gnt-cluster", "queue", "info", master=master).out == "The drain flag is set\n"
    assert master.sent("SetDrainFlag") == [[True], [False]]
    ended = run("gnt-cluster", "queue", "fill", master=master)
    assert ended.code == 1
    assert "unknown word 'fill'" in ended.err


JOB = [
    7,
    "error",
    ["TEST_DELAY(1)", "INSTANCE_STARTUP(web1)"],
    [
        {"OP_ID": "OP_TEST_DELAY", "duration": 1.0, "reason": [["gnt:user", "x", 1]]},
        {"OP_ID": "OP_INSTANCE_STARTUP", "instance_name": "web1"},
    ],
    [None, ["OpExecError", ["no such luck"]]],
    ["success", "error"],
    [[[1, [1_700_000_000, 5], "message", "hello\nyou"]], []],
    [[1_700_000_000, 0], [1_700_000_001, 0]],
    [[1_700_000_000, 500_000], None],
    [[1_700_000_001, 0], [1_700_000_001, 250_000]],
    [1_700_000_000, 0],
    [1_700_000_000, 100],
    [1_700_000_001, 250_000],
    [[1, 1, "wait on node1"], None],
    [],
    0,
]


def test_job_info():
    master = Master(Query=rows([], JOB, [8, *[(3, None)] * 15]))
    ended = run("gnt-job", "info", "7", "8", master=master)
    assert (ended.code, ended.err) == (1, "Job ID 8 not found\n")
    check_golden("info-job", ended.out)


def test_job_info_tells_what_holds_a_job_up():
    waits_for = [["lock", "node/n1", 6], ["dependency", None, 5], ["limit", None, None]]
    waiting = [*JOB[:1], "waiting", *JOB[2:-2], waits_for, -10]
    shown = run("gnt-job", "info", "7", master=Master(Query=rows([], waiting))).out
    told = shown[shown.index("  Priority") : shown.index("  Opcodes")].splitlines()
    assert told == [
        "  Priority: -10",
        "  Waits for:",
        "    - lock node/n1, which job 6 holds or is to get first",
        "    - the end of job 5",
        "    - the end of any job: the limit of running jobs is reached",
    ]


def test_job_list_shows_steps_and_obstacles_in_short():
    answer = rows(
        [("opstep", "OpCode_step", "other"), ("waits_for", "WaitsFor", "other")],
        [[[2, 5, "x"], None], [["lock", "node/n1", 6]]],
        [[None], []],
    )
    ended = run(
        "gnt-job", "list", "-o", "opstep,waits_for", "--no-headers", "--separator=|", master=Master(Query=answer)
    )
    assert ended.out == "2/5,-|lock:node/n1:6\n-|-\n"


def test_job_change_priority():
    found = rows([], [5, "queued", ["TEST_DELAY(1)"]])
    master = Master(Query=found, ChangeJobPriority=lambda job, priority: [job == 5, f"{job} now {priority}"])
    command = ("gnt-job", "change-priority")
    assert run(*command, "--priority=high", "5", "6", master=master) == (1, "5 now -10\n6 now -10\n", "")
    assert "no priority was given" in run(*command, "5", master=master).err
    assert "give either job ids" in run(*command, "--priority=low", master=master).err
    assert run(*command, "--priority=low", "--pending", master=master).code == 13
    asked = Keyboard("y")
    assert run(*command, "--priority=low", "--pending", master=master, keyboard=asked).out == "5 now 10\n"
    assert "Change the priority of 1 job(s) to low?" in asked.shown
    assert run(*command, "--priority=normal", "--waiting", "-f", master=master).out == "5 now 0\n"
    assert master.sent("Query")[0][2] == [
        "|", ["==", "status", "queued"], ["==", "status", "waiting"], ["==", "status", "canceling"]
    ]  # fmt: skip


def test_job_cancel_prints_the_answers():
    master = Master(CancelJob=lambda job, *kill: [job == 5, f"answer for {job} {kill}"])
    ended = run("gnt-job", "cancel", "5", "6", master=master)
    assert ended == (1, "answer for 5 ()\nanswer for 6 ()\n", "")
    assert run("gnt-job", "cancel", "--kill", "5", master=master).code == 1
    assert run("gnt-job", "cancel", "--kill", "--yes-do-it", "5", master=master).out == "answer for 5 (True,)\n"


def test_job_cancel_by_state_asks():
    found = rows([], [5, "queued", ["TEST_DELAY(1)"]])
    master = Master(Query=found, CancelJob=[True, "Job 5 canceled"])
    assert run("gnt-job", "cancel", "--queued", master=master).code == 13
    assert run("gnt-job", "cancel", "--queued", master=master, keyboard=Keyboard("y")).out == "Job 5 canceled\n"
    assert run("gnt-job", "cancel", "--queued", "-f", master=master).code == 0
    assert "give either job ids" in run("gnt-job", "cancel", "--queued", "5", master=master).err
    assert "give either job ids" in run("gnt-job", "cancel", master=master).err


def test_job_archive_and_autoarchive():
    master = Master(ArchiveJob=lambda job: job == 5, AutoArchiveJobs=[3, 0])
    ended = run("gnt-job", "archive", "5", "6", master=master)
    assert ended.code == 1
    assert ended.err.startswith("Failed to archive job 6")
    assert run("gnt-job", "autoarchive", "2h", master=master).out == "Archived 3 jobs, 0 unchecked left\n"
    run("gnt-job", "autoarchive", "all", master=master)
    assert master.sent("AutoArchiveJobs") == [[7200, 89], [-1, 89]]
    assert "time span" in run("gnt-job", "autoarchive", "soon", master=master).err


GOOD = ["/srv/os/good", True, "", ["default"], [["size", "how big"]], [20], True]
BAD = ["/srv/os/bad", False, "no create script", [], [], [], True]


def test_os_list_has_a_line_for_each_variant_that_is_not_hidden():
    rows_ = [["plain", []], ["deb", ["a", "b", "c", "d"]]]
    master = job_master(rows_, QueryClusterInfo={"hidden_os": ["deb+c"], "blacklisted_os": ["deb+d"]})
    assert run("gnt-os", "list", master=master).out == "Name\nplain\ndeb+a\ndeb+b\n"
    assert run("gnt-os", "list", "--no-headers", master=job_master([])).out == ""


def test_os_diagnose():
    statuses = {"n1": [BAD], "n2": [GOOD, BAD], "n3": []}
    master = job_master(
        [
            ["deb", False, [], statuses, False, True],
            ["good", True, ["default"], {"n1": [GOOD]}, True, False],
            ["bad", False, [], {"n1": [BAD]}, False, False],
        ]
    )
    ended = run("gnt-os", "diagnose", master=master)
    assert ended.code == 1
    check_golden("os-diagnose", ended.out)
    fine = job_master([["good", True, [], {"n1": [GOOD]}, False, False]])
    assert run("gnt-os", "diagnose", master=fine).code == 0


def test_os_diagnose_has_the_nodes_in_natural_order():
    master = job_master([["good", True, [], {"n10": [GOOD], "n2": [GOOD], "n1": [GOOD]}, False, False]])
    told = run("gnt-os", "diagnose", master=master).out
    assert [line.split()[1] for line in told.splitlines() if "Node:" in line] == ["n1,", "n2,", "n10,"]


def os_master():
    found = ["good", True, False, True, [20, 15], ["a", "b"], [["size", "how big"]], {"kvm": {"acpi": False}}, {}, True]
    facts = {"os_hvp": {"good": {"kvm": {"acpi": False}}}, "osparams": {"gone": {"size": "1"}}}
    return job_master([found], QueryClusterInfo=facts)


def test_os_info_shows_definitions_and_what_the_cluster_keeps():
    ended = run("gnt-os", "info", master=os_master())
    assert ended.code == 0
    check_golden("os-info", ended.out)
    assert run("gnt-os", "show", "gone", master=os_master()).out.startswith("gone:\n")


def test_os_info_of_what_nobody_knows_fails():
    ended = run("gnt-os", "info", "nosuch", "good", master=os_master())
    assert ended.code == 1
    assert "'nosuch'" in ended.err
    assert ended.out.startswith("good:\n")


def test_node_volumes_and_list_storage():
    master = job_master([["n1", "/dev/sda1", "xenvg", "web1.data", "2048", "web1"]])
    assert run("gnt-node", "volumes", "--no-headers", "n1", master=master).out == (
        "n1 /dev/sda1 xenvg web1.data 2.0G web1\n"
    )
    ((ops,),) = master.sent("SubmitJob")
    assert ops[0]["nodes"] == ["n1"]
    master = job_master([["/srv", 2048, True]])
    words = ("list-storage", "-t", "file", "-o", "name,free,allocatable", "--units=m")
    assert run("gnt-node", *words, master=master).out == "Name Free Allocatable\n/srv 2048 Y\n"
    ((ops,),) = master.sent("SubmitJob")
    assert ops[0]["storage_type"] == "file"
    assert "there is no field 'x'" in run("gnt-node", "volumes", "-o", "x").err


QUEUE_ROWS = (
    ["success", ["success"], [[1, 2, 3]], [10, 0], [11, 0]],
    ["success", ["success"], [[]], [11, 1], [12, 0]],
    ["error", ["success", "error", "error"], [[], [], []], [10, 0], [12, 5]],
    ["error", ["error"], [[]], None, [12, 6]],
    ["success", ["success"], [[]], [12, 7], [13, 0]],
)


def queue_master(*rows_):
    return Master(
        SubmitManyJobs=lambda jobs: [[True, number] for number in range(21, 21 + len(jobs))],
        WaitForJobChange=[["success"], []],
        QueryJobs=lambda ids, fields: list(rows_) if len(ids) > 1 else [["success", ["success"], [None]]],
    )


def test_the_queue_test_submits_small_jobs_and_is_content():
    master = queue_master(*QUEUE_ROWS)
    ended = run("gnt-debug", "test-jobqueue", master=master)
    assert (ended.code, ended.out) == (0, "Job queue test successful\n")
    ((jobs,),) = master.sent("SubmitManyJobs")
    assert [job[0].get("depends") for job in jobs] == [
        None, [[-1, ["success"]]], None, [[-1, ["success"]]], [[-2, ["error"]]],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("index", "row", "told"),
    [
        (0, ["success", ["success"], [[1]], [10, 0], [11, 0]], "its log has 1 lines"),
        (1, ["success", ["success"], [[]], [10, 9], [12, 0]], "before the job that it depends on"),
        (3, ["success", ["success"], [[]], [12, 6], [12, 7]], "ended with success, not error"),
    ],
)
def test_the_queue_test_tells_what_is_not_good(index, row, told):
    changed = [*QUEUE_ROWS[:index], row, *QUEUE_ROWS[index + 1 :]]
    ended = run("gnt-debug", "test-jobqueue", master=queue_master(*changed))
    assert ended.code == 1
    assert told in ended.err


RULE = {
    "uuid": "u1", "watermark": 5, "priority": 0, "predicates": [["jobid", [">", "id", "watermark"]]],
    "action": ["RATE_LIMIT", 2], "reason_trail": [["gnt:user", "upgrade", 1]],
}  # fmt: skip


def filter_master():
    return Master(Query=rows([(name, name.title(), "other") for name in RULE], list(RULE.values())))


def test_filters_are_listed_and_shown():
    assert run("gnt-filter", "list", "--no-headers", "--separator=|", master=filter_master()).out == (
        'u1|5|0|[["jobid",[">","id","watermark"]]]|RATE_LIMIT 2|[["gnt:user","upgrade",1]]\n'
    )
    check_golden("filter-info", run("gnt-filter", "info", "u1", master=filter_master()).out)


def test_filters_are_set_and_deleted():
    master = Master(ReplaceFilter="u1", DeleteFilter=None)
    words = ("--priority=3", '--predicates=[["jobid", ["==", "id", 7]]]', "--action=rate_limit 2", "--reason=why")
    assert run("gnt-filter", "add", *words, master=master).out == "u1\n"
    run("gnt-filter", "replace", "u1", master=master)
    assert run("gnt-filter", "delete", "u1", master=master).code == 0
    first, second = master.sent("ReplaceFilter")
    assert first[:4] == [None, 3, [["jobid", ["==", "id", 7]]], ["RATE_LIMIT", 2]]
    assert [entry[1] for entry in first[4]] == ["why", "add"]
    assert second[:4] == ["u1", 0, [], "CONTINUE"]
    assert "--predicates" in run("gnt-filter", "add", "--predicates=[", master=master).err


PROVIDER = ["/srv/ganeti/extstorage/pool", True, "", [["size", "of a unit"]]]


def test_storage_diagnose():
    bad = ["/srv/ganeti/extstorage/pool", False, "script grow is missing", []]
    master = job_master([["pool", {"n1": [PROVIDER], "n2": [bad], "n3": []}, {"default": False, "other": True}]])
    ended = run("gnt-storage", "diagnose", master=master)
    assert ended.code == 0
    check_golden("storage-diagnose", ended.out)
    assert run("gnt-storage", "diagnose", master=job_master([])).code == 1


def test_storage_info():
    rows_ = [["pool", {"default": False, "other": True}, [["size", "of a unit"]]]]
    assert run("gnt-storage", "info", master=job_master(rows_)).out == (
        "pool:\n  valid in groups: other\n  parameters:\n    size: of a unit\n"
    )
    ended = run("gnt-storage", "info", "nosuch", "pool", master=job_master(rows_))
    assert ended.code == 1
    assert ended.out.startswith("nosuch: Not Found\npool:\n")


def test_submit_job_reads_files(tmp_path):
    path = tmp_path / "jobs.json"
    path.write_text('[{"OP_ID": "OP_TEST_DELAY", "duration": 0}]')
    master = Master(
        SubmitManyJobs=lambda jobs: [[True, 20 + index] for index in range(len(jobs))],
        WaitForJobChange=[["success"], []],
        QueryJobs=lambda ids, fields: [
            ["success"] if fields == ["status"] else ["success", ["success"], [None]] for _ in ids
        ],
    )
    ended = run(
        "gnt-debug", "submit-job", "--op-repeat", "2", "--job-repeat", "3", "--timing-stats", str(path), master=master
    )
    assert ended.code == 0
    assert "C:op     6\nC:job    3\n" in ended.out
    ((jobs,),) = master.sent("SubmitManyJobs")
    assert [len(job) for job in jobs] == [2, 2, 2]
    run("gnt-debug", "submit-job", "--each", "--job-repeat", "2", str(path), master=master)
    assert len(master.sent("SubmitManyJobs")) == 3
    assert master.keys.count("key1") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ('{"OP_ID": "x"}', "not a list of opcodes"), ("[{}]", "not a list of opcodes")],
)
def test_submit_job_refuses_bad_files(tmp_path, content, message):
    path = tmp_path / "jobs.json"
    path.write_text(content)
    ended = run("gnt-debug", "submit-job", str(path))
    assert ended.code == 1
    assert message in ended.err
    assert "cannot read" in run("gnt-debug", "submit-job", str(tmp_path / "none")).err


def _node_of(root, master: str) -> None:
    (root / "var/lib/ganeti").mkdir(parents=True)
    (root / "var/lib/ganeti/ssconf_master_node").write_text(f"{master}\n")


def test_no_master():
    gone = Master(QueryClusterInfo=errors.NoMasterError("nobody answers", hint="is ganeti-masterd running?"))
    ended = run("gnt-cluster", "info", master=gone)
    assert ended.code == 1
    assert ended.err == (
        "Cannot communicate with the master daemon.\nnobody answers\nHint: is ganeti-masterd running?\n"
    )


def test_real_client_on_a_node_outside_any_cluster(tmp_path):
    out, err = io.StringIO(), io.StringIO()
    world = World(out=out, err=err, environ={}, paths=Paths(str(tmp_path), "node1"), clock=FixedClock())
    assert main("gnt-cluster", ["info"], world) == 1
    assert "this node is not part of a cluster\nHint: run gnt-cluster init" in err.getvalue()
    _node_of(tmp_path, "node9")
    assert main("gnt-cluster", ["info"], world) == 1
    assert "not the master, connect to node9" in err.getvalue()


def test_getmaster_works_without_a_master(tmp_path):
    _node_of(tmp_path, "node9")
    assert run("gnt-cluster", "getmaster", root=tmp_path) == (0, "node9\n", "")


def test_queue_errors_have_their_own_words():
    drained = run("gnt-debug", "delay", "1", master=Master(SubmitJob=errors.JobQueueDrainError("x")))
    assert drained.err == "Failure: the job queue is marked for drain and doesn't accept new requests\n"
    full = run("gnt-debug", "delay", "1", master=Master(SubmitJob=errors.JobQueueFull("x", hint="archive old jobs")))
    assert full.err.endswith("\nHint: archive old jobs\n")


def test_every_run_is_logged(tmp_path):
    (tmp_path / "var/log/ganeti").mkdir(parents=True)
    run("gnt-debug", "delay", "--reason", "two words", "1", master=job_master(), root=tmp_path)
    text = (tmp_path / "var/log/ganeti/commands.log").read_text()
    assert text.startswith("2023-11-14 22:13:20: gnt-debug delay pid=")
    assert text.endswith("--reason 'two words' 1\n")
