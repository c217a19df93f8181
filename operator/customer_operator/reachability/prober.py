"""Tries who is due, while this replica leads: a few at a time, each in a thread, for a try blocks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from customer_operator.components.bootstrap import MQTT_PROBE_TOPIC, MQTT_PROBE_USER
from customer_operator.errors import OperatorError
from customer_operator.metrics import Metrics
from customer_operator.model.addresses import Endpoint
from customer_operator.model.credentials import Credentials
from customer_operator.reachability.book import Attempt, ReachabilityBook
from customer_operator.reachability.outcome import Outcome
from customer_operator.reachability.session import probe
from customer_operator.reachability.target import Target
from customer_operator.waiting import next_due

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """Where devices come in, by the host that they name, and how long a try may take (seconds)."""

    endpoint: Callable[[str], Endpoint]
    timeout: float


class Prober:
    """Takes from the book who is due, and tells it what has come of it."""

    def __init__(
        self,
        *,
        book: ReachabilityBook,
        door: Door,
        credentials: Callable[[str], Credentials | None],
        trust: Callable[[str], Awaitable[str | None]],
        metrics: Metrics,
        concurrency: int,
        attempt: Callable[[Target, float], Outcome] = probe,
    ) -> None:
        """Take what gives an instance's credentials, None as long as no pass has read them, and what devices trust.

        The latter is PEM, None for the authorities of every system, and may raise OperatorError.
        `concurrency` is how many are tried at once; `attempt` blocks.
        """
        self._book = book
        self._door = door
        self._credentials = credentials
        self._trust = trust
        self._metrics = metrics
        self._concurrency = concurrency
        self._attempt = attempt
        self._due = asyncio.Event()
        # A pass of the last term may have come to its end after that; others have been working since.
        book.clear()
        book.follow(due_changed=self._due.set)
        metrics.follow_reachability(unreachable=lambda: book.unreachable)

    async def run(self) -> None:
        """Try until cancelled; only a leader may."""
        threads = ThreadPoolExecutor(self._concurrency, thread_name_prefix="route-probe")
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(self._work(threads))
        finally:
            # Tries in flight come to their end, and nobody asks for it.
            threads.shutdown(wait=False, cancel_futures=True)
            self._book.clear()

    async def _work(self, threads: ThreadPoolExecutor) -> None:
        while True:
            attempt = await next_due(self._book.take, wait=self._book.wait, changed=self._due)
            await self._try(attempt, threads)

    async def _try(self, attempt: Attempt, threads: ThreadPoolExecutor) -> None:
        """Try one who was taken. Whatever is wrong with one instance, the leader goes on with all others."""
        try:
            target = await self._target(attempt)
            if target is None:
                self._book.postpone(attempt)
                return
            loop = asyncio.get_running_loop()
            outcome = await loop.run_in_executor(threads, self._attempt, target, self._door.timeout)
        except OperatorError as error:
            log.info("instance %s: what its devices trust cannot be read: %s", attempt.name, error)
            self._book.postpone(attempt)
            return
        except Exception:
            log.exception("instance %s: the try to reach its broker ended in an error of our own", attempt.name)
            self._metrics.probed("error", 0.0)
            self._book.postpone(attempt)
            return
        self._metrics.probed(outcome.label, outcome.seconds)
        # Not every try: 5,000 instances that nobody reaches would write 40 lines a second.
        if self._book.finish(attempt, outcome):
            why = f"is not reached: {outcome.failure}" if outcome.failure else "is reached"
            log.info("instance %s: its broker %s", attempt.name, why)

    async def _target(self, attempt: Attempt) -> Target | None:
        """Return whom to reach; None as long as the login is not known. Raises OperatorError."""
        credentials = self._credentials(attempt.name)
        if credentials is None:
            return None
        trust = await self._trust(attempt.name)
        endpoint = self._door.endpoint(attempt.subject.host)
        return Target(
            host=attempt.subject.host,
            address=endpoint.host,
            port=endpoint.port,
            topic=MQTT_PROBE_TOPIC,
            username=MQTT_PROBE_USER,
            password=credentials.mqtt_probe_password,
            trust=trust,
        )
