"""Public, private and secret OS parameters: put together, and looked at by the OS itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti import errors
from ganeti.calls.helper import Helper
from ganeti.calls.os import OsDefinition, OsDiagnose, OsVerify
from ganeti.logic import checks, helpers, os_definitions
from ganeti.logic.base import Env
from ganeti.model import params
from ganeti.model.objects import Instance, Node, Params
from ganeti.model.types import Uuid
from ganeti.ops.hidden import REDACTED
from ganeti.ops.instance import OpInstanceSetParams


def given(public: Params, private: Params, secret: Params | None = None) -> Params:
    """All that a request has. Raises PrereqError when one parameter is in it twice."""
    found: Params = {}
    for kind in (public, private, secret or {}):
        twice = sorted(name for name in kind if name in found)
        if twice:
            raise errors.PrereqError(
                "wrong_input", f"the OS parameter {twice[0]!r} is given twice", hint="it is public, private or secret"
            )
        found |= kind
    return found


class Changes:
    """What a request to change an instance makes of its parameters."""

    def __init__(self, op: OpInstanceSetParams, instance: Instance) -> None:
        self._public, self._private = changes(op.osparams), changes(op.osparams_private)
        self.names = tuple(given(self._public, self._private))
        self.public = params.merged(_without(instance.osparams, self._private), self._public)
        self.private = params.merged(_without(instance.osparams_private, self._public), self._private)

    @property
    def told(self) -> list[tuple[str, Any]]:  # Any: JSON
        """For the job's result, which everybody may read."""
        shown = [(f"os/{name}", _told(value)) for name, value in sorted(self._public.items())]
        hidden = {name: None if value is None else REDACTED for name, value in self._private.items()}
        return shown + [(f"os_private/{name}", _told(value)) for name, value in sorted(hidden.items())]


def changes(untrusted: Mapping[str, Any]) -> Params:
    """None where one shall go."""
    return {name: None if params.is_reset(value) else value for name, value in untrusted.items()}


def _told(value: Any) -> Any:
    return "default" if value is None else value


def _without(present: Params, set_otherwise: Params) -> Params:
    """One that is set as of the other kind is of that kind from now on."""
    return {name: value for name, value in present.items() if set_otherwise.get(name) is None}


async def check(env: Env, node: Node, found: OsDefinition, os: str, *, names: Sequence[str], complete: Params) -> None:
    """The OS knows these names, and its verify script on the node takes all parameters. Raises PrereqError."""
    _check_names(found, os, names)
    if "verify" not in found.scripts:
        return
    problem = await checks.ask(env, node.uuid, OsVerify(os=os, osparams=complete), f"let OS {os} verify its parameters")
    _check_verdict(os, node, problem)


def _check_names(found: OsDefinition, os: str, names: Sequence[str]) -> None:
    unknown = os_definitions.unknown_parameters(found, sorted(names))
    if unknown:
        raise errors.PrereqError(
            "wrong_input",
            f"OS {os} has no parameter {unknown[0]!r}",
            hint="its parameters are " + ", ".join(name for name, _ in found.parameters),
        )


def _check_verdict(os: str, node: Node, problem: str) -> None:
    if problem:
        raise errors.PrereqError("wrong_input", f"OS {os} does not take its parameters on node {node.name}: {problem}")


async def check_installable(
    env: Env,
    node: Node,
    os: str,
    hypervisor: str,
    *,
    force_variant: bool,
    names: Sequence[str],
    complete: Params,
    helper: Helper | None,
    is_created: bool = True,
) -> None:
    """It can be there, and takes its parameters; `is_created`: its create script will run. Raises PrereqError.

    `helper`: where the script runs if the OS has one that is not trusted.
    """
    blacklist = env.config.cluster.blacklisted_os
    if os in blacklist or os.partition("+")[0] in blacklist:
        raise errors.PrereqError(
            "wrong_state", f"OS {os} is blacklisted", hint=f"run gnt-os modify --blacklisted=no {os} to allow it"
        )
    definitions = await checks.ask(env, node.uuid, OsDiagnose(), "ask for OS definitions")
    found = os_definitions.installable(definitions, os, hypervisor, node.name, force_variant=force_variant)
    if is_created:
        await helpers.check(env, node, found, helper)
    await check(env, node, found, os, names=names, complete=complete)


async def check_changed(env: Env, instance: Instance, names: Sequence[str], complete: Params) -> None:
    """Parameters of an instance that is there. Raises PrereqError."""
    if not instance.os:
        return
    node = env.config.nodes[instance.primary_node]
    definitions = await checks.ask(env, node.uuid, OsDiagnose(), "ask for OS definitions")
    found = os_definitions.first_by_name(definitions, instance.os.partition("+")[0])
    if found is None or not found.valid:
        why = found.reason if found is not None else "it is not there"
        raise errors.PrereqError(
            "wrong_state",
            f"OS {instance.os} is not usable on node {node.name}: {why}",
            hint="-f changes the parameters all the same",
        )
    await check(env, node, found, instance.os, names=names, complete=complete)


async def check_everywhere(env: Env, os: str, names: Sequence[str], complete: Params) -> None:
    """Parameters of the cluster, on every node that has the OS. Raises PrereqError."""
    nodes = [node for node in env.config.online_nodes if node.vm_capable]
    verifying: list[Uuid] = []
    answers = await env.rpc.many([node.uuid for node in nodes], OsDiagnose())
    for node in nodes:
        definitions = answers[node.uuid]
        if isinstance(definitions, errors.RpcError):
            raise errors.PrereqError("environment_error", f"cannot ask for OS definitions: {definitions}")
        found = os_definitions.first_by_name(definitions, os.partition("+")[0])
        if found is not None and found.valid:
            _check_names(found, os, names)
            verifying += [node.uuid] if "verify" in found.scripts else []
    verdicts = await env.rpc.many(verifying, OsVerify(os=os, osparams=complete))
    for uuid, verdict in verdicts.items():
        if isinstance(verdict, errors.RpcError):
            raise errors.PrereqError("environment_error", f"cannot let OS {os} verify its parameters: {verdict}")
        _check_verdict(os, env.config.nodes[uuid], verdict)
