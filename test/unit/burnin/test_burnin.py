"""What the burn-in does with instances, and that it leaves none behind."""

import io

import pytest

from ganeti import errors
from ganeti.burnin import course, options
from ganeti.burnin.course import Guest
from ganeti.burnin.run import Burnin
from ganeti.host.clock import SystemClock

GUEST = Guest(name="a.example", primary="node1", secondary="node2", others=("node3",))


def parse(*words):
    return options.parse(["-o", "busybox", *words, "a.example"])


def kinds(given, nodes=3, guest=GUEST):
    return [op.op_id for phase in course.chosen(given, nodes) for op in phase.make(given, guest)]


def test_the_whole_course_of_a_mirrored_instance():
    given = parse("--rename=b.example", "--disk-size=1g,2g", "--disk-growth=128m,0")
    assert [phase.name for phase in course.chosen(given, 3)] == [
        "replace1", "replace2", "grow", "failover", "migrate", "importexport", "reinstall", "reboot", "add-disks",
        "add-nics", "activate-disks", "rename", "startstop",
    ]  # fmt: skip
    assert kinds(given).count("OP_INSTANCE_GROW_DISK") == 1, "a disk that shall not grow is left alone"
    (op,) = course.create(given, GUEST)
    assert (op.pnode, op.snode, [disk["size"] for disk in op.disks]) == ("node1", "node2", [1024, 2048])


def test_phases_are_left_out_as_asked_and_where_nodes_are_missing():
    assert "replace2" not in [phase.name for phase in course.chosen(parse(), 2)]
    names = ("replace1", "replace2", "failover", "migrate", "importexport", "reinstall", "reboot", "add-disks",
             "add-nics", "activate-disks", "startstop")  # fmt: skip
    given = parse("--disk-growth=0", *(f"--no-{name}" for name in names))
    assert course.chosen(given, 3) == ()
    alone = {phase.name for phase in course.chosen(parse("-t", "plain"), 1)}
    assert not alone & {"replace1", "replace2", "failover", "migrate"}
    assert {phase.name for phase in course.chosen(parse("-t", "diskless", "--no-nics"), 1)} == {"reboot", "startstop"}


def test_an_allocator_chooses_the_nodes_instead_of_us():
    given = parse("-I", "hail")
    (op,) = course.create(given, GUEST)
    assert (op.iallocator, op.pnode, op.snode) == ("hail", "", "")
    replace2 = next(phase for phase in course.chosen(given, 3) if phase.name == "replace2")
    (op,) = replace2.make(given, GUEST)
    assert (op.iallocator, op.remote_node) == ("hail", "")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "no instances"),
        (("a",), "no operating system"),
        (("-o", "x", "a", "a"), "twice"),
        (("-o", "x", "-n", "node1", "-I", "hail", "a"), "both nodes and an allocator"),
        (("-o", "x", "--disk-size", "0", "a"), "no sizes of disks"),
        (("-o", "x", "--disk-growth", "1,2", "a"), "1 disks and 2 sizes"),
        (("-o", "x", "--reboot-types", "hard,warm", "a"), "unknown types of reboot: warm"),
    ],
)
def test_words_that_make_no_sense_are_refused(words, what):
    with pytest.raises(errors.PrereqError, match=what):
        options.parse(words)


class Master:
    """Runs every job at once; `fails`: the operation that does not succeed."""

    def __init__(self, *, fails=""):
        self.fails, self.instances, self.done, self.jobs = fails, {}, [], {}

    def call(self, method, *args, key=None):
        return getattr(self, method)(*args)

    def QueryNodes(self, names, fields, use_locking):
        return [[f"node{number}", False, number == 4, True] for number in range(1, 5)]

    def QueryInstances(self, names, fields, use_locking):
        rows = [[name, *nodes] for name, nodes in self.instances.items() if not names or name in names]
        return [row[: len(fields)] for row in rows]

    def SubmitManyJobs(self, jobs):
        answer = []
        for forms in jobs:
            number = len(self.jobs) + 1
            self.jobs[number] = self._run(forms)
            answer.append([True, number])
        return answer

    def _run(self, forms):
        for form in forms:
            self.done.append(form["OP_ID"])
            if form["OP_ID"] == self.fails:
                return "error"
            if form["OP_ID"] == "OP_INSTANCE_CREATE":
                self.instances[form["instance_name"]] = ("node1", ["node2"])
            if form["OP_ID"] == "OP_INSTANCE_REMOVE":
                del self.instances[form["instance_name"]]
        return "success"

    def WaitForJobChange(self, job, *_):
        return [[self.jobs[job]], []]

    def QueryJobs(self, jobs, fields):
        return [[self.jobs[job], [self.jobs[job]], ["it is broken"]][: len(fields)] for job in jobs]


class Clock(SystemClock):
    """Time passes by waiting only."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def burnin(master, *words, fetch=lambda url: ""):
    out, clock = io.StringIO(), Clock()
    Burnin(parse(*words), master, clock=clock, out=out, new_key=lambda: "k", fetch=fetch).run()
    return out.getvalue()


def test_a_run_tells_what_it_does_and_removes_what_it_made():
    master = Master()
    text = burnin(master)
    assert "- Migrating\n* instance a.example: job" in text
    assert "OP_INSTANCE_REPLACE_DISKS" in master.done
    assert master.instances == {}


def test_a_failure_is_told_and_everything_is_removed_all_the_same():
    master = Master(fails="OP_INSTANCE_MIGRATE")
    with pytest.raises(errors.ExecError, match="it is broken"):
        burnin(master)
    assert "OP_BACKUP_EXPORT" not in master.done
    assert master.instances == {}


def test_instances_are_kept_when_asked():
    master = Master()
    burnin(master, "-K")
    assert list(master.instances) == ["a.example"]


def test_names_of_instances_that_are_there_are_refused_and_these_stay():
    master = Master()
    master.instances["a.example"] = ("node1", ["node2"])
    with pytest.raises(errors.PrereqError, match=r"instances of these names: a\.example"):
        burnin(master)
    assert list(master.instances) == ["a.example"]
    assert master.done == []


def test_a_guest_that_does_not_serve_its_name_fails_the_run():
    assert "Stopping and starting" in burnin(Master(), "-C", fetch=lambda url: "a.example\n")
    master = Master()
    with pytest.raises(errors.ExecError, match=r"does not serve its name at http://a\.example/hostname\.txt: it says"):
        burnin(master, "-C", fetch=lambda url: "another")
    assert master.instances == {}
