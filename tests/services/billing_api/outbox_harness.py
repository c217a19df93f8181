"""The outbox by itself: a replica of the worker, rows to work on, and how they are."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from billing_api.db import outbox as rows
from billing_api.db.pool import Database
from billing_api.metrics import Metrics
from billing_api.outbox import listener
from billing_api.outbox.worker import Handler, OutboxWorker
from billing_api.settings import Settings
from billing_api.tasks import Supervisor
from tests.services.billing_api.harness import Query


class Replica:
    """A worker with its listener, supervised as in the app."""

    def __init__(self, database: Database, handlers: Mapping[str, Handler], settings: Settings) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.worker = OutboxWorker(database=database, handlers=handlers, settings=settings, metrics=self.metrics)
        self.tasks = Supervisor(self.metrics, first=0.01, longest=0.05)
        self._database = database

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Replica"]:
        async with self.tasks:
            self.tasks.start("outbox", self.worker.run, stop=self.worker.stop)
            self.tasks.start("outbox-listener", lambda: listener.listen(self._database, self.worker.wake))
            yield self

    def attempts(self, outcome: str, kind: str = "dig") -> float | None:
        labels = {"kind": kind, "outcome": outcome}
        return self.metrics.registry.get_sample_value("billing_outbox_attempts_total", labels)

    def restarts(self, task: str) -> float:
        return self.metrics.registry.get_sample_value("billing_task_restarts_total", {"task": task}) or 0


async def add(database: Database, *subjects: str, kind: str = "dig", **payload: Any) -> None:
    async with database.transaction() as connection:
        for number, subject in enumerate(subjects):
            await rows.add(connection, kind=kind, subject=subject, payload={"number": number, **payload})


def states(query: Query) -> list[str]:
    return [row["state"] for row in query("SELECT state FROM outbox ORDER BY id")]
