"""Parameters of a classic configuration, each checked as if it were given anew. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ganeti import errors
from ganeti.model import diskparams, params, policy, policy_input
from ganeti.model.classic_upgrade import kind_of, table, wrong
from ganeti.model.objects import DiskTemplate, Params
from ganeti.model.params import Declarations

# Any: untrusted JSON.


class Parameters:
    """`builtin`: complete defaults by hypervisor; `notes` gets what is not known here and not kept."""

    def __init__(self, builtin: Mapping[str, Params], notes: list[str]) -> None:
        self._builtin, self._notes = builtin, notes

    def declared(self, untrusted: Any, declared: Declarations, path: str) -> Params:
        """Back-end, NIC and node parameters."""
        return self._each(untrusted, path, declared, lambda one: params.parse(declared, one, ""))

    def policy(self, untrusted: Any, path: str, *, for_cluster: bool) -> Params:
        known = policy.builtin()
        return self._each(untrusted, path, known, lambda one: policy_input.parse(one, for_cluster=for_cluster))

    def disks(self, untrusted: Any, path: str) -> dict[str, Params]:
        """By template; those without any are left out."""
        found = {}
        for name, values in table(untrusted or {}, path).items():
            if name not in {template.value for template in DiskTemplate}:
                self._notes.append(f"{path}[{name!r}] is not known and not kept")
                continue
            declared = diskparams.DECLARED.get(DiskTemplate(name), {})
            if mine := self.declared(values, declared, f"{path}[{name!r}]"):
                found[name] = mine
        return found

    def hypervisor(self, untrusted: Any, name: str, path: str) -> Params:
        """Of the types of the defaults; whether the values fit is for a check of the whole configuration."""
        builtin = self._builtin.get(name)
        if builtin is None:
            return table(untrusted or {}, path)
        found = {}
        for key, value in table(untrusted or {}, path).items():
            usual = builtin.get(key)
            if key not in builtin:
                self._notes.append(f"{path}.{key} is not known and not kept")
            elif value is not None:
                if not _fits(value, usual):
                    raise wrong(f"{path}.{key}", f"{kind_of(usual)} is wanted, not {kind_of(value)}")
                found[key] = value
        return found

    def hypervisors(self, untrusted: Any, path: str) -> dict[str, Params]:
        """By hypervisor."""
        sets = table(untrusted or {}, path)
        return {name: self.hypervisor(values, name, f"{path}[{name!r}]") for name, values in sets.items()}

    def _each(self, untrusted: Any, path: str, known: Collection[str], parse: Callable[[Params], Params]) -> Params:
        found = {}
        for name, value in table(untrusted or {}, path).items():
            if name not in known:
                self._notes.append(f"{path}.{name} is not known and not kept")
                continue
            try:
                (typed,) = parse({name: value}).values()
            except errors.PrereqError as err:
                raise wrong(f"{path}.{name}", err.message, hint=err.hint) from err
            if typed is not None:
                found[name] = typed
        return found


def _fits(value: Any, usual: Any) -> bool:
    if isinstance(usual, bool) or isinstance(value, bool):
        return isinstance(usual, bool) and isinstance(value, bool)
    return isinstance(value, int | float if isinstance(usual, float) else type(usual))
