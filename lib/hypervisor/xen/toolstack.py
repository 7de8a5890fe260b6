"""The commands of xl (xl(1)) that the driver uses."""

from __future__ import annotations

import logging

from ganeti import errors
from ganeti.host.clock import Clock
from ganeti.host.run import Finished, Runner
from ganeti.hypervisor.xen import parse
from ganeti.hypervisor.xen.parse import Domain

log = logging.getLogger(__name__)

XL = "xl"
#: xl waits for its lock while another one of it works, so a listing may take long, and fail in the middle of changes
_LIST_TRIES, _LIST_PAUSE_S = 5, 1.0
_SHORT_S = 120.0
_CREATE_S = 300.0


def was_killed(error: errors.HypervisorError) -> bool:
    """Whether a command was ended, by us because it took too long or by others, and could not tidy up."""
    cause = error.__cause__
    return isinstance(cause, errors.CommandFailed) and (cause.status is None or cause.status < 0)


class Toolstack:
    """Of one node. Raises HypervisorError with xl's own words."""

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock

    def domains(self) -> tuple[Domain, ...]:
        for left in reversed(range(_LIST_TRIES)):
            try:
                return parse.domains(self._xl("list", "-v").stdout)
            except errors.HypervisorError as err:
                if not left:
                    raise
                log.warning("xl list is tried again: %s", err)
                self._clock.sleep(_LIST_PAUSE_S)
        raise AssertionError("not reached")

    def find(self, name: str) -> Domain | None:
        """By exactly this name, without the suffixes that migrations give."""
        return next((domain for domain in self.domains() if domain.name == name), None)

    def info(self) -> str:
        return self._xl("info").stdout

    def create(self, config: str, *, paused: bool) -> None:
        self._xl("create", *(("-p",) if paused else ()), config, timeout_s=_CREATE_S)

    def shut_down(self, name: str, *, is_hvm: bool) -> None:
        # -F: the power button, where the guest has no drivers of Xen
        self._xl("shutdown", *(("-F",) if is_hvm else ()), name)

    def restart(self, name: str, *, is_hvm: bool) -> None:
        self._xl("reboot", *(("-F",) if is_hvm else ()), name)

    def destroy(self, name: str) -> None:
        """Gone already: fine."""
        try:
            self._xl("destroy", name)
        except errors.HypervisorError:
            if self.find(name) is not None:
                raise

    def unpause(self, name: str) -> None:
        self._xl("unpause", name)

    def resume(self, name: str) -> bool:
        """Let a domain that has suspended itself go on; xl can do it from 4.19 on. Whether it said that it did."""
        try:
            self._xl("resume", name)
        except errors.HypervisorError as err:
            log.info("%s", err)
            return False
        return True

    def rename(self, old: str, new: str) -> None:
        self._xl("rename", old, new)

    def await_end(self, name: str, limit_s: float) -> bool:
        """Whether no domain has this name any more; one that has shut down is listed for some seconds."""
        limit = self._clock.monotonic() + limit_s
        while self.find(name) is not None:
            if self._clock.monotonic() >= limit:
                return False
            self._clock.sleep(0.5)
        return True

    def _xl(self, *words: str, timeout_s: float = _SHORT_S) -> Finished:
        try:
            return self._runner.run((XL, *words), timeout_s=timeout_s)
        except errors.CommandFailed as err:
            raise errors.HypervisorError(f"{XL} {words[0]}: {err}") from err
