"""Works on the rows of the outbox, each by the handler of its kind: at least once, in order for each subject.

The worker sleeps until a row is added, the next try is due, or a lease runs out. Any number of replicas may run one.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from billing_api.backoff import delay
from billing_api.db import outbox as rows
from billing_api.db.pool import Connection, Database
from billing_api.errors import ClusterUnavailable, DatabaseUnavailable, Postponed, Refused
from billing_api.metrics import Metrics
from billing_api.outbox.leases import Leases
from billing_api.settings import Settings
from billing_api.tasks import is_cancelled

#: Does the work of one kind of rows; what it returns is kept with the row as JSON. It may be called again for a row it
#: has worked on before, so it must not matter how often. Raises Refused when it will never work, and Postponed,
#: ClusterUnavailable or DatabaseUnavailable when it may later; anything else is a defect, and tried again, too.
Handler = Callable[[rows.Job], Awaitable[Mapping[str, Any] | None]]

#: A handler has time limits of its own; one that has none must not keep its place for ever.
_HANDLER_SECONDS = 300.0
#: What is due but locked by somebody for a moment is looked at again after this time.
_SHORTEST_SLEEP_SECONDS = 0.05
#: After a long outage there may be very many rows; nobody waits for an answer here.
_DATABASE_SECONDS = 10.0
_RECONNECT_SECONDS = (0.2, 5.0)
_MAX_REASON = 500

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Done:
    result: str | None


@dataclass(frozen=True)
class _Later:
    reason: str


@dataclass(frozen=True)
class _Never:
    reason: str


_Outcome = _Done | _Later | _Never


class OutboxWorker:
    """Keeps as many rows of each kind in work as the settings allow."""

    def __init__(
        self, *, database: Database, handlers: Mapping[str, Handler], settings: Settings, metrics: Metrics
    ) -> None:
        """Make a worker; `run` starts it.

        Args:
            database: where the rows are.
            handlers: one for each kind; rows of other kinds wait for a process that has one.
            settings: the ``outbox_`` ones.
            metrics: where outcomes are counted.
        """
        self._database = database
        self._handlers = dict(handlers)
        self._settings = settings
        self._metrics = metrics
        self._random = Random()  # noqa: S311 - spreads load, protects nothing
        self._wake = asyncio.Event()
        self._stopping = False
        self._impatient: set[str] = set()
        self._interrupted: set[str] = set()
        self._in_work: Counter[str] = Counter()
        self._leases = Leases(database, seconds=settings.outbox_lease)
        metrics.know_outbox(handlers)

    def wake(self) -> None:
        """Look for due rows now."""
        self._wake.set()

    def retry_at_once(self, kind: str) -> None:
        """Try all that waits of a kind now: what it waited for has come back."""
        self._impatient.add(kind)
        self._wake.set()

    def stop(self) -> None:
        """Let `run` return after the rows in work."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop` is called, through any number of outages of the database and of what handlers need."""
        self._in_work.clear()
        try:
            async with asyncio.TaskGroup() as group:
                keeper = group.create_task(self._leases.keep())
                await self._dispatch(group)
                await self._until_idle()
                keeper.cancel()
        finally:
            await self._leases.release()

    async def _dispatch(self, group: asyncio.TaskGroup) -> None:
        failures = 0
        while not self._stopping:
            self._wake.clear()
            try:
                seconds = await self._take(group)
                failures = 0
            except DatabaseUnavailable as error:
                failures += 1
                if failures == 1:
                    log.warning("The outbox waits for the database: %s", error)
                seconds = self._delay(failures, _RECONNECT_SECONDS)
            await self._sleep(seconds)

    async def _take(self, group: asyncio.TaskGroup) -> float | None:
        """Begin with what is due, as far as there is room; return the seconds until more is, or None."""
        room = self._room()
        if not room:
            return None
        await self._make_due()
        until = asyncio.get_running_loop().time() + self._settings.outbox_lease
        async with self._database.transaction(seconds=_DATABASE_SECONDS) as connection:
            jobs = await rows.claim(connection, room=room, seconds=self._settings.outbox_lease)
            left = {kind: slots - sum(job.kind == kind for job in jobs) for kind, slots in room.items()}
            seconds = await rows.seconds_until_due(connection, kinds=[kind for kind in left if left[kind]])
        for job in jobs:
            self._in_work[job.kind] += 1
            group.create_task(self._work_on(job, until=until))
        return seconds if seconds is None else max(seconds, _SHORTEST_SLEEP_SECONDS)

    def _room(self) -> dict[str, int]:
        """Return how many more rows can be taken of each kind; no kind can keep another waiting."""
        free = {kind: self._settings.outbox_batch_size - self._in_work[kind] for kind in self._handlers}
        return {kind: slots for kind, slots in free.items() if slots > 0}

    async def _make_due(self) -> None:
        if not self._impatient:
            return
        kinds, self._impatient = self._impatient, set()
        try:
            async with self._database.transaction(seconds=_DATABASE_SECONDS) as connection:
                await rows.make_due(connection, kinds=kinds)
        except DatabaseUnavailable:
            self._impatient |= kinds
            raise

    async def _until_idle(self) -> None:
        while self._in_work.total():
            self._wake.clear()
            await self._wake.wait()

    async def _work_on(self, job: rows.Job, *, until: float) -> None:
        try:
            async with self._leases.hold(job, until=until):
                ours = await self._settle(job, await self._handle(job))
        except TimeoutError:
            ours = False
        finally:
            self._in_work[job.kind] -= 1
            self._wake.set()
        if not ours:
            self._count(job, "lost")
            log.warning("The lease of outbox row %d (%s) has run out during the work on it", job.id, job.kind)

    async def _handle(self, job: rows.Job) -> _Outcome:
        try:
            async with asyncio.timeout(_HANDLER_SECONDS):
                result = await self._handlers[job.kind](job)
            return _Done(None if result is None else json.dumps(result))
        except Refused as error:
            return _Never(_text(error))
        except (Postponed, ClusterUnavailable, DatabaseUnavailable) as error:
            return _Later(_text(error))
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            return _defect(job, error)
        except Exception as error:
            return _defect(job, error)

    async def _settle(self, job: rows.Job, outcome: _Outcome) -> bool:
        """Record an outcome; what cannot be stored, such as a result PostgreSQL does not take, is a defect."""
        try:
            return await self._record(job, outcome)
        except Exception as error:
            return await self._record(job, _defect(job, error))

    async def _record(self, job: rows.Job, outcome: _Outcome) -> bool:
        """Store an outcome, through outages for as long as the lease lasts; return False when the row is not ours."""
        failures = 0
        while True:
            try:
                async with self._database.transaction() as connection:
                    ours = await self._store(connection, job, outcome)
                break
            except DatabaseUnavailable as error:
                failures += 1
                if failures == 1:
                    log.warning("What became of outbox row %d waits for the database: %s", job.id, error)
                await asyncio.sleep(self._delay(failures, _RECONNECT_SECONDS))
        if ours:
            self._tell(job, outcome)
        return ours

    async def _store(self, connection: Connection, job: rows.Job, outcome: _Outcome) -> bool:
        match outcome:
            case _Done(result):
                return await rows.finish(connection, job, result=result)
            case _Never(reason):
                return await rows.refuse(connection, job, reason=reason)
            case _Later(reason):
                bounds = self._settings.outbox_retry_base_seconds, self._settings.outbox_retry_max_seconds
                return await rows.postpone(connection, job, seconds=self._delay(job.attempts, bounds), reason=reason)

    def _tell(self, job: rows.Job, outcome: _Outcome) -> None:
        """Count and log an outcome; of rows that wait only the first of an interruption, and its end."""
        match outcome:
            case _Done():
                self._count(job, "done")
                if job.kind in self._interrupted:
                    self._interrupted.discard(job.kind)
                    log.info("Outbox rows of %s are done again", job.kind)
            case _Never(reason):
                self._count(job, "refused")
                log.error("Outbox row %d (%s, %s) is refused: %s", job.id, job.kind, job.subject, reason)
            case _Later(reason):
                self._count(job, "postponed")
                if job.kind not in self._interrupted:
                    self._interrupted.add(job.kind)
                    log.warning("Outbox rows of %s wait, and are tried again until it works: %s", job.kind, reason)

    def _count(self, job: rows.Job, outcome: str) -> None:
        self._metrics.outbox_attempts.labels(job.kind, outcome).inc()

    def _delay(self, failures: int, bounds: tuple[float, float]) -> float:
        return delay(failures, first=bounds[0], longest=bounds[1], random=self._random)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass


def _defect(job: rows.Job, error: BaseException) -> _Later:
    """Log an exception nobody foresaw. Its text may hold anything, so only its name is kept with the row."""
    log.error("The handler of outbox row %d (%s) has failed", job.id, job.kind, exc_info=error)
    return _Later(f"{type(error).__name__}: a defect of the billing API; its log has the details")


def _text(error: Exception) -> str:
    return str(error).replace("\0", "")[:_MAX_REASON]
