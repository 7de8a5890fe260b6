"""A real TLS server with a few calls of its own, on a loopback address, in temporary directories."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ganeti import errors, paths
from ganeti.calls.base import Call
from ganeti.host import files, tls
from ganeti.host.clock import SystemClock
from ganeti.model.objects import Node
from ganeti.model.types import Uuid
from ganeti.paths import Paths
from ganeti.rpc import credentials
from ganeti.rpc.client import Client
from ganeti.rpc.connector import DEFAULT_LIMITS, Limits
from ganeti.rpc.credentials import Credentials
from ganeti.rpc.dispatch import Dispatcher, Peer
from ganeti.rpc.identity import Identity
from ganeti.rpc.pools import Pools
from ganeti.rpc.requests import Requests
from ganeti.rpc.server import NodeServer, TlsAdapter
from ganeti.rpc.term import TermKeeper
from ganeti.rpc.trust import Trust, TrustFile

NOW = time.time()
#: making keys takes a while: one authority for all tests
AUTHORITY = tls.make_authority("cluster.example.com", now=NOW)
OTHER_AUTHORITY = tls.make_authority("cluster.example.com", now=NOW)
SERVER = Identity(cluster="cluster.example.com", node="node1.example.com", uuid="uuid-1", address="127.0.0.1")
MASTER = Identity(cluster="cluster.example.com", node="node2.example.com", uuid="uuid-2", address="127.0.0.1")


def certificate(who: Identity, authority: tls.KeyPair = AUTHORITY, *, now: float = NOW) -> tls.KeyPair:
    return tls.make_node(authority, name=who.node, uuid=who.uuid, address=who.address, now=now)


SERVER_PAIR, MASTER_PAIR = certificate(SERVER), certificate(MASTER)
TRUST = Trust(term=1, serial=1, digests={tls.digest(MASTER_PAIR.certificate): MASTER.node})


class Execution:
    def __init__(self, term: int, peer: Peer) -> None:
        self.term, self.peer = term, peer
        self.stop = threading.Event()
        self.progress: dict[str, float | str] = {}


class Gate:
    """Handlers announce themselves and wait here, so that tests need no sleep."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()


class World:
    """One node daemon's transport with handlers given by the test."""

    def __init__(self, root: str, *, pools: Pools | None = None, max_body: int = 1 << 20) -> None:
        self.paths = Paths(root, SERVER.node)
        credentials.install(
            self.paths,
            Credentials(
                identity=SERVER, authority=AUTHORITY.certificate, bundle=SERVER_PAIR.bundle, trust=TRUST, term=1
            ),
        )
        self.handlers: dict[type[Call[Any]], Callable[[Any, Execution], Any]] = {}
        self.terms = TermKeeper(self.paths)
        self.trust = TrustFile(self.paths)
        self.requests = Requests(self.paths.local(paths.NODE_DB), SystemClock(), wait_s=5.0)
        self.dispatcher = Dispatcher(
            handle=lambda call, execution: self.handlers[type(call)](call, execution),
            new_execution=Execution,
            terms=self.terms,
            requests=self.requests,
            pools=pools or Pools(),
        )
        self.adapter = TlsAdapter(
            lambda: tls.server_context(
                self.paths.local(paths.NODE_CERT), self.paths.local(paths.CA_CERT), self.trust.accepts
            ),
            handshake_s=2.0,
        )
        self.server = NodeServer(
            SERVER.address,
            0,
            adapter=self.adapter,
            answer=self.dispatcher.answer,
            accepts=self.trust.accepts,
            threads=self.dispatcher.pools.threads,
            max_body=max_body,
        )
        self.server.start()

    @property
    def node(self) -> Node:
        return Node(
            uuid=Uuid(SERVER.uuid), name=SERVER.node, primary_ip=SERVER.address, secondary_ip="", group=Uuid("g")
        )

    def close(self) -> None:
        self.server.stop(limit_s=2.0)
        self.requests.close()


@pytest.fixture
def world(tmp_path: Any) -> Iterator[World]:
    made = World(str(tmp_path / "server"))
    yield made
    made.close()


@pytest.fixture
def new_client(tmp_path: Any, world: World) -> Callable[..., Client]:
    """Makes a client with its own certificate files; `nodes` is the server alone unless told otherwise."""
    count = 0

    def make(
        pair: tls.KeyPair = MASTER_PAIR,
        authority: str = AUTHORITY.certificate,
        *,
        term: Callable[[], int] = lambda: 1,
        node: Node | None = None,
        port: int | None = None,
        patience_s: float = 5.0,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Client:
        nonlocal count
        count += 1
        where = Paths(str(tmp_path / f"client{count}"), MASTER.node)
        files.make_directory(where, paths.DATA_DIR)
        files.write(where, paths.NODE_CERT, pair.bundle.encode())
        files.write(where, paths.CA_CERT, authority.encode())
        wanted = node or world.node
        return Client(
            where,
            MASTER,
            nodes=lambda uuid: wanted if uuid == wanted.uuid else None,
            term=term,
            port=world.server.port if port is None else port,
            patience_s=patience_s,
            limits=limits,
        )

    return make


def fails(text: str) -> Callable[[Any, Any], Any]:
    def handler(call: Any, execution: Any) -> Any:
        raise errors.StorageError(text)

    return handler
