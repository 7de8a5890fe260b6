"""Importing this module registers the handler of every node call."""

from ganeti.node import (
    address,
    adoption,
    delay,
    devices,
    exports,
    freezing,
    guests,
    hooks,
    hosts,
    iallocator,
    info,
    inventory,
    leave,
    master_ip,
    mastership,
    migration,
    mirrors,
    os,
    os_stop,
    power,
    providers,
    renewal,
    ssconf,
    ssh,
    store,
    streams,
    tasks,
    trust,
    verify,
    volume_copy,
    volumes,
)
from ganeti.node.base import HANDLERS

MODULES = (
    address, adoption, delay, devices, exports, freezing, guests, hooks, hosts, iallocator, info, inventory, leave,
    master_ip, mastership, migration, mirrors, os, os_stop, power, providers, renewal, ssconf, ssh, store, streams,
    tasks, trust, verify, volume_copy, volumes,
)  # fmt: skip

__all__ = ["HANDLERS", "MODULES"]
