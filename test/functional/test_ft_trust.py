"""Keys and certificates of a real cluster are renewed while it works, and when its master dies in the middle."""

import os
import threading

import pytest
from functional.conftest import destroy, make_cluster
from functional.kit import wait_until, with_a_dying_master

from ganeti import paths
from ganeti.host import files, tls


@pytest.fixture(scope="module")
def shell():
    made = make_cluster(3)
    yield made
    destroy(os.path.dirname(made.cluster.layout.directory))


def _read(node, file):
    return files.read_text(node.paths.local(file)) or ""


def _certificates(shell):
    return [_read(node, file) for node in shell.nodes for file in (paths.NODE_CERT, paths.CA_CERT)]


def _same(shell, *wanted):
    return all(len({_read(node, file) for node in shell.nodes}) == 1 for file in wanted)


def test_everything_is_renewed_while_jobs_run(shell):
    before = _certificates(shell)
    stop, failures, done = threading.Event(), [], []

    def work():
        while not stop.is_set():
            answer = shell.cluster.call(shell.master, ("gnt-debug", "delay", "-n", "node2,node3", "0"))
            (failures if answer.returncode else done).append(answer.stderr)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        wait_until("jobs run", lambda: done or failures)
        shell.ok("gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate", "--new-rapi-certificate",
                 "--new-confd-hmac-key", "--new-cluster-domain-secret", "--new-spice-certificate")  # fmt: skip
        count = len(done)
        wait_until("jobs run", lambda: len(done) > count or failures)
    finally:
        stop.set()
        worker.join()
    assert failures == []
    assert not set(before) & set(_certificates(shell))
    assert _same(shell, paths.CA_CERT, paths.CA_KEY, *paths.SHARED_SECRETS.values())
    assert os.listdir(shell.master.paths.local(paths.RENEWAL_DIR)) == []
    shell.ok("gnt-cluster", "verify")


def test_options_that_do_not_fit_are_refused(shell):
    assert "exclude" in shell.fails(
        "gnt-cluster", "renew-crypto", "-f", "--new-rapi-certificate", "--rapi-certificate=/x"
    )
    assert "no option" in shell.fails("gnt-cluster", "renew-crypto", "-f")


RENEW = ("gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate")


def test_the_master_dies_in_the_middle(shell):
    """It comes back and the nodes still trust it; the same command brings it to its end."""
    deaths = 0
    for nth in range(4, 10):
        deaths += with_a_dying_master(shell, RENEW, nth)
        shell.ok("gnt-debug", "delay", "-n", "node2,node3", "0")
    assert deaths >= 3
    before = _certificates(shell)
    shell.ok(*RENEW)
    assert not set(before) & set(_certificates(shell))
    assert _same(shell, paths.CA_CERT, paths.CA_KEY)
    assert len(tls.split(_read(shell.master, paths.CA_CERT))) == 1
    shell.ok("gnt-cluster", "verify")


def test_a_node_that_was_away_is_added_again(shell):
    third = shell.nodes[2]
    shell.stop_daemon(third)
    assert "mark them offline" in shell.fails("gnt-cluster", "renew-crypto", "-f", "--new-node-certificates")
    shell.ok("gnt-node", "modify", "-f", "-O", "yes", "node3")
    shell.ok("gnt-cluster", "renew-crypto", "-f", "--new-cluster-certificate")
    shell.start_daemon(third)
    shell.ok("gnt-node", "add", "--readd", "--no-ssh-key-check", "node3")
    assert _same(shell, paths.CA_CERT, *paths.SHARED_SECRETS.values())
    shell.ok("gnt-cluster", "verify")
