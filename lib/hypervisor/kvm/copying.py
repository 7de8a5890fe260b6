"""Copies of a running guest's disks: QEMU writes what they had at one moment into other files while the guest goes on.

All backup jobs start in one transaction, so all disks are copied as of the same moment; before the guest writes to a
block that was not copied yet, QEMU copies it (qemu-qmp-ref(7), `blockdev-backup` with `sync=full`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from ganeti import errors
from ganeti.hypervisor.base import DiskCopy, Watch
from ganeti.hypervisor.kvm import commands, monitor
from ganeti.hypervisor.kvm.emulator import Emulators
from ganeti.hypervisor.kvm.runtime import Runtime

log = logging.getLogger(__name__)

_MIB = 1 << 20
#: of one command: the transaction waits until requests under way have ended
_COMMAND_S = 60.0
_END_S = 60.0
#: no emulator answered for so long
_SILENCE_S = 60.0


class KvmCopying:
    """Implements `hypervisor.base.Copying`."""

    def __init__(self, emulators: Emulators) -> None:
        self._emulators = emulators

    def copy(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool, watch: Watch) -> None:
        with self._emulators.locked(name):
            runtime = self._running(name, uuid)
            self._end_jobs(runtime, copies)
            self._begin(runtime, copies, resume=resume)
        try:
            self._follow(runtime, copies, watch)
        finally:
            with self._emulators.locked(name):
                self._end_jobs(runtime, copies)

    def drop(self, name: str, uuid: str, copies: Sequence[DiskCopy], *, resume: bool) -> None:
        with self._emulators.locked(name), self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found):
            if runtime is None or found is None:
                return
            self._end_jobs(runtime, copies)
            if resume:
                self._resume(runtime)

    def _running(self, name: str, uuid: str) -> Runtime:
        with self._emulators.live(self._emulators.find(name, uuid)) as (runtime, found):
            if runtime is None or found is None:
                raise errors.HypervisorError(f"instance {name} does not run here, so its disks cannot be copied by it")
            return runtime

    def _execute(self, runtime: Runtime, command: str, arguments: dict[str, Any] | None = None) -> Any:
        return self._emulators.execute(runtime, command, arguments, timeout_s=_COMMAND_S)

    def _begin(self, runtime: Runtime, copies: Sequence[DiskCopy], *, resume: bool) -> None:
        try:
            for copy in copies:
                self._execute(runtime, "blockdev-add", _target(copy))
            actions = [{"type": "blockdev-backup", "data": _backup(copy)} for copy in copies]
            self._execute(runtime, "transaction", {"actions": actions})
        except errors.HypervisorError:
            self._end_jobs(runtime, copies)
            raise
        finally:
            if resume:
                self._resume(runtime)

    def _resume(self, runtime: Runtime) -> None:
        if self._emulators.run_state(runtime) in ("prelaunch", "paused"):
            self._execute(runtime, "cont")

    def _follow(self, runtime: Runtime, copies: Sequence[DiskCopy], watch: Watch) -> None:
        clock = self._emulators.clock
        heard = clock.monotonic()
        while True:
            try:
                jobs = self._jobs(runtime, copies)
                heard = clock.monotonic()
            except monitor.MonitorError as err:
                with self._emulators.process(runtime) as found:
                    if found is None or clock.monotonic() - heard > _SILENCE_S:
                        what = f"the copy of the disks of {runtime.name} was lost"
                        raise errors.HypervisorError(f"{what}: {err}") from err
                watch.stop.wait(1.0)
                continue
            done = sum(int(job.get("current-progress", 0)) for job in jobs)
            total = sum(int(job.get("total-progress", 0)) for job in jobs)
            watch.progress.update(
                text=f"snapshot: {done // _MIB} of {total // _MIB} MiB copied", read=float(done), total=float(total)
            )
            ended = [job for job in jobs if job.get("status") == "concluded"]
            problems = [str(job["error"]) for job in ended if job.get("error")]
            if problems or len(jobs) < len(copies):
                why = "; ".join(problems) or "a job of it is gone"
                raise errors.HypervisorError(f"the disks of {runtime.name} could not be copied: {why}")
            if len(ended) == len(copies):
                return
            if watch.stop.is_set():
                raise errors.HypervisorError("stopped on request")
            watch.stop.wait(0.2)

    def _jobs(self, runtime: Runtime, copies: Sequence[DiskCopy]) -> list[dict[str, Any]]:
        ours = {_job(copy) for copy in copies}
        return [job for job in self._execute(runtime, "query-jobs") if job.get("id") in ours]

    def _end_jobs(self, runtime: Runtime, copies: Sequence[DiskCopy]) -> None:
        """None of them is left when it returns, nor what they wrote to. No emulator: nothing is left."""
        clock = self._emulators.clock
        deadline = clock.monotonic() + _END_S
        try:
            while jobs := self._jobs(runtime, copies):
                for job in jobs:
                    self._end_job(runtime, job)
                if clock.monotonic() > deadline:
                    raise errors.HypervisorError(f"the copying of the disks of {runtime.name} does not end")
                clock.sleep(0.05)
            nodes = {str(node.get("node-name")) for node in self._execute(runtime, "query-named-block-nodes")}
            for copy in copies:
                if _node(copy) in nodes:
                    self._execute(runtime, "blockdev-del", {"node-name": _node(copy)})
        except monitor.MonitorError:
            with self._emulators.process(runtime) as found:
                if found is not None:
                    raise

    def _end_job(self, runtime: Runtime, job: dict[str, Any]) -> None:
        is_over = job.get("status") == "concluded"
        if not is_over and job.get("status") in ("aborting", "undefined", "null"):
            return
        try:
            if is_over:
                self._execute(runtime, "job-dismiss", {"id": job["id"]})
            else:
                self._execute(runtime, "block-job-cancel", {"device": job["id"], "force": True})
        except monitor.MonitorError as err:
            log.debug("job %s has changed its state meanwhile: %s", job["id"], err)


def _job(copy: DiskCopy) -> str:
    return f"copy-{copy.disk}"


def _node(copy: DiskCopy) -> str:
    return commands.device_id(copy.disk, "copy")


def _target(copy: DiskCopy) -> dict[str, Any]:
    return {
        "driver": "raw",
        "node-name": _node(copy),
        # zeros make holes
        "discard": "unmap",
        "detect-zeroes": "unmap",
        "file": {"driver": "host_device" if copy.is_device else "file", "filename": copy.target, "discard": "unmap"},
    }


def _backup(copy: DiskCopy) -> dict[str, Any]:
    return {
        "job-id": _job(copy),
        "device": commands.device_id(copy.disk, "disk"),
        "target": _node(copy),
        "sync": "full",
        "auto-dismiss": False,
    }
