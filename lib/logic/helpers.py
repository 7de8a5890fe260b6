"""Helper machines for untrusted OS scripts: what the cluster's settings make of them, and what is asked before."""

from __future__ import annotations

import msgspec

from ganeti import errors
from ganeti.calls.helper import Helper, HelperVerify
from ganeti.calls.os import OsDefinition
from ganeti.logic import checks, guests
from ganeti.logic.base import Env
from ganeti.model.config import Config
from ganeti.model.objects import Node
from ganeti.ops.instance import OpInstanceCreate, OpInstanceReinstall

SCRIPT = "create_untrusted"


def of_cluster(config: Config) -> Helper | None:
    """None: the cluster has no install image."""
    if not config.cluster.install_image:
        return None
    hv = guests.cluster_hvparams(config, "kvm")
    return Helper(
        image=config.cluster.install_image,
        emulator=str(hv["kvm_path"]),
        kvm_flag=str(hv["kvm_flag"]),
        account=str(hv["security_domain"]) if hv["security_model"] == "user" else "",
    )


def of(config: Config, op: OpInstanceCreate | OpInstanceReinstall) -> Helper | None:
    """With the times that the request gives it."""
    found = of_cluster(config)
    if found is None:
        return None
    times = {"startup_s": op.helper_startup_timeout, "shutdown_s": op.helper_shutdown_timeout}
    given = {name: float(value) for name, value in times.items() if value is not None}
    return msgspec.structs.replace(found, **given)


async def check(env: Env, node: Node, found: OsDefinition, helper: Helper | None) -> None:
    """The node can run the script that will install the OS. Raises PrereqError."""
    if SCRIPT not in found.scripts:
        return
    if helper is None:
        if "create" not in found.scripts:
            raise errors.PrereqError(
                "wrong_state",
                f"OS {found.name} has only the script {SCRIPT}, which runs in a helper machine, and the cluster has no"
                " install image for one",
                hint="tools/helper-image makes one; gnt-cluster modify --install-image says where it lies",
            )
        return
    problem = await checks.ask(env, node.uuid, HelperVerify(helper=helper), "look at its install image")
    if problem:
        raise errors.PrereqError(
            "environment_error",
            f"node {node.name} cannot run {SCRIPT} of OS {found.name} in a helper machine: {problem}",
        )


async def check_everywhere(env: Env, new_config: Config) -> None:
    """A new install image lies on every node, and can be booted there. Raises PrereqError."""
    helper = of_cluster(new_config)
    if helper is None or helper.image == env.config.cluster.install_image:
        return
    nodes = [node for node in env.config.online_nodes if node.vm_capable]
    answers = await env.rpc.many([node.uuid for node in nodes], HelperVerify(helper=helper))
    for node in nodes:
        answer = answers[node.uuid]
        if isinstance(answer, errors.RpcError):
            raise errors.PrereqError("environment_error", f"cannot look for the install image: {answer}")
        if answer:
            raise errors.PrereqError(
                "wrong_input",
                f"node {node.name}: {answer}",
                hint="copy the image to the same place on every node first",
            )
