"""Addresses of networks: which are taken, which is free. Pure.

An address belongs to whoever has it in the configuration; there is no second book that could differ from it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Container, Iterable, Iterator

from ganeti.model.config import Config, nic_address
from ganeti.model.objects import Instance, Network, Nic
from ganeti.model.types import Uuid

IPv4Block = ipaddress.IPv4Network


def block(network: Network) -> IPv4Block:
    return ipaddress.IPv4Network(network.network)


def implied(network: Network) -> tuple[str, ...]:
    """Addresses that nobody can have: the network's own, the broadcast, the gateway's."""
    whole = block(network)
    ends = (str(whole.network_address), str(whole.broadcast_address))
    return (*ends, network.gateway) if network.gateway else ends


def contains(network: Network, ip: str) -> bool:
    """Whether the address lies in its IPv4 or its IPv6 subnet."""
    address = ipaddress.ip_address(ip)
    subnet = network.network if address.version == 4 else network.network6
    return bool(subnet) and address in ipaddress.ip_network(subnet)


def holders(config: Config, network: Uuid, ip: str) -> frozenset[Uuid]:
    """Instances that have the address on that network."""
    return config.ips.get(nic_address(network, ip), frozenset())


def obstacle(config: Config, network: Network, ip: str, *, from_outside: bool = True) -> str:
    """Why a NIC cannot get the address, or empty. `from_outside`: reserved ones count too."""
    if not contains(network, ip):
        return f"{ip} is not in network {network.name} ({network.network})"
    if ip in implied(network):
        what = "the gateway" if ip == network.gateway else "the address of the network itself or of all in it"
        return f"{ip} is {what} of network {network.name}"
    taken = holders(config, network.uuid, ip)
    if taken:
        names = ", ".join(sorted(config.instances[uuid].name for uuid in taken))
        return f"{ip} of network {network.name} belongs to {names}"
    if from_outside and ip in network.reserved:
        return f"{ip} of network {network.name} is reserved"
    return ""


def first_free(config: Config, network: Network, promised: Container[str]) -> str | None:
    """The lowest address that nobody has and nobody was promised."""
    unusable = {*implied(network), *network.reserved}
    for address in block(network):
        ip = str(address)
        if ip not in unusable and ip not in promised and nic_address(network.uuid, ip) not in config.ips:
            return ip
    return None


def used(network: Network, of_nics: Iterable[str]) -> set[int]:
    """Offsets in the subnet of all addresses that cannot be given out; `of_nics` are those that its NICs have."""
    whole = block(network)
    first = int(whole.network_address)
    taken = {*implied(network), *network.reserved, *of_nics}
    offsets = {int(address) - first for address in map(ipaddress.ip_address, taken) if address.version == 4}
    return {offset for offset in offsets if 0 <= offset < whole.num_addresses}


def nics(config: Config, network: Uuid) -> Iterator[tuple[Instance, Nic]]:
    """All on that network."""
    for instance in config.instances.values():
        for nic in instance.nics:
            if nic.network == network:
                yield instance, nic
