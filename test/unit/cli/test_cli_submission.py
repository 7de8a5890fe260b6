"""From words to submitted operations, and what is told afterwards."""

import pytest
from unit.cli.kit import NOW, Keyboard, Master, Steps, job_master, run

from ganeti import errors

NS = int(NOW * 1_000_000_000)


def submitted(master: Master) -> dict:
    ((forms,),) = master.sent("SubmitJob")
    (form,) = forms
    return {key: value for key, value in form.items() if key != "reason"}


def test_instance_add_says_everything_in_one_operation():
    master = job_master(["node1"])
    ended = run(
        "gnt-instance", "add", "-o", "busybox", "-t", "file", "-s", "1g", "-n", "node1:node2", "-H", "kvm:acpi=false",
        "-B", "memory=512,vcpus=2", "--net", "0:link=br0", "--no-start", "--tags", "a,b", "web1.example.com",
        master=master,
    )  # fmt: skip
    assert ended == (0, "", "")
    assert submitted(master) == {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": "web1.example.com",
        "os_type": "busybox",
        "disk_template": "file",
        "disks": [{"size": 1024}],
        "pnode": "node1",
        "snode": "node2",
        "hypervisor": "kvm",
        "hvparams": {"acpi": "false"},
        "beparams": {"memory": "512", "vcpus": "2"},
        "nics": [{"link": "br0"}],
        "start": False,
        "tags": ["a", "b"],
    }


def test_instance_add_without_nics_differs_from_the_default():
    with_default, without = job_master(), job_master()
    run("gnt-instance", "add", "-t", "diskless", "web1", master=with_default)
    run("gnt-instance", "add", "-t", "diskless", "--no-nics", "web1", master=without)
    assert "nics" not in submitted(with_default)
    assert submitted(without)["nics"] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--disk", "0:size=1g", "-s", "1g"), "--disk and --os-size exclude each other"),
        (("--net", "0", "--no-nics"), "--net and --no-nics exclude each other"),
        (("-s", "5q"), "cannot read '5q' as a size; write a number with m, g or t"),
        (("-t", "floppy"), "invalid choice: 'floppy'"),
        (("--frobnicate",), "no such option: --frobnicate"),
    ],
)
def test_wrong_option_ends_with_2_and_sends_nothing(words, message):
    master = job_master()
    ended = run("gnt-instance", "add", *words, "web1", master=master)
    assert ended.code == 2
    assert message in ended.err
    assert master.calls == []


def test_value_out_of_range_is_refused_before_it_is_sent():
    master = job_master()
    ended = run("gnt-instance", "remove", "-f", "--shutdown-timeout", "-5", "web1", master=master)
    assert ended.code == 1
    assert "Failure: prerequisites not met for this operation:\nerror type: wrong_input" in ended.err
    assert master.calls == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rename", "a"), "Error: Command rename expects 2 argument(s)\n"),
        (("remove", "a", "b"), "Error: Command remove expects 1 argument(s)\n"),
        (("modify", "a", "-B", "memory=1"), "Error: options have to come before the arguments\n"),
    ],
)
def test_wrong_number_of_arguments(words, message):
    ended = run("gnt-instance", *words)
    assert ended.code == 1
    assert ended.err.startswith(message)


@pytest.mark.parametrize("words", [("--tags", "c", "--force-multiple"), ("web1", "--timeout=5"), ("web1", "--submit")])
def test_options_after_any_number_of_names_are_no_names(words):
    ended = run("gnt-instance", "shutdown", *words)
    assert ended.code == 1
    assert ended.err.startswith("Error: options have to come before the arguments\n")


def test_words_of_a_command_and_those_after_two_dashes_are_no_options():
    nobody = Master(
        QueryNodes=[], SubmitManyJobs=errors.JobQueueDrainError("closed"), SubmitJob=errors.JobQueueDrainError("closed")
    )
    for words in (("command", "ls", "--help"), ("add-tags", "--", "--from")):
        assert "options have to come" not in run("gnt-cluster", *words, master=nobody).err
    assert nobody.calls


