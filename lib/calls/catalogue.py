"""Importing this module declares every node call."""

from ganeti.calls import (
    adoption,
    devices,
    export,
    helper,
    iallocator,
    instance,
    inventory,
    master_ip,
    migration,
    mirror,
    node,
    os,
    power,
    provider,
    renewal,
    ssh,
    store,
    task,
    volume,
)
from ganeti.calls.base import REGISTRY

MODULES = (
    adoption, devices, export, helper, iallocator, instance, inventory, master_ip, migration, mirror, node, os, power,
    provider, renewal, ssh, store, task, volume,
)  # fmt: skip

__all__ = ["MODULES", "REGISTRY"]
