"""Importing this module declares every operation."""

from ganeti.ops import cluster, instance, node, os, test
from ganeti.ops.base import REGISTRY

MODULES = (cluster, instance, node, os, test)

__all__ = ["MODULES", "REGISTRY"]
