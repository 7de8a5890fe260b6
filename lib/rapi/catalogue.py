"""Importing this module declares every resource."""

from __future__ import annotations

from ganeti.ops.catalogue import REGISTRY
from ganeti.rapi import derived, jobs, objects, openapi, resources
from ganeti.rapi.measure import Measures
from ganeti.rapi.routes import BY_HAND, Table

MODULES = (jobs, resources)


def table(measures: Measures | None = None) -> Table:
    """All resources; `measures` are what /metrics shows of this process."""
    routes = [*BY_HAND, *objects.routes(), *derived.routes(REGISTRY), (measures or Measures()).route()]
    routes.append(openapi.route(routes))
    return Table(routes)
