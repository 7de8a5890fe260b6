"""ganeti-noded: answers node calls, on every node."""

from __future__ import annotations

import logging
import optparse
import signal
import sys
import time
from typing import Any

import msgspec

from ganeti import errors, paths, settings
from ganeti.calls.base import Call
from ganeti.host import files, notify, partition, tls
from ganeti.host.clock import SystemClock
from ganeti.host.daemon import Ready, option_parser, run_daemon
from ganeti.host.run import HostRunner
from ganeti.host.watch import FileWatcher
from ganeti.hypervisor import registry as hypervisor_registry
from ganeti.node import leave, scripts
from ganeti.node.base import Context, NodeEnv
from ganeti.node.catalogue import HANDLERS
from ganeti.node.confd import ConfdWriter
from ganeti.node.ending import Ending
from ganeti.paths import Paths
from ganeti.rpc import identity
from ganeti.rpc.dispatch import Dispatcher
from ganeti.rpc.identity import Identity
from ganeti.rpc.pools import Pools
from ganeti.rpc.requests import Requests
from ganeti.rpc.server import NodeServer, TlsAdapter
from ganeti.rpc.term import TermKeeper
from ganeti.rpc.trust import TrustFile
from ganeti.storage import registry as storage_registry

log = logging.getLogger(__name__)

NAME = "ganeti-noded"
EXIT_NO_CLUSTER = 5
#: running calls may go on so long when the daemon shall end
STOP_S = 10.0
#: the server's loop turns twice a second; longer without a turn, and it hangs
SILENT_S = 10.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    bind: str = ""  # empty: the node's own address
    port: int = settings.NODED_PORT


class NodeDaemon:
    """All parts of a node daemon, put together. `start`, wait for `ending`, `stop`."""

    def __init__(self, where: Paths, me: Identity, options: Options) -> None:
        """Raises GanetiError when a file that it lives by is missing or broken."""
        self._paths = where
        for directory in paths.DIRECTORIES:
            files.make_directory(where, directory)
        clock, runner = SystemClock(), HostRunner(where)
        self.ending = Ending()
        self._trust = TrustFile(where)
        scripts.end_all(where)
        self._requests = Requests(where.local(paths.NODE_DB), clock)
        terms = TermKeeper(where)
        self._env = NodeEnv(
            paths=where,
            runner=runner,
            clock=clock,
            hypervisors=hypervisor_registry.drivers(where, runner, clock),
            storage=storage_registry.drivers(where, runner, clock),
            services={
                "identity": me,
                "terms": terms,
                "trust": self._trust,
                "requests": self._requests,
                "ending": self.ending,
            },
        )
        self._pools = Pools()
        dispatcher = Dispatcher(
            handle=self._handle, new_execution=Context, terms=terms, requests=self._requests, pools=self._pools
        )
        bundle, authority = where.local(paths.NODE_CERT), where.local(paths.CA_CERT)
        self._adapter = TlsAdapter(lambda: tls.server_context(bundle, authority, self._trust.accepts))
        # for handlers that renew certificates: to be used at once
        self._env.services["adapter"] = self._adapter
        self._server = NodeServer(
            options.bind or me.address,
            options.port,
            adapter=self._adapter,
            answer=dispatcher.answer,
            accepts=self._trust.accepts,
            threads=self._pools.threads,
            is_cut_off=lambda address: partition.blocked(where, address),
        )
        self._confd = ConfdWriter(where, me.uuid)
        self._watcher = FileWatcher((where.local(paths.TRUST_FILE), bundle, authority), self._reload)

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def is_alive(self) -> bool:
        """Whether new connections are taken: its loop has turned lately."""
        return self._server.idle_s() < SILENT_S

    def start(self) -> None:
        """Serve in threads. Raises PrereqError(environment_error) when the address cannot be had."""
        self._server.start()
        self._watcher.start()
        self._confd.start()

    def stop(self, *, limit_s: float = STOP_S) -> None:
        """Take no more calls and give the running ones that many seconds; what still runs then is interrupted."""
        deadline = time.monotonic() + limit_s
        self._watcher.stop()
        self._confd.stop()
        self._server.stop(limit_s=limit_s)
        while self._requests.running() and time.monotonic() < deadline:
            time.sleep(0.05)
        left = self._requests.running()
        if left:
            log.warning("%d calls did not end within %g s", left, limit_s)
            self._requests.stop_all()
        for part in self._env.services.values():
            close = getattr(part, "close", None)
            if close is not None:
                close()

    def _handle(self, call: Call[Any], execution: Context) -> Any:
        handler = HANDLERS.get(type(call))
        if handler is None:
            raise errors.NodeFailure(f"this node daemon does not serve {call.call_name}")
        return handler(call, self._env, execution)

    def _reload(self, changed: frozenset[str]) -> None:
        try:
            if self._trust.reload():
                log.info("the trust file changed")
            if changed - {self._paths.local(paths.TRUST_FILE)}:
                self._adapter.reload()
                log.info("new certificate files are in use")
        except errors.GanetiError as err:
            log.error("%s; going on with what was there", err)


def serve(where: Paths, me: Identity, options: Options, ready: Ready) -> int:
    """Until SIGTERM, or until this node has left its cluster."""
    daemon = NodeDaemon(where, me, options)
    daemon.ending.set_on(signal.SIGTERM, signal.SIGINT)
    daemon.start()
    log.info("node %s of cluster %s answers on port %d", me.node, me.cluster, daemon.port)
    ready()
    interval = notify.interval_s()
    while not daemon.ending.wait(interval):
        if daemon.is_alive:
            notify.tell(notify.ALIVE)
        else:
            log.error("no connection is taken any more: waiting for the service manager to start another daemon")
    daemon.stop()
    leave.finish(where)
    return 0


def make_parser() -> optparse.OptionParser:
    return option_parser(
        NAME,
        "The node daemon: does on this node what the master of its cluster asks for.",
        usage="%prog [-f] [-d] [-b ADDRESS] [-p PORT]",
        port=settings.NODED_PORT,
    )


def main(argv: list[str] | None = None) -> int:
    parser = make_parser()
    chosen, arguments = parser.parse_args(argv)
    if arguments:
        parser.error("takes no arguments")
    where = Paths.from_environment()
    options = Options(bind=chosen.bind, port=chosen.port)
    try:
        me = identity.load(where)
        if me is None:
            sys.stderr.write(f"{NAME}: this node is in no cluster ({where.local(paths.IDENTITY)} is missing)\n")
            return EXIT_NO_CLUSTER
        return run_daemon(
            NAME,
            "node-daemon",
            where,
            lambda ready: serve(where, me, options, ready),
            foreground=chosen.foreground,
            debug=chosen.debug,
        )
    except errors.GanetiError as err:
        sys.stderr.write(f"{NAME}: {err}\n")
        return err.exit_status
