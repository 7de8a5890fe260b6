"""Two nodes that claim the mastership at one moment: who is refused for that tries again, others do not."""

from __future__ import annotations

import pytest

from ganeti import errors
from ganeti.bootstrap import failover

CONTENDED, OTHER = errors.ContendedError.exit_status, errors.QuorumError.exit_status


class Daemon:
    """Ends with one status after the other."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.waits: list[float] = []

    def start(self) -> None:
        status = self.statuses.pop(0)
        if status:
            failed = errors.CommandFailed(("ganeti-masterd",), status, "only 2 of 5")
            raise errors.ExecError("ganeti-masterd did not start: only 2 of 5") from failed


@pytest.mark.parametrize("statuses", [(0,), (CONTENDED, 0), (CONTENDED, CONTENDED, 0)])
def test_who_is_refused_for_the_other_ones_claim_tries_again(statuses):
    daemon = Daemon(*statuses)
    failover.claim(daemon.start, daemon.waits.append)
    assert daemon.statuses == []
    assert len(daemon.waits) == len(statuses) - 1


@pytest.mark.parametrize("statuses", [(OTHER,), (CONTENDED, OTHER), (CONTENDED,) * failover.CLAIMS])
def test_other_refusals_and_the_last_one_are_told(statuses):
    assert CONTENDED != OTHER
    daemon = Daemon(*statuses)
    with pytest.raises(errors.ExecError, match="only 2 of 5"):
        failover.claim(daemon.start, daemon.waits.append)
    assert daemon.statuses == []
    assert len(daemon.waits) == len(statuses) - 1