def test_an_age_that_cannot_be_read_is_told_as_a_wrong_parameter():
    assert run("gnt-job", "autoarchive", "soon").err.startswith("Parameter Error: cannot read 'soon' as a time span\n")


def test_no_arguments_expected():
    assert run("gnt-cluster", "verify", "x").err.startswith("Error: Command verify expects no arguments\n")
    assert run("gnt-job", "archive").err.startswith("Error: Command archive expects at least 1 argument(s)\n")


def test_recurring_options_are_stamped_on_the_operation():
    master = job_master()
    run(
        "gnt-debug", "delay", "-d", "-d", "--reason", "test run", "--priority", "high", "--dry-run", "0.5",
        master=master,
    )  # fmt: skip
    ((forms,),) = master.sent("SubmitJob")
    assert forms == [
        {
            "OP_ID": "OP_TEST_DELAY",
            "duration": 0.5,
            "no_locks": False,
            "dry_run": True,
            "debug_level": 2,
            "priority": -10,
            "reason": [["gnt:user", "test run", NS], ["gnt:client:gnt-debug", "delay", NS]],
        }
    ]


def test_delay_takes_locks_unless_told_not_to():
    held, free = job_master(), job_master()
    run("gnt-debug", "delay", "-n", "node1", "-n", "node2", "1", master=held)
    run("gnt-debug", "delay", "-l", "--no-master", "1", master=free)
    assert submitted(held)["on_nodes"] == ["node1", "node2"]
    assert submitted(held)["no_locks"] is False
    assert "no_locks" not in submitted(free)  # the operation's own default
    assert submitted(free)["on_master"] is False


def test_each_submission_has_its_own_key():
    master = job_master()
    run("gnt-debug", "delay", "0", master=master)
    assert master.keys == ["key1", None, None]


def test_submit_prints_the_id_on_stderr_and_does_not_wait():
    master = job_master(job=42)
    ended = run("gnt-debug", "delay", "--submit", "--print-jobid", "1", master=master)
    assert ended == (0, "42\n", "JobID: 42\n")
    assert [call[0] for call in master.calls] == ["SubmitJob"]


def test_failure_is_told_with_its_class_and_hint():
    master = Master(
        SubmitJob=errors.PrereqError("unknown_entity", "instance 'x' is not known", hint="gnt-instance list")
    )
    ended = run("gnt-instance", "rename", "x", "y", master=master)
    assert ended.code == 1
    assert ended.err == (
        "Failure: prerequisites not met for this operation:\n"
        "error type: unknown_entity, error details:\n"
        "instance 'x' is not known\n"
        "Hint: gnt-instance list\n"
    )


def test_modify_without_anything_to_change_is_refused():
    for tool, words in (("gnt-cluster", ()), ("gnt-node", ("-f", "n1")), ("gnt-instance", ("web1",))):
        master = job_master()
        ended = run(tool, "modify", *words, master=master)
        assert ended.code == 1
        assert "nothing to change" in ended.err
        assert master.calls == []


def test_node_modify_tells_what_changed():
    ended = run(
        "gnt-node", "modify", "-C", "no", "-O", "yes", "n1",
        master=job_master([["offline", True], ["master_candidate", "auto-demotion due to offline"]]),
    )  # fmt: skip
    assert ended.out == ("Modified node n1\n - offline -> true\n - master_candidate -> auto-demotion due to offline\n")


def test_instance_modify_sends_text_and_reminds_of_the_restart():
    master = job_master([["be/memory", 512]])
    ended = run("gnt-instance", "modify", "-B", "memory=512", "-H", "acpi=default", "--online", "web1", master=master)
    assert submitted(master) == {
        "OP_ID": "OP_INSTANCE_SET_PARAMS",
        "instance_name": "web1",
        "beparams": {"memory": "512"},
        "hvparams": {"acpi": "default"},
        "offline": False,
    }
    assert ended.out.startswith("Modified instance web1\n - be/memory -> 512\n")
    assert "next (re)start" in ended.out


