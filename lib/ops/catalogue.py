"""Importing this module declares every operation."""

from ganeti.ops import (
    allocation,
    backup,
    cluster,
    crypto,
    disks,
    group,
    instance,
    moves,
    network,
    node,
    os,
    power,
    query,
    tags,
    test,
    upkeep,
)
from ganeti.ops.base import REGISTRY

MODULES = (
    allocation,
    backup,
    cluster,
    disks,
    crypto,
    group,
    instance,
    moves,
    network,
    node,
    os,
    power,
    query,
    tags,
    test,
    upkeep,
)

__all__ = ["MODULES", "REGISTRY"]
