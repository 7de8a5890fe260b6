"""Helper machines: short-lived emulated ones, in which scripts run that this node does not trust.

A helper is a child of the node daemon like any other script: recorded before it begins, ended with its whole group when
it is stopped, when its time is over, when it says too much, or when a new daemon finds what an old one left. What it is
given lies in memory only, so nothing else of it can stay.
"""

from __future__ import annotations

import os
import pwd
import secrets
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Self

from ganeti import errors, paths
from ganeti.calls.helper import Helper
from ganeti.calls.instance import GuestSpec
from ganeti.host import files
from ganeti.host.script import Output
from ganeti.host.trust import why_not_trusted
from ganeti.hypervisor import linux
from ganeti.hypervisor.kvm import accelerator, checks
from ganeti.hypervisor.kvm.helper import NOBODY, Disk, Machine, qemu
from ganeti.model.types import MiB
from ganeti.node import helper_image, helper_job, os_run, scripts
from ganeti.node.base import Context, NodeEnv
from ganeti.node.helper_talk import Talk, readable
from ganeti.node.osenv import PATH

#: of what a script may write to its log, in bytes
MAX_OUTPUT = 16 << 20
#: a helper has the instance's memory and processors within these limits: that is room which the instance was to take
MEMORY_MIB = (256, 2048)
MAX_VCPUS = 4
#: of what its kernel says, the end is kept
_CONSOLE_BYTES = 4096
_POLL_S = 0.25


def why_not(helper: Helper, env: NodeEnv) -> str:
    """Why no such machine can be started here, or nothing."""
    try:
        _emulator(helper, env)
        helper_image.find(_image_path(helper, env), env.paths)
    except errors.GanetiError as err:
        return str(err)
    return ""


def _image_path(helper: Helper, env: NodeEnv) -> str:
    try:
        return linux.host_file(env.paths, helper.image)
    except ValueError as err:
        raise errors.NodeFailure(f"the install image: {err}") from err


def _emulator(helper: Helper, env: NodeEnv) -> str:
    """Its local path. Raises NodeFailure."""
    binary = linux.host_file(env.paths, helper.emulator)
    if not os.path.isfile(binary):
        raise errors.NodeFailure(
            f"the emulator {helper.emulator} is not installed",
            hint="helper machines for untrusted OS scripts need QEMU, whatever hypervisor the instances have",
        )
    problem = why_not_trusted(binary, env.paths) or checks.why_not(binary, env.runner)
    if not problem and helper.account and os.geteuid() == 0:
        try:
            pwd.getpwnam(helper.account)
        except KeyError:
            problem = f"there is no account {helper.account} for the emulator of helper machines"
    if problem:
        raise errors.NodeFailure(problem)
    return binary


def run(
    helper: Helper,
    spec: GuestSpec,
    title: str,
    environment: Mapping[str, str],
    disks: Sequence[str],
    *,
    request: str,
    directory: str,
    env: NodeEnv,
    context: Context,
) -> str:
    """Runs `create_untrusted` of the definition on the open disks; what went wrong with its log's end, or nothing."""
    os_run.check_variables(environment)
    token = secrets.token_hex(16)
    job = helper_job.archive(directory, helper_job.start(environment, len(disks), token))
    with (
        os_run.Log(title, env) as log,
        scripts.recorded(env.paths, request) as begun,
        _in_memory(job) as job_file,
        _Console() as console,
    ):
        machine = _machine(helper, spec, disks, job=_open_file(job_file), console=_open_file(console.writer), env=env)
        talk = Talk(token, log.write)

        def started(pid: int) -> None:
            console.let_go()
            _yield_to_guests(pid)
            begun(pid)

        try:
            status = env.runner.run_logged(
                qemu(machine),
                output=log.file,
                timeout_s=env.script_limit_s,
                environment={"PATH": PATH} | env.paths.environment(),
                cwd="/",
                stop=context.stop,
                begun=started,
                take=lambda output: _listen(output, talk, helper, env, context),
                keep=(job_file, console.writer),
                max_output=MAX_OUTPUT,
                may_linger=False,
            )
        except (errors.CommandFailed, errors.NodeFailure) as err:
            why = str(err)
        else:
            why = _verdict(talk, status)
        if why and talk.status is None:
            log.write(f"-- what the helper machine's kernel said last:\n{console.end()}\n")
    return log.with_end(why) if why else ""


