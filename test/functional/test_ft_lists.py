"""Lists and filters on a real cluster of five nodes, and the balancer of the Debian package that reads it over LUXI."""

import os
import re
import shutil
import subprocess

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until

from ganeti import paths

ROWS = {
    # name: (node, up, tags)
    "db1.example": ("node2", True, ("prod", "sql")),
    "web1.example": ("node2", True, ("prod",)),
    "web2.example": ("node2", True, ()),
    "web10.example": ("node2", False, ("test",)),
}


@pytest.fixture(scope="module")
def five():
    shell = make_cluster(5)
    try:
        _fill(shell)
        yield shell
    finally:
        destroy(os.path.dirname(shell.cluster.layout.directory))


def _fill(shell):
    shell.ok("gnt-cluster", "modify", "--enabled-disk-templates=diskless,file,sharedfile")
    for name, (node, is_up, tags) in ROWS.items():
        more = (*(("--tags=" + ",".join(tags),) if tags else ()), *(() if is_up else ("--no-start",)))
        memory = "-B", "memory=" + ("256m" if name.startswith("db") else "128m")
        where = ("-t", "sharedfile", "--disk", "0:size=1g", "-n", node)
        shell.ok("gnt-instance", "add", *where, *memory, *more, "-o", "busybox-linux", name)


def names(shell, *words):
    return [row[0].partition(".")[0] for row in shell.rows("gnt-instance", "name", *words)]


def pinned(shell):
    return {row[0]: row[1] for row in shell.rows("gnt-instance", "name,pnode")}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('name == "web1"', ["web1"]),
        ('name = "WEB1"', ["web1"]),
        ('name != "web1"', ["db1", "web2", "web10"]),
        ("be/memory > 128", ["db1"]),
        ("be/memory >= 128", ["db1", "web1", "web2", "web10"]),
        ("be/memory < 256", ["web1", "web2", "web10"]),
        ("disk.size/0 <= 1023", []),
        ("name =~ m/^web\\d\\./", ["web1", "web2"]),
        ("name =~ #^WEB#i", ["web1", "web2", "web10"]),
        ("name !~ /web/", ["db1"]),
        ('name =* "web?"', ["web1", "web2"]),
        ('name !* "web*"', ["db1"]),
        ('"prod" in tags', ["db1", "web1"]),
        ('"prod" not in tags', ["web2", "web10"]),
        ("oper_state", ["db1", "web1", "web2"]),
        ("not oper_state", ["web10"]),
        ('status == "ADMIN_down" or ("sql" in tags and pnode.group == "default")', ["db1", "web10"]),
    ],
)
def test_each_operator(five, text, found):
    assert names(five, "-F", text) == found


def test_names_and_globs(five):
    assert names(five, "web10", "db1") == ["web10", "db1"]  # in the order they were asked for
    assert names(five, "web*") == ["web1", "web2", "web10"]


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ('name == "a" and colour == "red"', "unknown field 'colour'", "colour"),
        ('name == "a" and', "", ""),
        ("name == web1", "", "web1"),
        ("os == 5", "cannot be compared", "os"),
        ('name =~ "web"', "between slashes", '"web"'),
        ("name =~ /(/", "regular expression", "name"),
    ],
)
def test_a_bad_filter_has_a_caret_under_the_place(five, text, message, under):
    told = five.fails("gnt-instance", "list", "-F", text)
    first, line, mark = told.splitlines()[:3]
    assert first.startswith("Error while parsing query filter: ")
    assert message in first
    assert line == "  " + text
    assert line[mark.index("^") :].startswith(under)


def test_an_unknown_column_and_words_for_what_is_missing(five):
    told = five.fails("gnt-instance", "list", "-o", "name,colour", status=14)
    assert "colour" in told
    assert "(unavail)" in five.ok("gnt-instance", "list", "-v", "-o", "disk.size/3,oper_ram", "web10")
    assert five.ok("gnt-instance", "list", "--units=m", "--no-headers", "-o", "disk.size/0", "web1") == "1024\n"


@pytest.mark.parametrize("tool", ["gnt-instance", "gnt-node", "gnt-job", "gnt-group"])
def test_list_fields(five, tool):
    lines = five.ok(tool, "list-fields", "--no-headers", "--separator=|").splitlines()
    fields = [line.split("|")[0] for line in lines]
    assert len(fields) > 15
    # every one of them can be asked for
    assert five.ok(tool, "list", "--no-headers", "--separator=|", "-o", ",".join(fields))
    five.fails(tool, "list-fields", "nosuch", status=14)


