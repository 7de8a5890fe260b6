"""Real daemons on a virtual cluster: one of three nodes for all tests that leave it as they found it."""

import os
import shutil
import sys
import tempfile

import pytest

# before they are imported, so that what they assert is told with its values
pytest.register_assert_rewrite(
    "functional.kit", "functional.load_kit", "functional.migration_kit", "functional.upgrade_kit"
)

from functional.kit import Shell  # noqa: E402

from ganeti.testing.vcluster import VirtualCluster  # noqa: E402
from ganeti.testing.vlayout import Layout  # noqa: E402

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))


# an hour; developer.rst tells of it
collect_ignore = [] if os.environ.get("GANETI_UPGRADE_KILLS") == "all" else ["test_ft_upgrade_points.py"]


def pytest_collection_modifyitems(items):
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.functional)


def bin_dir():
    own = os.path.dirname(sys.executable)
    if not os.path.exists(f"{own}/ganeti-noded"):
        pytest.fail(f"{own} has no ganeti-noded: run these tests with the Python that tools/prepare made")
    return own


def make_cluster(nodes, *, hypervisors=("fake",), ssh_keys=False):
    directory = tempfile.mkdtemp(prefix="gnt-ft-")
    lines = []
    try:
        made = VirtualCluster.create(
            directory + "/vc",
            count=nodes,
            bin_dir=bin_dir(),
            report=lines.append,
            hypervisors=hypervisors,
            os_definitions=f"{REPOSITORY}/doc/examples/os",
            ssh_keys=ssh_keys,
        )
    except BaseException:
        destroy(directory)
        raise
    return Shell(made)


def destroy(directory):
    if os.path.exists(directory + "/vc/vcluster.json"):
        VirtualCluster(Layout.load(directory + "/vc"), lambda line: None).destroy()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_cluster():
    shell = make_cluster(3)
    yield shell
    destroy(os.path.dirname(shell.cluster.layout.directory))


@pytest.fixture
def cluster(shared_cluster):
    """Three candidates, no instances. The test leaves no instances and no running jobs."""
    yield shared_cluster
    left = [row[0] for row in shared_cluster.rows("gnt-instance", "name")]
    for name in left:  # the tests that follow shall not suffer from it
        shared_cluster.ok("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name)
    assert left == [], "the test left instances"


@pytest.fixture
def own_cluster():
    """For tests that stop daemons or change roles."""
    shell = make_cluster(3)
    yield shell
    destroy(os.path.dirname(shell.cluster.layout.directory))
