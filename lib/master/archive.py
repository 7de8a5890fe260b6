"""The end of archived jobs: what nobody asked for in weeks is dropped."""

from __future__ import annotations

from ganeti.master.commits import Committer
from ganeti.master.state import State, job_key, row
from ganeti.model.jobs import ArchivedJob, Job
from ganeti.model.types import JobId
from ganeti.store.api import Leadership, Note
from ganeti.wire import codec

#: jobs that are read at once: the archive may be large
_SPAN = 1000
#: pieces in a row without an old job that end the search: ids are given in order of time
_ENOUGH = 3


def age_time(job: Job) -> int:
    """Epoch seconds from which the age of a job that has ended counts."""
    stamp = job.end_timestamp or job.start_timestamp or job.received_timestamp
    return stamp[0] if stamp else 0


class Archive:
    """Belongs to the loop."""

    def __init__(self, state: State, committer: Committer, leadership: Leadership) -> None:
        self._state, self._committer, self._leadership = state, committer, leadership

    async def purge(self, before: float) -> int:
        """Drop jobs that ended before that (epoch seconds); how many."""
        dropped = young = 0
        for first in range(0, self._state.flags.last_job + 1, _SPAN):
            prefix = job_key(JobId(first))[:-3]
            rows = await self._leadership.rows("archive", prefix=prefix)
            old = [key for key, value in rows if age_time(codec.unpack(value.encode(), ArchivedJob).job) < before]
            if old:
                note = Note(actor="archive", reason=f"{len(old)} jobs are dropped")
                await self._committer.commit(note, writes=[row("archive", key, None) for key in old])
                dropped += len(old)
                young = 0
            elif rows:
                young += 1
                if young == _ENOUGH:
                    break
        return dropped
