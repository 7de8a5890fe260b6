"""Importing this module declares every resource."""

from __future__ import annotations

from ganeti.ops.catalogue import REGISTRY
from ganeti.rapi import derived, jobs, objects, resources
from ganeti.rapi.routes import BY_HAND, Table

MODULES = (jobs, resources)


def table() -> Table:
    return Table([*BY_HAND, *objects.routes(), *derived.routes(REGISTRY)])
