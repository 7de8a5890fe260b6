"""What running jobs have taken before it stands in the configuration: MACs, addresses, ports, memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from ganeti import errors
from ganeti.logic.capacity import Promise
from ganeti.model import pool
from ganeti.model.config import Config
from ganeti.model.disks import MINORS, Mirror, used_minors
from ganeti.model.objects import Disk
from ganeti.model.types import JobId, MiB, Uuid

PORTS = range(11000, 15000)


class Reservations:
    """Belongs to the loop. Each reservation ends with its job's opcode."""

    def __init__(
        self,
        config: Callable[[], Config],
        rng: random.Random,
        owed: Callable[[Uuid | None], Iterable[Disk]] = lambda node: (),
    ) -> None:
        """`owed` tells the mirrors that a node, or any, still has to remove."""
        self._config = config
        self._owed = owed
        self._minors: dict[tuple[Uuid, int], JobId] = {}
        self._rng = rng
        self._macs: dict[str, JobId] = {}
        self._ports: dict[int, JobId] = {}
        self._ips: dict[tuple[Uuid, str], JobId] = {}  # by network and address
        # a check that is repeated promises the same again, in place of what it had
        self._promises: dict[JobId, dict[tuple[Uuid, str], Promise]] = {}

    def new_mac(self, job: JobId, prefix: str) -> str:
        used = self._config().macs
        for _ in range(1000):
            mac = prefix + "".join(f":{self._rng.randrange(256):02x}" for _ in range(3))
            if mac not in used and mac not in self._macs:
                self._macs[mac] = job
                return mac
        raise errors.PrereqError(
            "insufficient_resources", f"no free MAC address below {prefix}", hint="set another mac-prefix"
        )

    def mac(self, job: JobId, mac: str) -> None:
        if mac in self._config().macs or self._macs.get(mac, job) != job:
            raise errors.PrereqError("resource_not_unique", f"MAC address {mac} is in use")
        self._macs[mac] = job

    def new_port(self, job: JobId) -> int:
        used = {*self._config().ports, *(Mirror.of(disk).port for disk in self._owed(None))}
        for port in PORTS:
            if port not in used and port not in self._ports:
                self._ports[port] = job
                return port
        raise errors.PrereqError("insufficient_resources", f"all ports from {PORTS[0]} to {PORTS[-1]} are in use")

    def new_minor(self, job: JobId, node: Uuid) -> int:
        config = self._config()
        used = used_minors(config, node, self._owed(node))
        for minor in MINORS:
            if minor not in used and (node, minor) not in self._minors:
                self._minors[node, minor] = job
                return minor
        raise errors.PrereqError(
            "insufficient_resources", f"all {len(MINORS)} DRBD minors of node {config.nodes[node].name} are in use"
        )

    def new_ip(self, job: JobId, network: Uuid) -> str:
        config = self._config()
        found = config.networks[network]
        promised = {ip for (of, ip) in self._ips if of == network}
        ip = pool.first_free(config, found, promised)
        if ip is None:
            raise errors.PrereqError(
                "insufficient_resources", f"all addresses of network {found.name} ({found.network}) are in use"
            )
        self._ips[network, ip] = job
        return ip

    def ip(self, job: JobId, network: Uuid, ip: str, *, from_outside: bool) -> None:
        config = self._config()
        problem = pool.obstacle(config, config.networks[network], ip, from_outside=from_outside)
        if not problem and self._ips.get((network, ip), job) != job:
            problem = f"{ip} of network {config.networks[network].name} was promised to a running job"
        if problem:
            code = "wrong_input" if not pool.contains(config.networks[network], ip) else "resource_not_unique"
            raise errors.PrereqError(code, problem)
        self._ips[network, ip] = job

    def memory(self, job: JobId, node: Uuid, wanted: MiB, free: MiB) -> None:
        others = sum(promise.memory for promise in self.promises(besides=job) if promise.node == node)
        if wanted > free - others:
            name = self._config().nodes[node].name
            promised = f", {others} MiB of it promised to running jobs" if others else ""
            raise errors.PrereqError(
                "insufficient_resources",
                f"not enough memory on node {name}: {wanted} MiB wanted, {free} MiB free{promised}",
            )
        self.promise(job, [Promise(node=node, instance="", memory=wanted)])

    def promise(self, job: JobId, promises: Iterable[Promise]) -> None:
        own = self._promises.setdefault(job, {})
        own.update({(promise.node, promise.instance): promise for promise in promises})

    def promises(self, *, besides: JobId) -> list[Promise]:
        """What all other jobs were promised."""
        return [each for job, own in self._promises.items() if job != besides for each in own.values()]

    def release(self, job: JobId) -> None:
        self._macs = {mac: holder for mac, holder in self._macs.items() if holder != job}
        self._ports = {port: holder for port, holder in self._ports.items() if holder != job}
        self._ips = {place: holder for place, holder in self._ips.items() if holder != job}
        self._minors = {place: holder for place, holder in self._minors.items() if holder != job}
        self._promises.pop(job, None)
