"""Importing this module declares every operation."""

from ganeti.ops import cluster, instance, node, os, tags, test
from ganeti.ops.base import REGISTRY

MODULES = (cluster, instance, node, os, tags, test)

__all__ = ["MODULES", "REGISTRY"]
