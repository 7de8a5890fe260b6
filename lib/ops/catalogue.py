"""Importing this module declares every operation."""

from ganeti.ops import cluster, instance, node, os, query, tags, test
from ganeti.ops.base import REGISTRY

MODULES = (cluster, instance, node, os, query, tags, test)

__all__ = ["MODULES", "REGISTRY"]
