"""Importing this module declares every node call."""

from ganeti.calls import (
    export,
    iallocator,
    instance,
    inventory,
    migration,
    mirror,
    node,
    os,
    provider,
    store,
    task,
    volume,
)
from ganeti.calls.base import REGISTRY

MODULES = (export, iallocator, instance, inventory, migration, mirror, node, os, provider, store, task, volume)

__all__ = ["MODULES", "REGISTRY"]
