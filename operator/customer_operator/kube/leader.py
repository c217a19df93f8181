"""Leader election by a Lease: of several replicas one works, the others keep their view of the cluster warm."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException, V1Lease, V1ObjectMeta
from kubernetes.aio.leaderelection.electionconfig import Config
from kubernetes.aio.leaderelection.leaderelection import LeaderElection
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.leaselock import LeaseLock

log = logging.getLogger(__name__)

LEASE_NAME = "customer-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds: a lease not renewed for `duration` may be taken over; its holder stops working at `renew_deadline`."""

    duration: int
    renew_deadline: float
    retry_period: float


class Lock(LeaseLock):
    """The library's lock, for an API server that may be away: no answer is a failed try, not the election's end."""

    async def get(
        self, name: str, namespace: str
    ) -> tuple[bool, LeaderElectionRecord] | tuple[bool, Exception] | tuple[bool, None]:
        """Return the lease's record, or the error that was the answer."""
        try:
            return await super().get(name, namespace)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return False, ApiException(status=0, reason=f"no answer ({type(error).__name__})")

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        """Create the lease; False when that failed.

        Not the library's own: version 37.0.2 passes `pretty=True`, which its generated client refuses to take.
        """
        lease = V1Lease(metadata=V1ObjectMeta(name=name), spec=self.update_lease(election_record))
        try:
            await self.api_instance.create_namespaced_lease(namespace, lease)
        except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.warning("the lease was not created: %s", getattr(error, "reason", None) or type(error).__name__)
            return False
        return True

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        """Write the lease; False when that failed."""
        try:
            return await super().update(name, namespace, updated_record)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def release(self) -> None:
        """Give the lease back, so that another replica need not wait for it to run out."""
        try:
            # Read again: the library keeps the lease as it was before its own last write.
            lease = await self.api_instance.read_namespaced_lease(self.name, self.namespace)
            if lease.spec is None or lease.spec.holder_identity != self.identity:
                return
            lease.spec.holder_identity = None
            await self.api_instance.replace_namespaced_lease(name=self.name, namespace=self.namespace, body=lease)
        except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
            log.info("the lease was not released (%s); it runs out by itself", type(error).__name__)


class Leadership:
    """Runs the work while this replica leads, stops it when it no longer does, and stands for election again."""

    def __init__(
        self,
        *,
        client: ApiClient,
        namespace: str,
        identity: str,
        timing: Timing,
        work: Callable[[], Awaitable[None]],
    ) -> None:
        """Take the client and what to run; `work` is cancelled when the lead is lost."""
        self._client = client
        self._namespace = namespace
        self._identity = identity
        self._timing = timing
        self._work = work
        self.leads = False

    async def run(self) -> None:
        """Stand for election until cancelled; then stop the work first and release the lease after it."""
        while True:
            try:
                await self._term(Lock(LEASE_NAME, self._namespace, self._identity, self._client))
            except Exception:
                log.exception("replica %s: leading ended in an error; standing for election again", self._identity)
                await asyncio.sleep(self._timing.retry_period)

    async def _lost(self) -> None:
        log.warning("replica %s has lost the lead; standing for election again", self._identity)

    async def _term(self, lock: Lock) -> None:
        """Lead once, if elected, until the lease is lost or the work ends, which only an error makes it do."""
        elected = asyncio.Event()

        async def started() -> None:
            elected.set()

        config = Config(
            lock,
            lease_duration=self._timing.duration,
            renew_deadline=self._timing.renew_deadline,
            retry_period=self._timing.retry_period,
            onstarted_leading=started,
            onstopped_leading=self._lost,
        )
        tasks = [asyncio.create_task(LeaderElection(config).run()), asyncio.create_task(self._lead(elected))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self.leads = False
            await asyncio.shield(lock.release())
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _lead(self, elected: asyncio.Event) -> None:
        await elected.wait()
        log.info("replica %s leads", self._identity)
        self.leads = True
        await self._work()
