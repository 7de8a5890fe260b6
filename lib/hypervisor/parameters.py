"""Every parameter of every hypervisor: defaults, types, checks. No effects; for the logic and the commands too.

A value of None (or the text ``default``) in overrides means: take the override away. Only `parse` sees it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from ganeti import errors
from ganeti.hypervisor.declare import HypervisorParameters, Kind, Parameter, convert
from ganeti.hypervisor.fake import params as fake
from ganeti.hypervisor.kvm import params as kvm
from ganeti.hypervisor.xen_hvm import params as xen_hvm
from ganeti.hypervisor.xen_pvm import params as xen_pvm
from ganeti.model.objects import Params

#: by name, in the order in which they are listed
HYPERVISORS: dict[str, HypervisorParameters] = {
    declared.name: declared for declared in (xen_pvm.PARAMETERS, xen_hvm.PARAMETERS, kvm.PARAMETERS, fake.PARAMETERS)
}

#: names of parameters that only the cluster has; an instance's override is refused
GLOBAL: frozenset[str] = frozenset(p.name for hv in HYPERVISORS.values() for p in hv.parameters if p.is_global)


#: ports for guests that come at the same time, from migration_port on
_PORTS = 64


def migration_ports(complete: Params) -> range:
    """On which a node may wait for guests; the first that is free is taken."""
    first = int(complete["migration_port"])
    return range(first, min(first + _PORTS, 65536))


def declared(hv: str) -> HypervisorParameters:
    """Raises PrereqError for a hypervisor that does not exist."""
    found = HYPERVISORS.get(hv)
    if found is None:
        raise errors.PrereqError(
            "wrong_input", f"there is no hypervisor {hv!r}", hint="there are " + ", ".join(HYPERVISORS)
        )
    return found


def defaults(hv: str) -> Params:
    """The built-in value of every parameter."""
    return {parameter.name: parameter.default for parameter in declared(hv).parameters}


def fill(hv: str, *overrides: Mapping[str, object]) -> Params:
    """Complete parameters: built-in, then each layer in order (cluster, OS, instance, for one start)."""
    complete = defaults(hv)
    for layer in overrides:
        complete |= layer
    return complete


def _find(hv: str, name: str) -> Parameter:
    hypervisor = declared(hv)
    found = hypervisor.get(name)
    if found is None:
        near = difflib.get_close_matches(name, [p.name for p in hypervisor.parameters])
        raise errors.ParameterError(
            f"hypervisor {hv} has no parameter {name!r}", hint="did you mean " + " or ".join(near) + "?" if near else ""
        )
    return found


def parse(hv: str, untrusted: Mapping[str, object]) -> Params:
    """Overrides with their right types. `default` and None become None: the override is to be removed.

    Raises ParameterError for an unknown name, TypeEnforcementError or UnitParseError for a value.
    """
    parsed: Params = {}
    for name, value in untrusted.items():
        parameter = _find(hv, name)
        is_removal = value is None or (value == "default" and not _is_word(parameter))
        parsed[name] = None if is_removal else convert(parameter, value)
    return parsed


def _is_word(parameter: Parameter) -> bool:
    """Whether `default` is a value of its own for this parameter (kvm disk_cache)."""
    return parameter.kind is Kind.TEXT and parameter.default == "default"


def check(hv: str, complete: Mapping[str, object]) -> None:
    """Everything that can be told without the node. Raises PrereqError that names the parameter."""
    hypervisor = declared(hv)
    for name in complete:
        _find(hv, name)
    for parameter in hypervisor.parameters:
        if parameter.name not in complete:
            raise _wrong(hv, f"parameter {parameter.name} is missing")
        problem = _problem(parameter, complete[parameter.name])
        if problem:
            raise _wrong(hv, f"parameter {parameter.name} {problem}, not {complete[parameter.name]!r}")
    problem = hypervisor.depends(dict(complete))
    if problem:
        raise _wrong(hv, problem)


def _problem(parameter: Parameter, value: object) -> str:
    if isinstance(value, str) and not value:
        return "must not be empty" if parameter.required else ""
    if convert(parameter, value) != value:
        return f"must be of type {parameter.kind.value}"
    return parameter.check(value) if parameter.check is not None else ""


def _wrong(hv: str, problem: str) -> errors.PrereqError:
    return errors.PrereqError("wrong_input", f"hypervisor {hv}: {problem}")
