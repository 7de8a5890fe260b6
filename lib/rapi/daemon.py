"""The daemon: listens, keeps its certificate and users fresh, ends when this node is not the master any more."""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import pwd
import signal
import ssl
import time
from collections.abc import Callable
from functools import partial

import msgspec
from aiohttp import web

from ganeti import errors, paths, settings
from ganeti.host import files, notify, tls
from ganeti.host.watch import FileWatcher
from ganeti.luxi import client as luxi_client
from ganeti.luxi.aio import AsyncClient
from ganeti.paths import Paths
from ganeti.rapi import access, catalogue
from ganeti.rapi.listening import Listener, listening_sockets
from ganeti.rapi.measure import Measures
from ganeti.rapi.serving import Limits, Service
from ganeti.rapi.users import Users
from ganeti.rpc import identity
from ganeti.rpc.identity import Identity

log = logging.getLogger(__name__)

EXIT_NOT_MASTER = 11
#: for answers that are under way at the end
_GRACE_S = 5.0


class Options(msgspec.Struct, frozen=True, kw_only=True):
    address: str = ""  # empty: all addresses; of a virtual node its own
    interface: str = ""  # of the network; empty: all
    port: int = settings.RAPI_PORT
    use_tls: bool = True
    certificate: str = ""  # local path; empty: the cluster's
    key: str = ""
    require_authentication: bool = False
    limits: Limits = Limits()


class NotMasterError(errors.PrereqError):
    exit_status = EXIT_NOT_MASTER


def is_master(where: Paths, me: Identity) -> bool:
    return (files.read_text(where.local(paths.ssconf("master_node"))) or "").strip() == me.node


def server_context(certificate: str, key: str = "") -> ssl.SSLContext:
    """Raises PrereqError(environment_error) when the files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # forward secrecy and authenticated encryption only; TLS 1.3 has nothing else
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    try:
        text = files.read_text(certificate) or ""  # it says no when that is a pipe, where the next would wait
        context.load_cert_chain(certificate, key or None)
    except OSError as err:  # ssl.SSLError is one
        raise errors.PrereqError(
            "environment_error",
            f"cannot use the certificate {certificate}: {err}",
            hint="gnt-cluster renew-crypto --new-rapi-certificate makes a new one; it has a key and a certificate",
        ) from err
    if tls.ends(text) < time.time():
        log.warning("the certificate %s has expired: clients that check it will refuse it", certificate)


def drop_privileges(where: Paths) -> None:
    """Go on as the account of this daemon, where there is one. Raises PrereqError when it does not exist."""
    if where.is_virtual or os.geteuid() != 0 or settings.RAPI_USER == "root":
        return
    try:
        account = pwd.getpwnam(settings.RAPI_USER)
        daemons = grp.getgrnam(settings.DAEMONS_GROUP).gr_gid
    except KeyError as err:
        raise errors.PrereqError("environment_error", f"account {err} does not exist") from err
    os.initgroups(account.pw_name, daemons)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def run(where: Paths, options: Options, ready: Callable[[], None]) -> int:
    """The daemon's main part, in the process that stays. Raises PrereqError; NotMasterError away from the master."""
    me = identity.load(where)
    if me is None:
        raise errors.PrereqError("environment_error", "this node is in no cluster", hint="gnt-cluster init creates one")
    if not is_master(where, me):
        raise NotMasterError("wrong_state", "this node is not the master; the REST interface is there only")
    access_log = access.open_log(where)
    reopen = signal.getsignal(signal.SIGHUP)

    def reopen_both(number: int, frame: object) -> None:
        access_log.reopen()
        if callable(reopen):
            reopen(number, None)

    signal.signal(signal.SIGHUP, reopen_both)
    drop_privileges(where)
    return asyncio.run(_Daemon(where, me, options).serve(ready))


class _Daemon:
    def __init__(self, where: Paths, me: Identity, options: Options) -> None:
        self._paths, self._me, self._options = where, me, options
        self._certificate = options.certificate or where.local(paths.RAPI_CERT)
        self._users_file = where.local(paths.RAPI_USERS)
        self._master_file = where.local(paths.ssconf("master_node"))
        self._status = 0
        self._context: ssl.SSLContext | None = None

    async def serve(self, ready: Callable[[], None]) -> int:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if self._options.use_tls:
            self._context = server_context(self._certificate, self._options.key)
        luxi = AsyncClient(luxi_client.default_address(self._paths, os.environ))
        users = Users(
            self._users_file,
            require_authentication=self._options.require_authentication,
            monotonic=time.monotonic,
        )
        measures = Measures()
        service = Service(catalogue.table(measures), luxi, users, limits=self._options.limits, measures=measures)
        server = service.server()

        def changed(found: frozenset[str]) -> None:
            loop.call_soon_threadsafe(self._reload, found, users, stop)

        watcher = FileWatcher([self._users_file, self._certificate, self._master_file], changed)
        listening = self._listen(service, server)
        listening.start()
        watcher.start()
        background = [
            asyncio.create_task(service.sweep(server), name="sweep"),
            asyncio.create_task(notify.keep_telling(), name="service manager"),
        ]
        ready()
        log.info("answers on port %s", self._options.port)
        try:
            await stop.wait()
        finally:
            watcher.stop()
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await listening.close()
            service.ending.set()
            server.pre_shutdown()
            await server.shutdown(_GRACE_S)
            luxi.close()
        return self._status

    def _listen(self, service: Service, server: web.Server) -> Listener:
        address = self._options.address or (self._me.address if self._paths.is_virtual else None)
        try:
            sockets = listening_sockets(address, self._options.port, self._options.interface)
        except OSError as err:
            raise errors.PrereqError(
                "environment_error",
                f"cannot listen on {address or self._options.interface or 'any address'}, port {self._options.port}:"
                f" {err.strerror or err}",
                hint="another program may have the port; -p chooses another one",
            ) from err
        return Listener(
            sockets,
            server,
            partial(service.protocol, server),
            partial(service.drop_idle, server),
            most=self._options.limits.connections,
            context=self._context,
        )

    def _reload(self, found: frozenset[str], users: Users, stop: asyncio.Event) -> None:
        if self._users_file in found:
            users.load()
        if self._certificate in found and self._context is not None:
            try:
                load_certificate(self._context, self._certificate, self._options.key)
                log.info("the certificate was read anew")
            except errors.PrereqError as err:
                log.error("%s; the old one stays in use", err)
        if self._master_file in found and not is_master(self._paths, self._me):
            log.warning("this node is not the master any more; stopping")
            self._status = EXIT_NOT_MASTER
            stop.set()
