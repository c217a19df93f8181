"""Takes instances from the queue and reconciles them, several at once."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from customer_operator.errors import ClusterUnreachable, Conflict
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest
from customer_operator.observed.cache import Inventory
from customer_operator.reconcile.reconciler import Outcome, Reconciler
from customer_operator.scheduling.queue import Priority, Work, WorkQueue

log = logging.getLogger(__name__)

# Seconds. Watches of several children tell of one change; they are looked at together.
_COALESCE = 0.25
_CONFLICT_DELAY = 0.2
# While the API server is away every name is put back; it is nobody's failure, so no try is counted.
_OUTAGE_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)
_RESYNC_JITTER = 0.1


class Workers:
    """The tasks that work, and the rules by which names enter the queue."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        inventory: Inventory,
        metrics: Metrics,
        concurrency: int,
        resync: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the queue; `concurrency` instances are in work at once, `resync` is the slow interval in seconds.

        `clock` returns seconds and never goes back.
        """
        self._queue = queue
        self._inventory = inventory
        self._metrics = metrics
        self._concurrency = concurrency
        self._resync = resync
        self._clock = clock
        self._resync_at: dict[str, float] = {}
        self._outages = 0
        self._last_pass = clock()

    def stalled_for(self) -> float:
        """Return for how many seconds due work has been waiting without any pass coming to an end; 0 for none.

        A long queue alone is no stall: after a restart thousands of steady instances wait, while work goes on.
        """
        return min(self._queue.oldest_wait(), self._clock() - self._last_pass)

    def instance_changed(self, name: str) -> None:
        """Queue an instance whose resource was created, changed or deleted; a steady one only for a look."""
        body = self._inventory.instance(name)
        self._queue.add(name, priority_of(body) if body else Priority.DELETE)

    def child_changed(self, name: str) -> None:
        """Queue an instance one of whose objects changed."""
        body = self._inventory.instance(name)
        if body is not None:
            self._queue.add(name, plan_priority(body), delay=_COALESCE)

    async def run(self, reconciler: Reconciler) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(self._work(reconciler))

    async def _work(self, reconciler: Reconciler) -> None:
        while True:
            work = await self._queue.get()
            try:
                await self._once(reconciler, work)
            finally:
                self._queue.done(work.name)

    async def _once(self, reconciler: Reconciler, work: Work) -> None:
        self._metrics.waited(work.priority.label, work.waited)
        started = self._clock()
        resync = started >= self._resync_at.get(work.name, 0.0)
        try:
            outcome = await reconciler.reconcile(work.name, resync=resync)
        except ClusterUnreachable as error:
            outcome = self._outage(work, error)
        except Conflict as error:
            log.info("instance %s: %s; looking again", work.name, error)
            self._queue.add(work.name, work.priority, delay=_CONFLICT_DELAY)
            outcome = Outcome("conflict", again=_CONFLICT_DELAY)
        except Exception:
            log.exception("instance %s: a pass ended in an error that is not the instance's", work.name)
            self._queue.add(work.name, work.priority, delay=_OUTAGE_DELAYS[-1])
            outcome = Outcome("error", again=_OUTAGE_DELAYS[-1])
        else:
            self._outages = 0
            self._schedule(work.name, outcome, resynced=resync)
        self._last_pass = self._clock()
        self._metrics.reconciled(outcome.result, self._last_pass - started)

    def _schedule(self, name: str, outcome: Outcome, *, resynced: bool) -> None:
        body = self._inventory.instance(name)
        if body is None or outcome.result in ("gone", "deleted", "released"):
            self._resync_at.pop(name, None)
            return
        if outcome.again is not None:
            self._queue.add(name, plan_priority(body), delay=outcome.again)
        now = self._clock()
        if resynced:
            spread = 1 + random.uniform(-_RESYNC_JITTER, _RESYNC_JITTER)  # noqa: S311 - spreads load, protects nothing
            self._resync_at[name] = now + self._resync * spread
        self._queue.add(name, Priority.RESYNC, delay=max(0.0, self._resync_at[name] - now))

    def _outage(self, work: Work, error: ClusterUnreachable) -> Outcome:
        delay = _OUTAGE_DELAYS[min(self._outages, len(_OUTAGE_DELAYS) - 1)]
        if self._outages == 0:
            log.warning("the API server is away, work waits for it: %s", error)
        self._outages += 1
        self._queue.add(work.name, work.priority, delay=delay)
        return Outcome("unreachable", again=delay)


def priority_of(body: Manifest) -> Priority:
    """Return the class of an instance whose resource was seen: deletion first, then its plan, last what is steady."""
    if body["metadata"].get("deletionTimestamp"):
        return Priority.DELETE
    status = body.get("status") or {}
    steady = status.get("observedGeneration") == body["metadata"].get("generation")
    return Priority.RESYNC if steady and status.get("phase") in ("Ready", "Suspended") else plan_priority(body)


def plan_priority(body: Manifest) -> Priority:
    """Return the class of an instance's plan: the one in force, or else the one asked for."""
    if body["metadata"].get("deletionTimestamp"):
        return Priority.DELETE
    plan = (body.get("status") or {}).get("plan") or (body.get("spec") or {}).get("plan") or "trial"
    return _BY_PLAN.get(plan, Priority.TRIAL)


_BY_PLAN = {
    "enterprise": Priority.ENTERPRISE,
    "professional": Priority.PROFESSIONAL,
    "starter": Priority.STARTER,
    "trial": Priority.TRIAL,
}
