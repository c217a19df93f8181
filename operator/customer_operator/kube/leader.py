"""Leader election by a Lease: of several replicas one works, the others keep their view of the cluster warm.

An elector of our own, and not `kubernetes.aio.leaderelection`: see docs/decisions/0010-leadership.md.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from customer_operator.errors import ClusterError
from customer_operator.kube.client import KubeClient
from customer_operator.kube.fence import Fence
from customer_operator.kube.lease import LeaseLock

log = logging.getLogger(__name__)

LEASE_NAME = "customer-operator"
# Standbys come up to so much later than the retry period, so that they do not all write at once.
_JITTER = 1.2
# Of the renew deadline: so many requests may hang, one after the other, before the lead is lost.
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds: a lease not renewed for `duration` may be taken over; its holder writes nothing from `renew_deadline`.

    The time between the two is what a request may take to reach the API server after it has been sent.
    """

    duration: int
    renew_deadline: float
    retry_period: float


class Leadership:
    """Runs the work while this replica leads, stops it when it no longer does, and stands for election again."""

    def __init__(
        self,
        *,
        client: KubeClient,
        fence: Fence,
        namespace: str,
        identity: str,
        timing: Timing,
        work: Callable[[], Awaitable[None]],
    ) -> None:
        """Take a client and what to run; `work` is cancelled when the lead is lost.

        `client` must be one of its own, or a full pool of slow writes keeps the lease from being renewed, and not
        be fenced. `fence` is that of the clients that `work` writes with.
        """
        self._fence = fence
        self._identity = identity
        self._timing = timing
        self._work = work
        self._elected = False
        self._lock = LeaseLock(
            client,
            namespace=namespace,
            name=LEASE_NAME,
            identity=identity,
            duration=timing.duration,
            deadline=timing.renew_deadline / _TRIES,
        )

    @property
    def elected(self) -> bool:
        """Whether the work runs; for a moment, as when the machine wakes up, without the right to write."""
        return self._elected

    @property
    def leads(self) -> bool:
        """Whether this replica works, and may write."""
        return self._elected and self._fence.left > 0

    async def run(self) -> None:
        """Stand for election until cancelled; then stop the work first and release the lease after it.

        Returns by itself only when the work cannot be stopped: then the process must be started again.
        """
        try:
            while await self._term():
                await self._pause()
        finally:
            await self._lock.release()

    async def _term(self) -> bool:
        """Lead once, as soon as elected; False when the work does not end after it."""
        try:
            self._fence.extend(await self._stand())
            return await self._lead()
        except Exception:
            log.exception("replica %s: the election failed; standing again", self._identity)
            return True

    async def _stand(self) -> float:
        """Return, once the lease is ours, until when this replica may write."""
        while True:
            try:
                if (sent := await self._lock.acquire()) is not None:
                    return sent + self._timing.renew_deadline
            except ClusterError as error:
                log.info("the lease was not acquired: %s", error)
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self._timing.retry_period * random.uniform(1, _JITTER))  # noqa: S311 - protects nothing

    async def _lead(self) -> bool:
        log.info("replica %s leads", self._identity)
        self._elected = True
        work = asyncio.create_task(self._run_work(), name="work of the leader")
        renewal = asyncio.create_task(self._renew(), name="renewal of the lease")
        tasks = {work, renewal, asyncio.create_task(self._expire(), name="watchdog of the lease")}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            given_up = work.done()
        finally:
            self._elected = False
            self._fence.close()  # before anything else happens: from here on nothing is written
            ended = await self._end(tasks)
        if given_up:  # this replica cannot work; perhaps another can
            await self._lock.release()
        return ended

    async def _run_work(self) -> None:
        try:
            await self._work()
        except Exception:
            log.exception("replica %s: the work ended in an error; giving the lead up", self._identity)

    async def _renew(self) -> None:
        """Renew the lease until another replica holds it."""
        loop = asyncio.get_running_loop()
        tried = loop.time()
        while True:
            # A try that has hung for that long already is followed by the next at once.
            await asyncio.sleep(tried + self._timing.retry_period - loop.time())
            tried = loop.time()
            try:
                sent = await self._lock.acquire()
            except ClusterError as error:
                log.warning("the lease was not renewed: %s", error)
                continue
            if sent is None:
                log.warning("replica %s has lost the lease to another", self._identity)
                return
            self._fence.extend(sent + self._timing.renew_deadline)

    async def _expire(self) -> None:
        """Return when the lease has not been renewed in time, whatever the renewal is waiting for."""
        await self._fence.expired()
        log.warning("replica %s could not renew the lease in time; the work is stopped", self._identity)

    async def _end(self, tasks: set[asyncio.Task[None]]) -> bool:
        """Cancel the tasks; False when one of them does not end within the time another replica has to wait."""
        for task in tasks:
            task.cancel()
        _, running = await asyncio.wait(tasks, timeout=self._timing.duration)
        for task in running:
            log.critical("replica %s: the %s does not end; start this process again", self._identity, task.get_name())
        return not running
