"""Importing this module declares every node call."""

from ganeti.calls import instance, migration, node, os, store, task, volume
from ganeti.calls.base import REGISTRY

MODULES = (instance, migration, node, os, store, task, volume)

__all__ = ["MODULES", "REGISTRY"]
