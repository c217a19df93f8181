"""Takes instances from the queue and reconciles them, several at once; decides when each is due again."""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from customer_operator.errors import ClusterUnreachable, Conflict
from customer_operator.licensing.token import LicenseState
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from customer_operator.reconcile.reconciler import Outcome, Reconciler
from customer_operator.scheduling.queue import Priority, QueueItem, WorkQueue
from customer_operator.status.record import Phase, read_status

log = logging.getLogger(__name__)

# Seconds. Watches of several objects tell of one change; they are looked at together.
_COALESCE = 0.25
# Seconds. Somebody else is changing the same object: each time in a row waits twice as long.
_CONFLICT_DELAY, _LONGEST_CONFLICT_DELAY = 0.2, 30.0
# While the API server is away every name is put back; it is nobody's failure, so no try is counted.
_OUTAGE_DELAYS = (0.5, 1.0, 2.0, 4.0, 8.0)
_RESYNC_JITTER = 0.1


class Workers:
    """The tasks that work, and the rules by which names enter the queue."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        cache: ObjectCache,
        metrics: Metrics,
        concurrency: int,
        resync: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the queue; `concurrency` instances are in flight at once, `resync` is the slow interval in seconds.

        `clock` returns seconds and never goes back.
        """
        self._queue = queue
        self._cache = cache
        self._metrics = metrics
        self._concurrency = concurrency
        self._resync = resync
        self._clock = clock
        self._resync_at: dict[str, float] = {}
        self._conflicts: dict[str, int] = {}
        self._outages = 0
        self._last_pass: float | None = None  # None while nobody works: then nothing can hang

    def stalled_for(self) -> float:
        """Return for how many seconds due items have been waiting without any pass coming to an end; 0 for none.

        A long queue alone is no stall: after a restart thousands of steady instances wait, while work goes on.
        """
        return 0.0 if self._last_pass is None else min(self._queue.oldest_wait(), self._clock() - self._last_pass)

    def instance_changed(self, name: str) -> None:
        """Queue an instance whose resource was created, changed or deleted; a steady one only for a look."""
        body = self._cache.instance(name)
        self._queue.add(name, priority_of(body) if body else Priority.DELETE)

    def object_changed(self, name: str) -> None:
        """Queue an instance one of whose objects changed."""
        body = self._cache.instance(name)
        if body is not None:
            self._queue.add(name, plan_priority(body), delay=_COALESCE)

    def compare_again(self, name: str, *, within: float) -> None:
        """Have an instance compared in full, even if it has given up, at a random time within so many seconds."""
        self._resync_at[name] = self._clock()
        delay = random.uniform(0, within)  # noqa: S311 - spreads load, protects nothing
        self._queue.add(name, Priority.RESYNC, delay=delay)

    def keys_changed(self) -> None:
        """Have the instances tried again at once whose license was not trusted, as the license keys are others now.

        Those in flight may just have been refused by the keys of before.
        """
        for name in self._cache.names():
            body = self._cache.instance(name)
            if body is not None and (self._queue.is_in_flight(name) or _is_distrusted(body)):
                self._resync_at[name] = self._clock()
                self._queue.add(name, plan_priority(body))

    def start_over(self) -> None:
        """Forget what was due, and queue every known instance to be compared in full."""
        self._queue.clear()
        self._resync_at.clear()
        for name in self._cache.names():
            self.instance_changed(name)

    async def run(self, reconciler: Reconciler) -> None:
        """Work until cancelled."""
        self._last_pass = self._clock()
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(self._work(reconciler))
        finally:
            self._last_pass = None

    async def _work(self, reconciler: Reconciler) -> None:
        while True:
            item = await self._queue.get()
            try:
                await self._once(reconciler, item)
            finally:
                self._queue.done(item.name)

    async def _once(self, reconciler: Reconciler, item: QueueItem) -> None:
        self._metrics.waited(item.priority.label, item.waited)
        started = self._clock()
        due = self._resync_at.get(item.name)
        resync = due is None or started >= due
        try:
            outcome = await reconciler.reconcile(item.name, resync=resync)
        except ClusterUnreachable as error:
            outcome = self._outage(item, error)
        except Conflict as error:
            outcome = self._conflict(item, error)
        except Exception:
            log.exception("instance %s: a pass ended in an error that is not the instance's", item.name)
            outcome = self._put_back(item, "error", delay=_OUTAGE_DELAYS[-1])
        else:
            self._outages = 0
            self._conflicts.pop(item.name, None)
            # One that has been asked for during the pass is still to come.
            asked = self._resync_at.get(item.name) != due
            self._schedule(item.name, outcome, resynced=resync and not asked)
        self._last_pass = ended = self._clock()
        self._metrics.reconciled(outcome.result, ended - started)

    def _schedule(self, name: str, outcome: Outcome, *, resynced: bool) -> None:
        body = self._cache.instance(name)
        if body is None or outcome.result in ("gone", "deleted", "released"):
            self._resync_at.pop(name, None)
            return
        if outcome.requeue_after is not None:
            priority = Priority.RESYNC if outcome.steady else plan_priority(body)
            self._queue.add(name, priority, delay=outcome.requeue_after)
        now = self._clock()
        if resynced:
            spread = 1 + random.uniform(-_RESYNC_JITTER, _RESYNC_JITTER)  # noqa: S311 - spreads load, protects nothing
            self._resync_at[name] = now + self._resync * spread
        self._queue.add(name, Priority.RESYNC, delay=max(0.0, self._resync_at[name] - now))

    def _outage(self, item: QueueItem, error: ClusterUnreachable) -> Outcome:
        if self._outages == 0:
            log.warning("the API server is away, work waits for it: %s", error)
        delay = _OUTAGE_DELAYS[min(self._outages, len(_OUTAGE_DELAYS) - 1)]
        self._outages += 1
        return self._put_back(item, "unreachable", delay=delay)

    def _conflict(self, item: QueueItem, error: Conflict) -> Outcome:
        log.info("instance %s: %s; looking again", item.name, error)
        row = self._conflicts[item.name] = self._conflicts.get(item.name, 0) + 1
        delay = min(_CONFLICT_DELAY * 2 ** min(row - 1, 10), _LONGEST_CONFLICT_DELAY)
        return self._put_back(item, "conflict", delay=delay)

    def _put_back(self, item: QueueItem, result: str, *, delay: float) -> Outcome:
        self._queue.add(item.name, item.priority, delay=delay)
        return Outcome(result, requeue_after=delay)


def _is_distrusted(body: Manifest) -> bool:
    return bool((read_status(body).written.get("license") or {}).get("state") == LicenseState.INVALID)


def priority_of(body: Manifest) -> Priority:
    """Return the class of an instance whose resource was seen: deletion first, then its plan, last what is steady."""
    if body["metadata"].get("deletionTimestamp"):
        return Priority.DELETE
    status = read_status(body)
    steady = status.observed_generation == body["metadata"].get("generation")
    return Priority.RESYNC if steady and status.phase in (Phase.READY, Phase.SUSPENDED) else plan_priority(body)


def plan_priority(body: Manifest) -> Priority:
    """Return the class of an instance's plan: the one in force, or else the one asked for."""
    if body["metadata"].get("deletionTimestamp"):
        return Priority.DELETE
    plan = read_status(body).plan or (body.get("spec") or {}).get("plan") or "trial"
    return _BY_PLAN.get(plan, Priority.TRIAL)


_BY_PLAN = {
    "enterprise": Priority.ENTERPRISE,
    "professional": Priority.PROFESSIONAL,
    "starter": Priority.STARTER,
    "trial": Priority.TRIAL,
}