def test_rename_tells_the_new_name():
    master = job_master("b.example.com")
    assert run("gnt-instance", "rename", "a", "b", master=master).out == "Instance 'a' renamed to 'b.example.com'\n"
    assert submitted(master)["ip_check"] is False


def test_remove_asks_and_without_a_terminal_does_nothing():
    master = job_master()
    ended = run("gnt-instance", "remove", "web1", master=master)
    assert ended.code == 1
    assert master.calls == []


def test_remove_asks_and_goes_on_after_yes():
    master, keyboard = job_master(), Keyboard("?", "x", "Y")
    assert run("gnt-instance", "remove", "web1", master=master, keyboard=keyboard).code == 0
    assert "the instance web1 (including mirrors)" in keyboard.shown.replace("\n", " ")
    assert keyboard.shown.count("y/[n]/?: ") == 3
    assert submitted(master)["OP_ID"] == "OP_INSTANCE_REMOVE"


def test_remove_with_force_does_not_ask_and_does_not_send_force():
    master = job_master()
    assert run("gnt-instance", "remove", "-f", "web1", master=master).code == 0
    assert submitted(master) == {"OP_ID": "OP_INSTANCE_REMOVE", "instance_name": "web1"}


def test_redist_conf_can_pass_a_drained_queue():
    master = job_master(SubmitJobToDrainedQueue=8)
    assert run("gnt-cluster", "redist-conf", "--yes-do-it", master=master).code == 0
    assert master.calls[0][0] == "SubmitJobToDrainedQueue"


def test_verify_flag_becomes_an_element_of_the_list():
    master = job_master({"jobs": []})
    assert run("gnt-cluster", "verify", "--no-nplus1-mem", "-I", "ENODESSH", "-I", "ENODEN1", master=master).code == 0
    assert submitted(master) == {
        "OP_ID": "OP_CLUSTER_VERIFY",
        "skip_checks": ["nplusone_mem"],
        "ignore_errors": ["ENODESSH", "ENODEN1"],
    }


def _verify_master(second: list) -> Master:
    first = ["success", ["success"], [{"jobs": [[True, 8], [True, 9]]}]]
    return Master(
        SubmitJob=7,
        WaitForJobChange=[["success"], []],
        QueryJobs=lambda ids, fields: (
            [["success"]] * len(ids)
            if fields == ["status"]
            else [{7: first, 8: ["success", ["success"], [True]], 9: second}[ids[0]]]
        ),
    )


def test_verify_follows_its_jobs_and_is_good_when_all_are():
    ended = run("gnt-cluster", "verify", master=_verify_master(["success", ["success"], [True]]))
    assert ended == (0, "Submitted jobs 8, 9\nWaiting for job 8 ...\nWaiting for job 9 ...\n", "")


def test_verify_is_bad_when_a_job_finds_something():
    ended = run("gnt-cluster", "verify", master=_verify_master(["success", ["success"], [False]]))
    assert (ended.code, ended.err) == (1, "")


def test_verify_counts_failed_jobs():
    failed = ["error", ["error"], [["OpExecError", ["no such luck"]]]]
    ended = run("gnt-cluster", "verify", master=_verify_master(failed))
    assert ended.code == 1
    assert ended.err == "Job 9 has failed: no such luck\n"
    assert ended.out.endswith("1 job(s) failed while verifying the cluster.\n")


def test_interrupt_names_the_jobs_that_go_on():
    master = job_master(WaitForJobChange=Steps([KeyboardInterrupt()]))
    ended = run("gnt-debug", "delay", "5", master=master)
    assert ended.code == 1
    assert "go on in the background: 7" in ended.err
