"""Background tasks that never end in silence: whatever ends one, it is logged, counted, and started again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Self

from billing_api.backoff import delay
from billing_api.errors import ClusterUnavailable, DatabaseUnavailable
from billing_api.metrics import Metrics

#: They pass by themselves; everything else is a defect.
_OUTAGES = (DatabaseUnavailable, ClusterUnavailable)
#: After so many defects in a row, half a minute of trying, only a new process may help.
_HOPELESS_AFTER = 10
#: A call of a task takes less as a rule; one that is cut off is done again. The server waits 8 seconds for all of it.
_STOP_SECONDS = 6.0

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class _Task:
    name: str
    run: Callable[[], Awaitable[None]]
    stop: Callable[[], None] | None
    running: bool = True
    failures: int = 0
    defects: int = 0


class Supervisor:
    """Runs background tasks until the end of an ``async with`` block."""

    def __init__(self, metrics: Metrics, *, first: float = 0.2, longest: float = 5.0) -> None:
        """Begin without tasks.

        Args:
            metrics: where restarts are counted.
            first, longest: bounds of the wait before a task is started again, in seconds; a task that has run for
                longer than the longest wait counts as healthy.
        """
        self._metrics = metrics
        self._first = first
        self._longest = longest
        self._tasks: dict[asyncio.Task[None], _Task] = {}
        self._stopping = asyncio.Event()
        self._random = Random()  # noqa: S311 - spreads load, protects nothing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._close()

    def start(self, name: str, run: Callable[[], Awaitable[None]], *, stop: Callable[[], None] | None = None) -> None:
        """Run a task from now on, and again whenever it ends.

        Args:
            name: how it is called in the log, in the metric, and among asyncio's tasks.
            run: what it does; called again after every end.
            stop: makes ``run`` return soon; without it the task is cancelled when the block ends.
        """
        self._metrics.task_restarts.labels(name)
        task = _Task(name=name, run=run, stop=stop)
        self._tasks[asyncio.create_task(self._supervise(task), name=name)] = task

    @property
    def down(self) -> tuple[str, ...]:
        """Names of the tasks that do not run at the moment, but wait to be started again."""
        return tuple(task.name for task in self._tasks.values() if not task.running)

    @property
    def hopeless(self) -> tuple[str, ...]:
        """Names of the tasks that starting again does not mend: the process should be."""
        return tuple(task.name for task in self._tasks.values() if task.defects >= _HOPELESS_AFTER)

    async def _supervise(self, task: _Task) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            error = await _run(task)
            if self._stopping.is_set():
                return
            self._note(task, error, healthy=loop.time() - began > self._longest)
            await self._wait(delay(task.failures, first=self._first, longest=self._longest, random=self._random))
            if self._stopping.is_set():
                return
            self._metrics.task_restarts.labels(task.name).inc()

    def _note(self, task: _Task, error: Exception, *, healthy: bool) -> None:
        """Count a failure, and log it: every defect, but of an outage only the beginning."""
        task.failures = 1 if healthy else task.failures + 1
        if isinstance(error, _OUTAGES):
            task.defects = 0
            if task.failures == 1:
                log.warning("The background task %s is interrupted, and tried until it works: %s", task.name, error)
            return
        task.defects = 1 if healthy else task.defects + 1
        log.error("The background task %s has failed and is started again", task.name, exc_info=error)
        if task.defects == _HOPELESS_AFTER:
            log.critical("The background task %s fails again and again: restart this process", task.name)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _close(self) -> None:
        self._stopping.set()
        asked = []
        for running, task in self._tasks.items():
            if task.stop is None:
                running.cancel()
            else:
                task.stop()
                asked.append(running)
        if asked:
            _, late = await asyncio.wait(asked, timeout=_STOP_SECONDS)
            for running in late:
                log.warning("The background task %s does not end in %.0f s", running.get_name(), _STOP_SECONDS)
                running.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _run(task: _Task) -> Exception:
    """Run a task to its end, and return what ended it; only our own cancellation goes through."""
    task.running = True
    try:
        await task.run()
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        return RuntimeError("a part of it was cancelled")
    except Exception as error:
        return error
    finally:
        task.running = False
    return RuntimeError("it ended by itself")


def is_cancelled() -> bool:
    """Tell, of a CancelledError, whether it was meant for this very task, and not for something it waits for."""
    current = asyncio.current_task()
    return current is None or current.cancelling() > 0
