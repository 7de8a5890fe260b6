"""A process that answers as many node daemons would, each at its own loopback address and with its own certificate."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web

from ganeti import paths
from ganeti.calls.node import HypervisorInfo, NodeInfo, NodeInfoReply, NodeVersion, StorageInfo, VersionReply
from ganeti.host import tls
from ganeti.model.objects import Node
from ganeti.model.types import Uuid
from ganeti.paths import Paths
from ganeti.rpc.client import Client
from ganeti.rpc.identity import Identity
from ganeti.wire import codec

PORT = 18119
READY = "ready"


@dataclass(frozen=True)
class Fleet:
    """Files in `directory`, made by `prepare`."""

    directory: str
    count: int

    def address(self, number: int) -> str:
        return f"127.119.{number // 250}.{number % 250 + 1}"

    def name(self, number: int) -> str:
        return f"sim{number}.bench.example"

    def uuid(self, number: int) -> Uuid:
        return Uuid(f"00000119-0000-4000-8000-{number:012x}")

    def bundle(self, number: int) -> str:
        return f"{self.directory}/{number}.pem"

    @property
    def authority(self) -> str:
        return f"{self.directory}/authority.pem"

    def prepare(self) -> None:
        """Certificates for the nodes, and for number `count`, which is the master."""
        now = time.time()
        authority = tls.make_authority("bench", now=now)
        with open(self.authority, "w", encoding="ascii") as file:
            file.write(authority.certificate)
        for number in range(self.count + 1):
            pair = tls.make_node(
                authority, name=self.name(number), uuid=self.uuid(number), address=self.address(number), now=now
            )
            with open(self.bundle(number), "w", encoding="ascii") as file:
                file.write(pair.key + pair.certificate)

    def nodes(self) -> dict[Uuid, Node]:
        made = [
            Node(
                uuid=self.uuid(number), name=self.name(number), primary_ip=self.address(number),
                secondary_ip=self.address(number), group=Uuid("group"),
            )
            for number in range(self.count)
        ]  # fmt: skip
        return {node.uuid: node for node in made}

    def client(self) -> Client:
        """That of the master."""
        where = Paths(f"{self.directory}/master", self.name(self.count))
        for file, source in ((paths.NODE_CERT, self.bundle(self.count)), (paths.CA_CERT, self.authority)):
            local = where.local(file)
            os.makedirs(os.path.dirname(local), exist_ok=True)
            if not os.path.exists(local):
                os.symlink(source, local)
        me = Identity(
            cluster="bench", node=self.name(self.count), uuid=self.uuid(self.count), address=self.address(self.count)
        )
        return Client(where, me, nodes=self.nodes().get, term=lambda: 1, port=PORT)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """All of them, in one process."""
        command = (sys.executable, os.path.realpath(__file__), self.directory, str(self.count))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if process.stdout.readline().strip() != READY:
                    raise RuntimeError("the simulated nodes do not start")
                yield
            finally:
                process.terminate()


def _answer(fleet: Fleet, number: int, call: str) -> object:
    if call == NodeVersion().call_name:
        return VersionReply(
            software="0", protocol=0, node=fleet.name(number), uuid=fleet.uuid(number), cluster="bench",
            master=fleet.name(fleet.count), term=1, boot_id="boot", time=time.time(),
        )  # fmt: skip
    if call == NodeInfo().call_name:
        return NodeInfoReply(
            boot_id="boot",
            hypervisors={"fake": HypervisorInfo(memory_total=65536, memory_free=number, cpu_total=16)},
            storage={"file": StorageInfo(total=1 << 20, free=1 << 19)},
        )
    raise ValueError(f"simulated nodes do not answer {call}")


def _application(fleet: Fleet, number: int) -> web.Application:
    async def respond(request: web.Request) -> web.Response:
        untrusted = codec.loads(await request.read())
        result = _answer(fleet, number, str(untrusted["call"]["call"]))
        return web.Response(body=codec.encode({"ok": True, "result": result}), content_type="application/json")

    application = web.Application()
    application.router.add_post("/call", respond)
    return application


async def _serve(fleet: Fleet) -> None:
    for number in range(fleet.count):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(fleet.bundle(number))
        context.load_verify_locations(fleet.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        runner = web.AppRunner(_application(fleet, number), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, fleet.address(number), PORT, ssl_context=context).start()
    print(READY, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Fleet(sys.argv[1], int(sys.argv[2]))))
