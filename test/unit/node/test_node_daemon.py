"""A whole node daemon in this process, spoken to over TLS; and its launcher as a process."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ganeti import errors, paths, settings
from ganeti.calls.catalogue import REGISTRY
from ganeti.calls.node import (
    AddressProbe,
    HooksRun,
    NodeInfo,
    NodeLeave,
    NodeVerify,
    NodeVersion,
    SsconfWrite,
    TermPush,
    TermReply,
    TrustPush,
)
from ganeti.calls.node import TestDelay as Delay
from ganeti.host import files, tls
from ganeti.host.partition import PARTITION_FILE
from ganeti.model.objects import Node
from ganeti.model.types import RequestId, Uuid
from ganeti.node import leave
from ganeti.node.catalogue import HANDLERS
from ganeti.node.daemon import NodeDaemon, Options
from ganeti.node.verify import MAX_STRAYS
from ganeti.paths import Paths
from ganeti.rpc import credentials, trust
from ganeti.rpc.client import Client
from ganeti.rpc.credentials import Credentials
from ganeti.rpc.identity import Identity
from ganeti.rpc.trust import Trust

AUTHORITY = tls.make_authority("c.example.com", now=time.time())
ME = Identity(cluster="c.example.com", node="node1.example.com", uuid="uuid-1", address="127.0.0.1")
PAIR = tls.make_node(AUTHORITY, name=ME.node, uuid=ME.uuid, address=ME.address, now=time.time())
DIGEST = tls.digest(PAIR.certificate)
NODE = Node(uuid=Uuid(ME.uuid), name=ME.node, primary_ip=ME.address, secondary_ip=ME.address, group=Uuid("g"))


def joined(root: str) -> Paths:
    where = Paths(root, ME.node)
    credentials.install(
        where,
        Credentials(
            identity=ME,
            authority=AUTHORITY.certificate,
            bundle=PAIR.bundle,
            trust=Trust(term=1, serial=1, digests={DIGEST: ME.node}),
            term=1,
        ),
    )
    return where


@pytest.fixture
def where(tmp_path) -> Paths:
    return joined(str(tmp_path / "root"))


@pytest.fixture
def daemon(where) -> Iterator[NodeDaemon]:
    made = NodeDaemon(where, ME, Options(port=0))
    made.start()
    yield made
    made.stop(limit_s=2.0)


def ask(where: Paths, port: int, *calls, term: int = 1):
    """Replies or errors of these calls, one after the other; the daemon's own certificate is the master's too."""

    async def main():
        client = Client(where, ME, nodes=lambda uuid: NODE, term=lambda: term, port=port, patience_s=1.0)
        found = []
        try:
            for call in calls:
                try:
                    found.append(await client.one(NODE.uuid, call))
                except errors.RpcError as err:
                    found.append(err)
        finally:
            await client.close()
        return found

    return asyncio.run(main())


def test_every_declared_call_has_a_handler():
    assert {cls.__name__ for cls in REGISTRY.values()} == {cls.__name__ for cls in HANDLERS}


def test_version_says_who_answers(where, daemon):
    (reply,) = ask(where, daemon.port, NodeVersion(), term=5)
    assert (reply.node, reply.uuid, reply.cluster, reply.term, reply.master) == (ME.node, ME.uuid, ME.cluster, 5, "")
    assert reply.boot_id


def test_term_push_is_remembered_and_lower_terms_are_refused(where, daemon):
    assert ask(where, daemon.port, TermPush(master="m"), term=9) == [TermReply(9)]
    (error,) = ask(where, daemon.port, NodeVersion(), term=8)
    assert error.kind == "stale_term"


def test_trust_push_replaces_the_list_but_never_without_its_sender(where, daemon):
    other = "a" * 64
    calls = (
        TrustPush(serial=2, digests={DIGEST: ME.node, other: "x"}),
        TrustPush(serial=3, digests={other: "x"}),
        TrustPush(serial=1, digests={DIGEST: ME.node}),
    )
    taken, without_me, older = ask(where, daemon.port, *calls)
    assert taken is None
    assert "lacks the certificate of node1.example.com" in str(without_me)
    assert "is older than" in str(older)
    assert trust.read(where) == Trust(term=1, serial=2, digests={DIGEST: ME.node, other: "x"})


def test_trust_file_changed_on_disk_is_taken(where, daemon):
    trust.store(where, Trust(term=1, serial=7, digests={"a" * 64: "x"}))
    limit = time.monotonic() + 10
    while (answer := ask(where, daemon.port, NodeVersion())[0]) and time.monotonic() < limit:
        if isinstance(answer, errors.RpcError):
            break
    assert isinstance(answer, errors.RpcError)
    assert answer.kind == "refused"


def test_ssconf_is_written_over_rpc(where, daemon):
    call = SsconfWrite(files={"master_node": "node7\n"}, serial=4)
    count, version = ask(where, daemon.port, call, NodeVersion())
    assert (count, version.master) == (1, "node7")


def test_delay_runs_as_a_long_call_and_ends(where, daemon):
    assert ask(where, daemon.port, Delay(duration=0.001, request=RequestId("d"))) == [None]


def test_info_tells_what_there_is_and_names_what_is_not(where, daemon):
    (reply,) = ask(where, daemon.port, NodeInfo(hypervisors=("fake", "nope"), templates=("diskless", "rbd")))
    assert set(reply.hypervisors) == {"fake"}
    assert set(reply.storage) == {"diskless"}
    assert reply.errors == ("no hypervisor 'nope' on this node", "no storage for disk template 'rbd' on this node")


def test_verify_tells_hashes_positions_and_who_cannot_be_reached(where, daemon):
    logical = paths.CA_CERT.path
    wanted = NodeVerify(
        files=(logical, logical + ".missing"),
        templates=("diskless",),
        reach={"n2": "127.0.0.99"},
        # where nobody listens: a host that refuses is there, one whose route leads nowhere is not
        reach_secondary={"n2": "127.0.0.99", "n3": "240.0.0.1"},
        secondary_ip="127.0.0.98",
    )
    (reply,) = ask(where, daemon.port, wanted)
    assert list(reply.files) == [logical]
    assert reply.trust_serial == 1
    assert reply.certificate_ends == tls.ends(PAIR.certificate)
    assert reply.state_serial == 0
    assert reply.unreachable.keys() == {"n2"}
    assert reply.unreachable_secondary.keys() == {"n3"}
    assert reply.storage == {"diskless": ""}


def test_verify_tells_what_the_host_lacks_and_what_lies_among_the_volumes(where, daemon):
    home = where.local(settings.FILE_STORAGE_DIR)
    os.makedirs(home)
    for number in range(MAX_STRAYS + 3):
        with open(f"{home}/note{number:02}", "w", encoding="ascii"):
            pass
    program = where.local(f"{settings.IALLOCATOR_SEARCH_PATH[0]}/mine")
    os.makedirs(os.path.dirname(program))
    with open(program, "w", encoding="ascii") as file:
        file.write("#!/bin/sh\n")
    os.chmod(program, 0o755)
    wanted = NodeVerify(
        devices=("lo", "nope0", "../net/lo"), allocators=("mine", "nope", "../mine"), strays_of=("file", "diskless")
    )
    (reply,) = ask(where, daemon.port, wanted)
    assert reply.missing_devices == ("nope0", "../net/lo")
    assert reply.missing_allocators == ("nope", "../mine")
    assert reply.strays[0] == f"{settings.FILE_STORAGE_DIR}/note00"
    assert (len(reply.strays), reply.strays_more) == (MAX_STRAYS, 3)


@pytest.mark.parametrize("path", ["/etc/shadow", "/var/lib/ganeti/../../../etc/shadow"])
def test_verify_hashes_no_other_files(where, daemon, path):
    (error,) = ask(where, daemon.port, NodeVerify(files=(path,)))
    assert isinstance(error, errors.RpcError)


def test_address_probe_tells_live_ports(where, daemon):
    assert ask(where, daemon.port, AddressProbe(address=ME.address, port=daemon.port)) == [True]


def test_hooks_run_over_rpc_without_directory_are_none(where, daemon):
    call = HooksRun(path="instance-add", phase="pre", environment={}, request=RequestId("h"))
    assert ask(where, daemon.port, call) == [()]


def test_leave_removes_membership_and_ends_the_daemon(where, daemon):
    calls = (SsconfWrite(files={"master_node": "x\n"}, serial=1), NodeLeave(request=RequestId("l")))
    assert ask(where, daemon.port, *calls) == [1, None]
    assert daemon.ending.wait(10)
    left = set(os.listdir(where.local(paths.DATA_DIR)))
    assert not left & {"identity.json", "server.pem", "ca.pem", "trust.json", "ssconf_master_node"}


def test_end_of_a_daemon_removes_its_own_files_only_when_the_node_has_left(where, daemon):
    kept = [where.local(directory) for directory in (paths.STATE_DIR, paths.NODE_DIR)]
    files.make_directory(where, paths.STATE_DIR)
    leave.finish(where)
    assert [path for path in kept if not os.path.isdir(path)] == [], "it is a member: this was an ordinary end"
    copy = f"{where.local(paths.BACKUP_DIR)}/before.tar"
    files.make_directory(where, paths.BACKUP_DIR)
    files.write_atomic(copy, b"keys")
    assert ask(where, daemon.port, NodeLeave(request=RequestId("l"))) == [None]
    assert daemon.ending.wait(10)
    assert not os.path.exists(copy)
    daemon.stop()
    for _ in range(2):
        leave.finish(where)
        assert [path for path in kept if os.path.exists(path)] == []


def test_cut_off_peer_gets_no_answer(where, daemon):
    files.write_atomic(where.local("/etc/ganeti/partition"), b"127.0.0.1\n")
    assert PARTITION_FILE == "/etc/ganeti/partition"
    (error,) = ask(where, daemon.port, NodeVersion())
    assert (error.kind, "cut off" in str(error)) == ("unreachable", True)
    elsewhere = joined(where.root + "-2")
    (lost,) = ask(elsewhere, daemon.port, NodeVersion())
    assert lost.kind == "timeout"
    os.unlink(where.local(PARTITION_FILE))
    assert ask(elsewhere, daemon.port, NodeVersion())[0].node == ME.node


def test_missing_trust_file_does_not_start(where):
    os.unlink(where.local(paths.TRUST_FILE))
    with pytest.raises(errors.PrereqError, match=r"trust\.json is missing"):
        NodeDaemon(where, ME, Options(port=0))


# the program itself


def launch(where: Paths, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-c", "import sys; from ganeti.node.daemon import main; sys.exit(main())", *arguments)
    environment = {**os.environ, **where.environment()}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def free_port() -> int:
    with socket.create_server((ME.address, 0)) as free:
        return int(free.getsockname()[1])


def ends(pid: int) -> bool:
    """Waits for the end of a process that is not our child."""
    handle = os.pidfd_open(pid)
    try:
        return bool(select.select([handle], [], [], 20)[0])
    finally:
        os.close(handle)


def test_program_without_cluster_exits_with_5(tmp_path):
    done = launch(Paths(str(tmp_path), "node1"))
    assert done.returncode == 5
    assert "is in no cluster" in done.stderr


def test_program_daemonizes_answers_logs_and_ends_on_sigterm(where):
    port = free_port()
    done = launch(where, "-p", str(port))
    assert (done.returncode, done.stderr) == (0, "")
    with open(where.local(paths.pid_file("ganeti-noded")), encoding="ascii") as file:
        pid = int(file.read())
    handle = os.pidfd_open(pid)
    try:
        assert ask(where, port, NodeVersion())[0].node == ME.node  # ready means that it answers
        second = launch(where, "-p", str(port))
        assert second.returncode == 1
        assert f"is running already, as process {pid}" in second.stderr
        signal.pidfd_send_signal(handle, signal.SIGHUP)
    finally:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        os.close(handle)
    assert ends_or_gone(pid)
    assert not os.path.exists(where.local(paths.pid_file("ganeti-noded")))
    with open(where.local(paths.log_file("node-daemon")), encoding="utf-8") as file:
        log = file.read()
    assert f"ganeti-noded pid={pid} INFO node node1.example.com of cluster c.example.com answers" in log
    assert "ended with status 0" in log


def ends_or_gone(pid: int) -> bool:
    try:
        return ends(pid)
    except ProcessLookupError:
        return True


def test_program_whose_port_is_taken_tells_its_caller(where):
    with socket.create_server((ME.address, 0)) as taken:
        done = launch(where, "-p", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr


def test_long_call_survives_kill_9_of_the_daemon(where):
    port = free_port()

    def start() -> int:
        assert launch(where, "-p", str(port)).returncode == 0
        with open(where.local(paths.pid_file("ganeti-noded")), encoding="ascii") as file:
            return os.pidfd_open(int(file.read()))

    def kill(handle: int, number: signal.Signals) -> None:
        signal.pidfd_send_signal(handle, number)
        assert select.select([handle], [], [], 20)[0]
        os.close(handle)

    def is_begun() -> bool:
        with closing(sqlite3.connect(f"file:{where.local(paths.NODE_DB)}?mode=ro", uri=True)) as table:
            return table.execute("SELECT count(*) FROM request").fetchone() == (1,)

    async def main() -> object:
        client = Client(where, ME, nodes=lambda uuid: NODE, term=lambda: 1, port=port)
        handle = await asyncio.to_thread(start)
        try:
            running = asyncio.create_task(client.one(NODE.uuid, Delay(duration=1.0, request=RequestId("d"))))
            while not is_begun():
                await asyncio.sleep(0.01)
            await asyncio.to_thread(kill, handle, signal.SIGKILL)
            handle = await asyncio.to_thread(start)
            return await running
        finally:
            kill(handle, signal.SIGTERM)
            await client.close()

    assert asyncio.run(main()) is None
    with open(where.local(paths.log_file("node-daemon")), encoding="utf-8") as file:
        assert "1 calls were interrupted" in file.read()
