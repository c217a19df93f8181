"""Workers over a queue whose time stands still unless a test moves it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from prometheus_client import CollectorRegistry

from customer_operator.metrics import Metrics
from customer_operator.observed.cache import ObjectCache
from customer_operator.reconcile.reconciler import Outcome, Reconciler
from customer_operator.scheduling.queue import Priority, WorkQueue
from customer_operator.scheduling.workers import Workers
from hack.tasks import running
from tests.support.queues import Clock, make_body, take

RESYNC = 600.0
Answer = Outcome | Exception


@dataclass
class Bench:
    """Workers, their queue and their clock; `resyncs` tells of each pass whether it was to compare in full."""

    concurrency: int = 1
    clock: Clock = field(default_factory=Clock)
    cache: ObjectCache = field(default_factory=ObjectCache)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    resyncs: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache.upsert_instance(make_body())
        self.queue = WorkQueue(clock=self.clock)
        self.workers = Workers(
            queue=self.queue,
            cache=self.cache,
            metrics=Metrics(self.registry),
            concurrency=self.concurrency,
            resync=RESYNC,
            clock=self.clock,
        )

    async def run(self, reconcile: Callable[[str], Awaitable[Outcome]], *, until: Callable[[], bool]) -> None:
        """Let the workers work until a condition holds, then stop them."""
        bench = self

        class Scripted:
            async def reconcile(self, name: str, *, resync: bool) -> Outcome:
                bench.resyncs.append(resync)
                return await reconcile(name)

        async with running(self.workers.run(cast("Reconciler", Scripted()))), asyncio.timeout(5):
            while not until():  # noqa: ASYNC110 - turns of the event loop, no waiting
                await asyncio.sleep(0)

    async def one_pass(self, answer: Answer) -> None:
        """Work on what is due, once."""
        calls = []

        async def reconcile(name: str) -> Outcome:
            calls.append(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        await self.run(reconcile, until=lambda: bool(calls) and not self.queue.in_flight())

    async def one_pass_of(self, name: str, answer: Answer) -> None:
        """Queue an instance, and work on it once."""
        self.queue.add(name, Priority.TRIAL)
        await self.one_pass(answer)

    async def due_after(self, seconds: float) -> Priority | None:
        """Return the class of what is due after so many seconds; None when nothing is."""
        self.clock.now += seconds
        work = await take(self.queue)
        if work is not None:
            self.queue.done(work.name)
        return work.priority if work else None
