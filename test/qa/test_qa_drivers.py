"""The shared suites of test/driver on two nodes' real LVM, DRBD and Xen. A cluster that is there is not disturbed."""

import glob
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from xml.etree import ElementTree

import pytest
from qa.conftest import BED, NODES, ROOT, prepare_disks

HERE, THERE = NODES[:2]
HOME = "/var/tmp/driver-suite"
#: what pytest is made of: Python alone, so it runs on the nodes too, which have no package registry
PYTEST = ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments", "py.py", "pytest_timeout.py")
LIBRARIES = sysconfig.get_path("purelib")
VARIABLES = {
    "LIVE_VG": "xenvg",
    "LIVE_PEER": f"node{THERE}.tb.example",
    "LIVE_ADDRESSES": f"10.97.1.{10 + HERE},10.97.1.{10 + THERE}",
}
#: each takes two to ten minutes
LIMIT_S = 3600
#: what the suite makes, as test/driver has it: names of volumes, least minor, begins of guests' uuids
PREFIX, FIRST_MINOR, UUIDS = "driver-suite-", 120, r"(1{8}|2{8})-"
#: the suites, and the variants of each that have to be played
SUITES = {
    "test_volumes.py": {"lvm"},
    "test_real_lvm.py": {"lvm"},
    "test_mirror_pairs.py": {"drbd"},
    "test_hypervisors.py": {"real-xen-pvm", "real-xen-hvm"},
    "test_migration.py": {"real-xen-pvm", "real-xen-hvm"},
}


def send(node, directory, *names, to):
    archive = subprocess.run(
        ["tar", "-C", directory, "--exclude=__pycache__", "-cz", *names], capture_output=True, check=True
    ).stdout
    command = f"mkdir -p {to} && tar --warning=no-timestamp --no-same-owner -xz -C {to}"
    subprocess.run([f"{BED}/ssh", str(node), command], input=archive, check=True, timeout=300)


def traces(bed, node):
    """What the suite has left on a node, by the tools' own words."""
    volumes = [name for name in bed.volumes(node) if name.startswith(PREFIX)]
    minors = [minor for minor in bed.minors(node) if minor >= FIRST_MINOR]
    domains = re.findall(rf"^\S+ +(\d+) .* {UUIDS}", bed.ok(node, "xl list -v"), re.MULTILINE)
    processes = bed.call(node, f"pgrep -f {shlex.quote('[d]river import far')}").stdout.split()
    return volumes, minors, [number for number, _ in domains], processes


def sweep(bed, node):
    """Whatever state a run ended in."""
    volumes, minors, domains, processes = traces(bed, node)
    for number in domains:
        bed.call(node, f"xl destroy {number}")
    for pid in processes:
        bed.call(node, f"kill {pid}")
    for minor in minors:
        bed.call(node, f"drbdsetup secondary {minor}; drbdsetup down resource{minor}")
    for name in volumes:
        bed.call(node, f"lvremove -qq -f -y xenvg/{name}")
    bed.call(node, f"rm -rf {HOME}")


@pytest.fixture(scope="module")
def suite(bed):
    """The environment in which it is played; what it leaves is removed, however it ends."""
    if not bed.has_xen:
        pytest.skip("the nodes do not run Xen")
    for node in (HERE, THERE):
        assert bed.domains(node) == [], f"guests run on node{node}: their memory is needed"
        prepare_disks(bed, node)
    try:
        for node in (HERE, THERE):
            sweep(bed, node)
            send(node, ROOT, "pyproject.toml", "test/driver", to=HOME)
            send(node, LIBRARIES, *PYTEST, *glob.glob("pluggy-*.dist-info", root_dir=LIBRARIES), to=f"{HOME}/lib")
        # as the daemons find the product
        product = bed.ok(
            HERE, 'sed -n \'s/.*sys.path.insert(0, "\\([^"]*\\)").*/\\1/p\' /usr/sbin/ganeti-noded'
        ).strip()
        yield VARIABLES | {"PYTHONPATH": f"{HOME}/lib:{HOME}/test:{product}"}
    finally:
        for node in (HERE, THERE):
            sweep(bed, node)
            assert traces(bed, node) == ([], [], [], [])


def expected(name):
    """Tests of the suite that need such a node, as they are collected here."""
    command = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "testbed", "--collect-only", "-qq")
    done = subprocess.run(
        (*command, "-o", "addopts=--import-mode=importlib", "--verbosity=-1", f"test/driver/{name}"),
        cwd=ROOT, env=os.environ | VARIABLES, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {line.rpartition("::")[2] for line in done.stdout.splitlines() if "::" in line}


def results(text):
    """(passed, others) of a JUnit report."""
    cases = list(ElementTree.fromstring(text).iter("testcase"))
    bad = {case.get("name") for case in cases if len(case.findall("*[@message]"))}
    return {case.get("name") for case in cases} - bad, bad


@pytest.mark.parametrize("name", SUITES)
def test_a_shared_suite_passes_on_real_tools(bed, suite, name):
    wanted = expected(name)
    for variant in SUITES[name]:
        assert sum(f"[{variant}" in test for test in wanted) >= 5, f"the suite has hardly any test of {variant}"
    environment = " ".join(f"{key}={shlex.quote(value)}" for key, value in suite.items())
    python = "/usr/lib/ganeti/env/bin/python -m pytest"
    options = "-p no:cacheprovider -p pytest_timeout --timeout=900 -m testbed -v --durations=10 --junitxml=result.xml"
    command = f"cd {HOME} && env {environment} {python} {options} test/driver/{name}"
    done = subprocess.run(
        [f"{BED}/ssh", str(HERE), command], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    print(done.stdout, done.stderr)
    passed, others = results(bed.ok(HERE, f"cat {HOME}/result.xml"))
    assert others == set()
    assert passed == wanted
    assert done.returncode == 0
    for node in (HERE, THERE):
        assert traces(bed, node)[:3] == ([], [], []), f"left by the suite itself on node{node}"
