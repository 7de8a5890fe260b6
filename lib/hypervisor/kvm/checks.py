"""Whether this node can run guests with given parameters."""

from __future__ import annotations

import logging
import os

from ganeti import errors, settings
from ganeti.host.run import Runner
from ganeti.host.trust import why_not_trusted
from ganeti.hypervisor import linux
from ganeti.hypervisor.declare import OnNode
from ganeti.hypervisor.kvm import accelerator, accounts, commands, extras, parse, pinning
from ganeti.hypervisor.kvm.params import PARAMETERS
from ganeti.model.objects import Params
from ganeti.paths import Paths

log = logging.getLogger(__name__)

OLDEST = (6, 0, 0)  # -action came with it
#: of the administrator, for network cards
VIF_SCRIPT = f"{settings.CONFIG_DIR}/kvm-vif-bridge"
_VHOST = "/dev/vhost-net"


def local_files(hvparams: Params, paths: Paths) -> Params:
    """The parameters with the local paths of files and directories."""
    local = dict(hvparams)
    for parameter in PARAMETERS.parameters:
        value = hvparams[parameter.name]
        if parameter.on_node is not OnNode.NOTHING and str(value).startswith("/"):
            local[parameter.name] = linux.host_file(paths, str(value))
    return local


def with_usable_vhost(hvparams: Params, *, device: str = _VHOST) -> Params:
    """Without vhost_net where the kernel has none: QEMU 7.2 ends with a failed assertion there."""
    if not hvparams["vhost_net"] or os.path.exists(device):
        return hvparams
    log.info("there is no %s, so the emulator moves network packets; modprobe vhost-net mends that", device)
    return {**hvparams, "vhost_net": False}


def validate(hvparams: Params, paths: Paths, runner: Runner) -> str:
    """What is wrong with complete parameters here, or nothing."""
    problems = [
        commands.unsupported(hvparams),
        extras.problem(hvparams),
        accounts.problem(hvparams, is_root=os.geteuid() == 0),
        pinning.problem(str(hvparams["cpu_mask"]), os.cpu_count() or 1),
    ]
    local = local_files(hvparams, paths)
    for parameter in PARAMETERS.parameters:
        path = str(local[parameter.name])
        if parameter.on_node is OnNode.FILE and path.startswith("/") and not os.path.isfile(path):
            problems.append(f"{parameter.name}: there is no file {hvparams[parameter.name]}")
        if parameter.on_node is OnNode.DIRECTORY and path.startswith("/") and not os.path.isdir(path):
            problems.append(f"{parameter.name}: there is no directory {hvparams[parameter.name]}")
    binary = str(local["kvm_path"])
    if os.path.isfile(binary):
        problems.append(
            why_not_trusted(binary, paths) or why_not(binary, runner) or _machine_type(hvparams, binary, runner)
        )
    problems.append(vif_script_problem(paths))
    if hvparams["kvm_flag"] == "enabled" and not os.access(accelerator.DEVICE, os.R_OK | os.W_OK):
        problems.append(f"kvm_flag is enabled, but {accelerator.DEVICE} cannot be used")
    return "; ".join(problem for problem in problems if problem)


def vif_script_problem(paths: Paths) -> str:
    """Why the administrator's script for network cards must not be run, or nothing: there may be none."""
    local = paths.local(VIF_SCRIPT)
    return why_not_trusted(local, paths) if os.path.exists(local) else ""


def why_not(binary: str, runner: Runner) -> str:
    """Why this emulator cannot be used, or nothing."""
    try:
        found = version(binary, runner)
    except errors.CommandFailed as err:
        return str(err)
    if found is None:
        return f"the emulator {binary} does not tell its version"
    if found < OLDEST:
        return f"the emulator {binary} has version {found[0]}.{found[1]}, {OLDEST[0]}.{OLDEST[1]} is needed"
    return ""


def version(binary: str, runner: Runner) -> tuple[int, int, int] | None:
    """Raises CommandFailed."""
    return parse.version(runner.run(commands.version(binary), timeout_s=20).stdout)


def _machine_type(hvparams: Params, binary: str, runner: Runner) -> str:
    wanted = hvparams["machine_version"]
    if not wanted or wanted in parse.machine_types(runner.run(commands.machine_types(binary)).stdout):
        return ""
    return f"machine_version: the emulator has no machine type {wanted}"