def _machine(helper: Helper, spec: GuestSpec, disks: Sequence[str], *, job: str, console: str, env: NodeEnv) -> Machine:
    """Raises NodeFailure, HypervisorError."""
    binary = _emulator(helper, env)
    account, jail = "", ""
    if os.geteuid() == 0:
        files.make_directory(env.paths, paths.HELPER_JAIL)
        account, jail = helper.account or NOBODY, os.path.realpath(env.paths.local(paths.HELPER_JAIL))
    files.make_directory(env.paths, paths.KVM_DIR)
    return Machine(
        name=spec.instance.name,
        emulator=binary,
        version=checks.version(binary, env.runner) or checks.OLDEST,
        accelerator=accelerator.choose(
            helper.kvm_flag, binary, os.path.realpath(env.paths.local(paths.KVM_DIR)), env.runner
        ),
        memory=room(int(spec.beparams["maxmem"]), free=linux.node_info().memory_free),
        vcpus=min(int(spec.beparams["vcpus"]), MAX_VCPUS),
        image=helper_image.find(_image_path(helper, env), env.paths),
        job=job,
        disks=tuple(Disk(path=path, is_device=stat.S_ISBLK(os.stat(path).st_mode)) for path in disks),
        port=_open_file(1),  # its standard output
        console=console,
        account=account,
        jail=jail,
    )


def room(wanted: MiB, *, free: MiB) -> MiB:
    """Memory of a helper for an instance that has `wanted`. Raises NodeFailure when the node has less free."""
    least, most = MEMORY_MIB
    memory = min(max(wanted, least), most)
    if memory > free:
        raise errors.NodeFailure(f"a helper machine needs {memory} MiB of memory, the node has {free} MiB free")
    return memory


def _yield_to_guests(pid: int) -> None:
    """Should the node run out of memory, a helper ends before anything else: proc(5), oom_score_adj."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except (FileNotFoundError, ProcessLookupError):
        return  # it has ended already, which its status will tell


def _listen(output: Output, talk: Talk, helper: Helper, env: NodeEnv, context: Context) -> None:
    """Until it is off. Raises NodeFailure when one of its times is over."""
    now = env.clock.monotonic
    last = now() + env.script_limit_s
    deadline = now() + helper.startup_s
    context.progress["text"] = "a helper machine starts"
    while True:
        if output.waits(_POLL_S):
            data = output.read(1 << 16)
            if not data:
                talk.finish()
                return
            had_begun, had_ended = talk.has_begun, talk.status is not None
            talk.take(data)
            if talk.has_begun and not had_begun:
                context.progress["text"] = f"{helper_job.SCRIPT} runs in a helper machine"
            if talk.status is not None and not had_ended:
                deadline = now() + helper.shutdown_s
                context.progress["text"] = "the helper machine switches off"
        if now() >= last:  # a script that always says something would never come to the end of its time otherwise
            raise errors.NodeFailure(f"{helper_job.SCRIPT} did not come to an end within {env.script_limit_s:g} s")
        if not talk.has_begun and now() >= deadline:
            raise errors.NodeFailure(
                f"the helper machine did not begin {helper_job.SCRIPT} within {helper.startup_s:g} s",
                hint="--helper-startup-timeout gives it longer; look whether its install image boots",
            )
        if talk.status is not None and now() >= deadline:
            raise errors.NodeFailure(
                f"the script ended with exit status {talk.status}, but the helper machine was not off"
                f" {helper.shutdown_s:g} s later: what it wrote may not be on the disks",
                hint="--helper-shutdown-timeout gives it longer",
            )


def _verdict(talk: Talk, status: int) -> str:
    """What went wrong, or nothing, of a machine that has ended by itself."""
    if status:
        return f"the emulator of the helper machine ended with {os_run.how(status)}"
    if not talk.has_begun:
        return f"the helper machine switched off without having begun {helper_job.SCRIPT}"
    if talk.status is None:
        return f"the helper machine switched off before {helper_job.SCRIPT} ended"
    return os_run.how(talk.status)


def _open_file(descriptor: int) -> str:
    """How the emulator opens what it has from us."""
    return f"/proc/self/fd/{descriptor}"


@contextmanager
def _in_memory(data: bytes) -> Iterator[int]:
    """A file that has no name, is not on any disk, and is gone with its last user."""
    descriptor = os.memfd_create("ganeti-helper")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield descriptor
    finally:
        os.close(descriptor)


class _Console:
    """Takes what the helper's kernel says, and keeps the end of it."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe2(os.O_CLOEXEC)
        self._end = b""
        self._is_open = True
        self._thread = threading.Thread(target=self._read, name="helper console", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go()
        self._thread.join()

    def let_go(self) -> None:
        """The emulator has its own by now: when it ends, the reader ends."""
        if self._is_open:
            self._is_open = False
            os.close(self.writer)

    def end(self) -> str:
        """Nothing is written any more: the emulator is gone."""
        self.let_go()
        self._thread.join()
        return readable(self._end).strip()

    def _read(self) -> None:
        with open(self._reader, "rb", buffering=0) as file:
            while data := file.read(1 << 16):
                self._end = (self._end + data)[-_CONSOLE_BYTES:]