def test_lists_of_what_nodes_have(five):
    assert "busybox-linux" in five.ok("gnt-os", "list")
    assert "API versions: 20" in five.ok("gnt-os", "info", "busybox-linux")
    five.ok("gnt-os", "modify", "--hidden=yes", "busybox-linux")
    assert "busybox-linux" not in five.ok("gnt-os", "list")
    assert "[hidden]" in five.ok("gnt-os", "diagnose")
    five.ok("gnt-os", "modify", "--hidden=no", "busybox-linux")
    assert "no node has a provider" in five.fails("gnt-storage", "diagnose")
    assert five.ok("gnt-node", "volumes").split() == ["Node", "PhysDev", "VG", "Name", "Size", "Instance"] or (
        shutil.which("lvs", path="/sbin:/usr/sbin")  # then the machine may have some
    )
    storage = five.ok("gnt-node", "list-storage", "--no-headers", "--separator=|", "-t", "sharedfile").splitlines()
    assert [line.split("|")[:2] for line in storage] == [[f"node{n}.vc.example", "sharedfile"] for n in range(1, 6)]
    answer = five.luxi("Query", "export", ["node", "export"], None)
    assert answer == {"success": True, "result": {"fields": answer["result"]["fields"], "data": []}}


def test_the_queue_passes_its_own_test(five):
    assert five.ok("gnt-debug", "test-jobqueue") == "Job queue test successful\n"


def test_job_filters_hold_jobs_back(five):
    predicates = '--predicates=[["opcode", ["==", "OP_ID", "OP_TEST_DELAY"]]]'
    uuid = five.ok("gnt-filter", "add", "--action=PAUSE", predicates, "--reason=work on the network").strip()
    job = str(five.submit("gnt-debug", "delay", "0"))
    assert five.rows("gnt-job", "status,waits_for", job) == [["queued", "filter::"]]
    assert "work on the network" in five.ok("gnt-filter", "info", uuid)
    five.ok("gnt-filter", "delete", uuid)
    five.ok("gnt-job", "wait", job)
    assert five.ok("gnt-filter", "list", "--no-headers") == ""


# -- the balancer


def htool(shell, *argv):
    """Its output; what it says on standard error fails the test, as it complains there about data that do not fit."""
    program = shutil.which(argv[0], path=f"{os.environ['PATH']}:/usr/bin")
    if program is None:
        pytest.skip(f"{argv[0]} is not installed: it comes with the Debian package ganeti-htools")
    socket = os.path.realpath(shell.master.paths.local(paths.QUERY_SOCKET))
    argv = (program, f"-L{socket}", *argv[1:])
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120, env={"LC_ALL": "C.UTF-8"})
    assert (done.returncode, done.stderr) == (0, ""), (argv, done.stdout, done.stderr)
    return done.stdout


def test_hinfo_reads_the_cluster(five):
    text = htool(five, "hinfo")
    assert "Loaded 5 nodes, 4 instances, 1 node group" in text


def test_hspace_finds_room(five):
    text = htool(five, "hspace", "--machine-readable")
    values = dict(line.split("=", 1) for line in text.splitlines() if line.startswith("HTS_"))
    assert values["HTS_OK"] == "1"
    assert values["HTS_INI_INST_CNT"] == "4"
    assert int(values["HTS_ALLOC_INSTANCES"]) > 0


def test_hbal_balances_and_hcheck_finds_it_healthy(five):
    before = pinned(five)
    text = htool(five, "hbal", "-X", "-C")
    jobs = [int(number) for line in re.findall(r"Got job IDs (.*)", text) for number in re.findall(r"\d+", line)]
    assert jobs
    assert {row[1] for row in five.rows("gnt-job", "id,status", *map(str, jobs))} == {"success"}
    after = pinned(five)
    assert after != before
    assert len(set(after.values())) >= 3
    assert {row[0] for row in five.rows("gnt-instance", "status")} == {"running", "ADMIN_down"}
    assert "Cluster is not healthy: False" in htool(five, "hcheck")


# -- at the end: nodes take a while to be trusted again


def test_a_dead_node_costs_its_values_and_not_the_list(five):
    dead = five.nodes[4]
    five.stop_daemon(dead)
    found = {row[0]: row[1:] for row in five.rows("gnt-node", "name,mtotal,role")}
    assert found.pop(dead.name) == ["?", "C"]
    assert all(values[0].isdecimal() for values in found.values())
    # the row is kept although the filter cannot be decided
    kept = five.rows("gnt-node", "name", "-F", f'name == "{dead.short_name}" and mtotal > 100000000')
    assert kept == [[dead.name]]
    assert "(nodata)" in five.ok("gnt-node", "list", "-v", "-o", "bootid", dead.short_name)
    five.start_daemon(dead)
    wait_until("it tells again", lambda: five.field("gnt-node", dead.name, "mtotal") != "?")
