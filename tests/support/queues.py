"""What tests of queue and workers share: a clock they move, a way to take without waiting, instances as last seen."""

import asyncio
from dataclasses import dataclass

from customer_operator.naming import Manifest
from customer_operator.scheduling.queue import QueueItem, WorkQueue


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


async def take(queue: WorkQueue) -> QueueItem | None:
    """Return what the queue hands out at once; None when it has nothing that is due."""
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    if waiting.done():
        return waiting.result()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    return None


def take_now(queue: WorkQueue) -> str:
    """Take a due item without a round of the event loop: `get` does not suspend when there is one."""
    coroutine = queue.get()
    try:
        coroutine.send(None)
    except StopIteration as finished:
        item: QueueItem = finished.value
        return item.name
    raise AssertionError("nothing was due")


def make_body(
    *,
    phase: str = "Ready",
    plan: str = "starter",
    observed: int = 1,
    generation: int = 1,
    deleted: bool = False,
    license: str = "Valid",
) -> Manifest:
    """Return an instance with a status, whose spec asks for another plan than the one in force."""
    metadata: Manifest = {"name": "acme", "uid": "u", "resourceVersion": "1", "generation": generation}
    metadata["creationTimestamp"] = "2026-11-21T12:00:00Z"
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-21T12:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"plan": "trial"},
        "status": {"phase": phase, "plan": plan, "observedGeneration": observed, "license": {"state": license}},
    }
