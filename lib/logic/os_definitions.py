"""What the nodes say about OS definitions, and whether an OS can be installed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti import errors
from ganeti.calls.os import OsDefinition


def first_by_name(definitions: Sequence[OsDefinition], name: str) -> OsDefinition | None:
    """The definition that a node uses: the first of that name in its search path."""
    return next((found for found in definitions if found.name == name), None)


def installable(
    definitions: Sequence[OsDefinition], os: str, hypervisor: str, node: str, *, force_variant: bool
) -> OsDefinition:
    """Raises PrereqError that says why not."""
    name, plus, variant = os.partition("+")
    found = first_by_name(definitions, name)
    if found is None:
        known = sorted({definition.name for definition in definitions})
        raise errors.PrereqError(
            "unknown_entity",
            f"there is no OS {name!r} on node {node}",
            hint="it has " + ", ".join(known) if known else "it has none; put one into its OS search path",
        )
    if not found.valid:
        raise errors.PrereqError("wrong_state", f"OS {name} is not usable on node {node}: {found.reason}")
    if found.hypervisors and hypervisor not in found.hypervisors:
        raise errors.PrereqError(
            "wrong_input",
            f"OS {name} is not for hypervisor {hypervisor}",
            hint="it is for " + ", ".join(found.hypervisors),
        )
    if not found.variants and plus:
        raise errors.PrereqError("wrong_input", f"OS {name} has no variants", hint=f"write {name} alone")
    if found.variants and not force_variant:
        listed = "variants are " + ", ".join(found.variants)
        if not plus:
            raise errors.PrereqError(
                "wrong_input", f"the name of OS {name} must include a variant", hint=f"write {name}+VARIANT; {listed}"
            )
        if variant not in found.variants:
            raise errors.PrereqError("wrong_input", f"OS {name} has no variant {variant!r}", hint=listed)
    return found


def unknown_parameters(found: OsDefinition, given: Sequence[str]) -> Sequence[str]:
    """Names that the definition does not list; a definition without any list takes every name."""
    listed = {name.lower() for name, _ in found.parameters}
    return [name for name in given if name.lower() not in listed] if listed else []
