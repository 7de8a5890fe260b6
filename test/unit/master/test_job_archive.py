"""The end of archived jobs."""

import asyncio

import msgspec

from ganeti.host.clock import SystemClock
from ganeti.master.archive import Archive
from ganeti.master.commits import Committer
from ganeti.master.state import State, job_key, row
from ganeti.model.jobs import ArchivedJob, Job
from ganeti.testing.leadership import MemoryLeadership


def test_only_old_jobs_are_dropped():
    async def story():
        store, state = MemoryLeadership(), State()
        committer = Committer(state, store, SystemClock())
        for number in (1, 2, 1500, 2500):
            job = Job(id=number, ops=(), end_timestamp=(number, 0))
            write = row("archive", job_key(number), ArchivedJob(job=job, log=()))
            store.table[write.table, write.key] = write.value
        state.flags = msgspec.structs.replace(state.flags, last_job=3000)
        archive = Archive(state, committer, store)
        assert await archive.purge(2) == 1
        assert await archive.purge(2000) == 2
        assert [key for key, _ in await store.rows("archive")] == [job_key(2500)]

    asyncio.run(story())
