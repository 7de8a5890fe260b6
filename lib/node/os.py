"""Handlers of calls about OS definitions."""

from __future__ import annotations

from ganeti import errors
from ganeti.calls.helper import HelperVerify
from ganeti.calls.os import OsCreate, OsDefinition, OsDiagnose, OsRename, OsVerify
from ganeti.node import helper, helper_job, os_run, osenv
from ganeti.node.base import Context, NodeEnv, handles


@handles(OsDiagnose)
def diagnose(call: OsDiagnose, env: NodeEnv, context: Context) -> tuple[OsDefinition, ...]:
    return os_run.every(env.paths)


@handles(OsVerify)
def verify(call: OsVerify, env: NodeEnv, context: Context) -> str:
    definition, directory = os_run.named(call.os, env.paths)
    if "verify" not in definition.scripts:
        return ""
    environment = osenv.verify(definition, call.os, call.osparams, debug=call.debug)
    return os_run.verify(environment, directory=directory, env=env, stop=context.stop)


@handles(OsCreate)
def create(call: OsCreate, env: NodeEnv, context: Context) -> None:
    spec = call.spec
    definition, directory = os_run.usable(spec, env.paths)
    script = "create" if call.helper is None or helper_job.SCRIPT not in definition.scripts else helper_job.SCRIPT
    if script not in definition.scripts:
        raise errors.NodeFailure(
            f"OS {definition.name} has only the script {helper_job.SCRIPT}, which needs an install image to run in",
            hint="name one with gnt-cluster modify --install-image",
        )
    disks = os_run.open_disks(spec, env)
    environment = osenv.create(spec, definition, disks, reinstall=call.reinstall, debug=call.debug)
    title = f"add-{spec.instance.os}-{spec.instance.name}"
    if call.helper is not None and script == helper_job.SCRIPT:
        problem = helper.run(
            call.helper, spec, title, environment, disks, request=call.request, directory=directory, env=env,
            context=context,
        )  # fmt: skip
    else:
        problem = os_run.run(
            script, title, environment, request=call.request, directory=directory, env=env, stop=context.stop
        )
    if problem:
        raise errors.NodeFailure(f"OS {script} script of {spec.instance.os} failed: {problem}")


@handles(HelperVerify)
def verify_helper(call: HelperVerify, env: NodeEnv, context: Context) -> str:
    return helper.why_not(call.helper, env)


@handles(OsRename)
def rename(call: OsRename, env: NodeEnv, context: Context) -> str:
    spec = call.spec
    definition, directory = os_run.usable(spec, env.paths)
    if "rename" not in definition.scripts:
        return f"OS {definition.name} has no script rename: the instance knows only its old name"
    disks = os_run.open_disks(spec, env)
    environment = osenv.rename(spec, definition, disks, old_name=call.old_name, debug=call.debug)
    title = f"rename-{spec.instance.os}-{call.old_name}-{spec.instance.name}"
    problem = os_run.run(
        "rename", title, environment, request=call.request, directory=directory, env=env, stop=context.stop
    )
    return f"OS rename script of {spec.instance.os} failed: {problem}" if problem else ""
