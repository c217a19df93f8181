"""The leases of the rows this process works on: kept as long as they can be, and work without one is ended."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from billing_api.db import outbox as rows
from billing_api.db.pool import Database
from billing_api.errors import DatabaseUnavailable

#: So that one or two renewals may fail.
_RENEWALS_PER_LEASE = 3
#: A lease that cannot be given back runs out by itself.
_RELEASE_SECONDS = 2.0

log = logging.getLogger(__name__)

_Held = tuple[rows.Job, asyncio.Timeout]


class Leases:
    """Renews the leases of all rows in work together."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        """Begin with none; a lease lasts for so many seconds."""
        self._database = database
        self._seconds = seconds
        self._held: dict[tuple[int, UUID], _Held] = {}
        self._abandoned: list[rows.Job] = []

    @asynccontextmanager
    async def hold(self, job: rows.Job, *, until: float) -> AsyncIterator[None]:
        """Work on a row within the block, which is cancelled when the lease runs out.

        Args:
            job: the row, just claimed.
            until: when the lease runs out unless it is renewed, in the event loop's time.

        Raises:
            TimeoutError: the lease is lost; somebody else may be at the row by now.
        """
        key = (job.id, job.lease)
        async with asyncio.timeout_at(until) as limit:
            self._held[key] = (job, limit)
            try:
                yield
            except BaseException:
                if not limit.expired():
                    self._abandoned.append(job)
                raise
            finally:
                del self._held[key]

    async def keep(self) -> None:
        """Renew what is held until cancelled. While the database is away the leases run out."""
        while True:
            await asyncio.sleep(self._seconds / _RENEWALS_PER_LEASE)
            try:
                await self._renew()
            except DatabaseUnavailable as error:
                log.warning("Leases of the outbox cannot be renewed: %s", error)

    async def _renew(self) -> None:
        held = dict(self._held)
        if not held:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        async with self._database.transaction() as connection:
            ours = await rows.renew(connection, [job for job, _ in held.values()], seconds=self._seconds)
        for key in held.keys() & self._held.keys():
            limit = self._held[key][1]
            if not limit.expired():
                limit.reschedule(now + self._seconds if key in ours else now)

    async def release(self) -> None:
        """Give back what was not brought to an end, so that others can go on with it at once."""
        jobs, self._abandoned = self._abandoned, []
        if not jobs:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS), self._database.transaction() as connection:
                await rows.release(connection, jobs)
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("Leases of the outbox run out by themselves: %s", type(error).__name__)
