"""OP_NETWORK_ADD, OP_NETWORK_SET_PARAMS."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

import msgspec

from ganeti import errors
from ganeti.logic import checks
from ganeti.logic.base import Env, HookPlan, LogicalUnit, implements
from ganeti.logic.group_settings import master_hooks
from ganeti.logic.steps import Commit, Step
from ganeti.model import pool
from ganeti.model.config import Config
from ganeti.model.locks import ALL, LockPlan, exclusive, new_name, shared
from ganeti.model.objects import Network, Put
from ganeti.model.types import MAC_PREFIX
from ganeti.ops.network import OpNetworkAdd, OpNetworkSetParams

_NAME = re.compile(r"[A-Za-z0-9_][\w.+:@-]{0,254}\Z", re.ASCII)
#: the smallest and the largest IPv4 subnet: below there is no address for a NIC, beyond the maps get too long
_LONGEST, _SHORTEST = 30, 16
_NONE = "none"


def _wrong(message: str, *, hint: str = "") -> errors.PrereqError:
    return errors.PrereqError("wrong_input", message, hint=hint)


def free_name(config: Config, name: str) -> str:
    """Raises PrereqError when no network can be called so, or one is."""
    if not _NAME.match(name):
        raise _wrong(
            f"{name[:80]!r} cannot be the name of a network",
            hint="use letters, digits and _ . + : @ -, with a letter, a digit or _ first",
        )
    if name.lower() in config.network_names or name.lower() in config.networks:
        raise errors.PrereqError("already_exists", f"there is already a network called {name!r}")
    return name


def environment(network: Network) -> dict[str, str]:
    """What hooks are told of it."""
    values = network.environment()
    del values["UUID"]
    return {"OP_TARGET": network.name} | {f"NETWORK_{name}": value for name, value in values.items()}


def _subnet4(untrusted: str) -> str:
    try:
        found = ipaddress.IPv4Network(untrusted)
    except ValueError as err:
        raise _wrong(f"{untrusted!r} is no IPv4 subnet: {err}", hint="write it as 192.0.2.0/24") from err
    if not _SHORTEST <= found.prefixlen <= _LONGEST:
        raise _wrong(f"{found} is too {'small' if found.prefixlen > _LONGEST else 'large'}",
                     hint=f"a prefix of /{_SHORTEST} to /{_LONGEST} is possible")  # fmt: skip
    return str(found)


def _subnet6(untrusted: str) -> str:
    try:
        return str(ipaddress.IPv6Network(untrusted))
    except ValueError as err:
        raise _wrong(f"{untrusted!r} is no IPv6 subnet: {err}", hint="write it as 2001:db8::/64") from err


def _address(untrusted: str, subnet: str, what: str) -> str:
    """An address within the subnet."""
    version = 6 if what.endswith("6") else 4
    try:
        found = ipaddress.ip_address(untrusted)
    except ValueError as err:
        raise _wrong(f"{what} {untrusted!r} is no IP address") from err
    if found.version != version:
        raise _wrong(f"{what} {untrusted} is no IPv{version} address")
    if not subnet:
        raise _wrong(f"{what} {untrusted} needs an IPv{version} subnet", hint="give --network6 too")
    if found not in ipaddress.ip_network(subnet):
        raise _wrong(f"{what} {found} is not in {subnet}")
    return str(found)


def _reserved(untrusted: Iterable[str], subnet: str) -> list[str]:
    return [_address(text, subnet, "the reserved address") for text in untrusted]


def _mac_prefix(untrusted: str) -> str:
    lower = untrusted.lower()
    if not MAC_PREFIX.match(lower):
        raise _wrong(f"{untrusted!r} is no MAC prefix", hint="write three octets, such as aa:00:00, the first one even")
    return lower


def _sorted(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(addresses), key=ipaddress.ip_address))


def in_use_here(config: Config, subnet: str) -> list[str]:
    """Addresses of nodes and of the cluster in the subnet: no NIC may get them."""
    block = ipaddress.ip_network(subnet)
    known = {config.cluster.master_ip}
    for node in config.nodes.values():
        known |= {node.primary_ip, node.secondary_ip}
    return [ip for ip in known if ip and ipaddress.ip_address(ip) in block]


@implements(OpNetworkAdd)
class NetworkAdd(LogicalUnit[OpNetworkAdd, Network]):
    def locks(self, config: Config) -> LockPlan:
        nodes = shared(ALL) if self.op.conflicts_check else None
        return LockPlan.of(nodes=nodes, networks=exclusive(new_name(self.op.network_name)))

    async def check(self, env: Env) -> Network:
        op, config = self.op, env.config
        name = free_name(config, op.network_name)
        subnet = _subnet4(op.network)
        subnet6 = _subnet6(op.network6) if op.network6 else ""
        gateway = _address(op.gateway, subnet, "gateway") if op.gateway else ""
        reserved = _reserved(op.add_reserved_ips or (), subnet)
        if op.conflicts_check:
            reserved += in_use_here(config, subnet)
        network = Network(
            uuid=env.new_uuid(),
            ctime=env.now(),
            name=name,
            network=subnet,
            gateway=gateway,
            network6=subnet6,
            gateway6=_address(op.gateway6, subnet6, "gateway6") if op.gateway6 else "",
            mac_prefix=_mac_prefix(op.mac_prefix) if op.mac_prefix else "",
            tags=checks.tags(op.tags),
        )
        return msgspec.structs.replace(network, reserved=_sorted(set(reserved) - set(pool.implied(network))))

    def hooks(self, facts: Network, config: Config) -> HookPlan:
        return master_hooks(config, environment(facts))

    def plan(self, facts: Network, env: Env) -> Sequence[Step]:
        return (Commit(title=f"add network {facts.name}", changes=(Put(facts),), is_final=True),)


@implements(OpNetworkSetParams)
class NetworkSetParams(LogicalUnit[OpNetworkSetParams, Network]):
    def locks(self, config: Config) -> LockPlan:
        # who takes an address holds it shared
        return LockPlan.of(networks=exclusive(config.network(self.op.network_name).uuid))

    async def check(self, env: Env) -> Network:
        op, config = self.op, env.config
        values = (op.gateway, op.network6, op.gateway6, op.mac_prefix, op.add_reserved_ips, op.remove_reserved_ips)
        if all(value is None for value in values):
            raise _wrong("nothing to change was given")
        old = config.network(op.network_name)
        gateway, subnet6, gateway6 = old.gateway, old.network6, old.gateway6
        if op.gateway is not None:
            gateway = "" if op.gateway.lower() == _NONE else _address(op.gateway, old.network, "gateway")
            if gateway and gateway != old.gateway:
                self._is_unused(config, old, gateway)
        if op.network6 is not None:
            subnet6 = "" if op.network6.lower() == _NONE else _subnet6(op.network6)
        if op.gateway6 is not None:
            gateway6 = "" if op.gateway6.lower() == _NONE else op.gateway6
        if gateway6:
            gateway6 = _address(gateway6, subnet6, "gateway6")
        self._check_v6(config, old, subnet6)
        new = msgspec.structs.replace(
            old,
            gateway=gateway,
            network6=subnet6,
            gateway6=gateway6,
            mac_prefix=_mac_prefix(op.mac_prefix) if op.mac_prefix else old.mac_prefix,
        )
        return msgspec.structs.replace(new, reserved=self._reservations(env, new))

    def _reservations(self, env: Env, network: Network) -> tuple[str, ...]:
        add = _reserved(self.op.add_reserved_ips or (), network.network)
        remove = _reserved(self.op.remove_reserved_ips or (), network.network)
        both = sorted(set(add) & set(remove))
        if both:
            raise _wrong(f"{both[0]} is both to be reserved and to be freed")
        for ip in add:
            if ip in network.reserved or ip in pool.implied(network):
                env.warn(f"{ip} of network {network.name} is reserved already")
            else:
                self._is_unused(env.config, network, ip)
        for ip in remove:
            if ip not in network.reserved:
                env.warn(f"{ip} of network {network.name} is not reserved")
        return _sorted(({*network.reserved, *add} - set(remove)) - set(pool.implied(network)))

    @staticmethod
    def _is_unused(config: Config, network: Network, ip: str) -> None:
        names = [config.instances[uuid].name for uuid in pool.holders(config, network.uuid, ip)]
        if names:
            raise errors.PrereqError(
                "resource_not_unique", f"{ip} of network {network.name} belongs to instance {', '.join(sorted(names))}"
            )

    @staticmethod
    def _check_v6(config: Config, old: Network, subnet6: str) -> None:
        """Addresses that NICs have must stay within."""
        if subnet6 == old.network6:
            return
        new = msgspec.structs.replace(old, network6=subnet6)
        for instance, nic in pool.nics(config, old.uuid):
            if nic.ip and not pool.contains(new, nic.ip):
                raise errors.PrereqError(
                    "wrong_state", f"instance {instance.name} has {nic.ip}, which is not in {subnet6 or 'it'} then"
                )

    def hooks(self, facts: Network, config: Config) -> HookPlan:
        return master_hooks(config, environment(facts))

    def plan(self, facts: Network, env: Env) -> Sequence[Step]:
        return (Commit(title=f"change network {facts.name}", changes=(Put(facts),), is_final=True),)
