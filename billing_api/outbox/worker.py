"""Tells Kubernetes of every signup: at least once, under a name that never changes, which makes it exactly once.

The worker sleeps until a signup notifies it, the next retry is due, or Kubernetes comes back. Any number of
replicas may run one.
"""

import asyncio
import logging
from collections.abc import Sequence
from random import Random

from billing_api.backoff import delay
from billing_api.db import outbox as rows
from billing_api.db.pool import Connection, Database
from billing_api.errors import ClusterRejected, ClusterUnavailable, DatabaseUnavailable, WatchExpired
from billing_api.kube.client import Applied, KubeClient
from billing_api.kube.instances import manifest
from billing_api.metrics import Metrics
from billing_api.settings import Settings

#: Rows that another replica holds are looked at again after this time, in case it died without a word;
#: longer than an apply can take.
_ABANDONED_AFTER_SECONDS = 30.0
_RECONNECT_SECONDS = (0.2, 5.0)

_Outcome = Applied | ClusterRejected | ClusterUnavailable

log = logging.getLogger(__name__)


class OutboxWorker:
    """Applies due rows, batch after batch."""

    def __init__(self, *, database: Database, client: KubeClient, settings: Settings, metrics: Metrics) -> None:
        self._database = database
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._random = Random()  # noqa: S311 - spreads load, protects nothing
        self._wake = asyncio.Event()
        self._retry_all = False
        self._stopping = False
        self._outage = False

    def cluster_is_back(self) -> None:
        """Try everything that waits at once."""
        self._retry_all = True
        self._wake.set()

    def stop(self) -> None:
        """Let `run` return after the batch it is at."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop` is called, through any number of outages of either side."""
        listener = asyncio.create_task(self._listen(), name="outbox-listener")
        failures = 0
        try:
            while not self._stopping:
                self._wake.clear()
                try:
                    seconds = await self._work()
                    failures = 0
                except DatabaseUnavailable as error:
                    failures += 1
                    seconds = self._after_outage(error, failures)
                await self._sleep(seconds)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _work(self) -> float | None:
        """Do all that is due; return the seconds until more is, or None when nothing waits."""
        if self._retry_all:
            await self._make_due()
        while not self._stopping and await self._batch():
            pass
        async with self._database.transaction() as connection:
            seconds = await rows.seconds_until_due(connection)
            others = seconds is None and await rows.count_pending(connection) > 0
        return _ABANDONED_AFTER_SECONDS if others else seconds

    async def _make_due(self) -> None:
        self._retry_all = False
        try:
            async with self._database.transaction() as connection:
                await rows.make_due(connection)
        except DatabaseUnavailable:
            self._retry_all = True
            raise

    async def _batch(self) -> int:
        """Apply one batch; its rows stay locked meanwhile, and free themselves should this process die."""
        async with self._database.transaction() as connection:
            jobs = await rows.claim(connection, limit=self._settings.outbox_batch_size)
            outcomes = await asyncio.gather(*(self._apply(job) for job in jobs))
            for job, outcome in zip(jobs, outcomes, strict=True):
                await self._record(connection, job, outcome)
        self._report(outcomes)
        return len(jobs)

    def _report(self, outcomes: Sequence[_Outcome]) -> None:
        """Log the beginning and the end of an outage, not every row that meets it."""
        waiting = [outcome for outcome in outcomes if isinstance(outcome, ClusterUnavailable)]
        if waiting and not self._outage:
            log.warning("Customer instances wait, and are tried again until it works: %s", waiting[0])
        if outcomes and self._outage and not waiting:
            log.info("Customer instances are applied again")
        self._outage = bool(waiting) if outcomes else self._outage

    async def _apply(self, job: rows.Job) -> _Outcome:
        body = manifest(
            name=job.instance_name,
            customer_id=job.customer_id,
            email=job.email,
            company_name=job.company_name,
            plan=job.license_plan,
            license=job.license_jwt,
        )
        try:
            return await self._client.apply(body)
        except WatchExpired as error:
            return ClusterUnavailable(str(error))
        except (ClusterRejected, ClusterUnavailable) as error:
            return error

    async def _record(self, connection: Connection, job: rows.Job, outcome: _Outcome) -> None:
        self._metrics.outbox_applies.labels(_outcome(outcome)).inc()
        match outcome:
            case Applied():
                await rows.finish(
                    connection, job, generation=outcome.generation, resource_version=outcome.resource_version
                )
                log.info("Applied customer instance %s", job.instance_name)
            case ClusterRejected():
                await rows.give_up(connection, job, reason=str(outcome))
                log.error("Customer instance %s cannot be applied: %s", job.instance_name, outcome)
            case ClusterUnavailable():
                seconds = self._retry_in(job.attempts + 1)
                await rows.postpone(connection, job, seconds=seconds, reason=str(outcome))

    def _retry_in(self, failures: int) -> float:
        first, longest = self._settings.outbox_retry_base_seconds, self._settings.outbox_retry_max_seconds
        return delay(failures, first=first, longest=longest, random=self._random)

    def _after_outage(self, error: Exception, failures: int) -> float:
        if failures == 1:
            log.warning("The outbox waits for the database: %s", error)
        first, longest = _RECONNECT_SECONDS
        return delay(failures, first=first, longest=longest, random=self._random)

    async def _sleep(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _listen(self) -> None:
        """Wake the worker at every NOTIFY, and after every reconnect, since what came meanwhile was missed."""
        failures = 0
        while True:
            try:
                async for _ in self._database.notifications(rows.CHANNEL):
                    failures = 0
                    self._wake.set()
            except DatabaseUnavailable as error:
                failures += 1
                await asyncio.sleep(self._after_outage(error, failures))


def _outcome(outcome: _Outcome) -> str:
    match outcome:
        case Applied():
            return "applied"
        case ClusterRejected():
            return "rejected"
        case _:
            return "postponed"
