"""The deployment status as a stream: an answer at once, and one whenever it has become another."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable

from billing_api.db.outbox import Progress
from billing_api.deployments.models import DeploymentAnswer
from billing_api.deployments.status import describe
from billing_api.errors import DatabaseUnavailable, NotFound, Unauthenticated
from billing_api.kube.followers import Follower
from billing_api.kube.instances import Sight

#: The outbox is not watched, nor is the end of a session: both are looked at again after this time.
_REFRESH_SECONDS = 15.0

#: How far telling Kubernetes is; raises Unauthenticated or NotFound once the caller may not see it any more.
Read = Callable[[], Awaitable[Progress | None]]
#: What is seen of the instance, by the resource version at which it was applied.
Look = Callable[[int | None], Sight]


class DeploymentEvents(AsyncIterator[DeploymentAnswer]):
    """The answers of one stream.

    It stays open when the deployment is completed, because the next change of the plan is a deployment as well. It ends
    with the follower (at shutdown), with the session, and when it is closed.
    """

    def __init__(
        self,
        *,
        name: str,
        base_domain: str,
        follower: Follower,
        read: Read,
        look: Look,
        seconds: float = math.inf,
        refresh: float = _REFRESH_SECONDS,
    ) -> None:
        """Follow an instance; nothing is asked before the first answer is.

        Args:
            name: the instance's name.
            base_domain: BASE_DOMAIN.
            follower: tells of its changes; it is closed with the stream.
            read: looks into the database.
            look: looks into the watch.
            seconds: how long the session lasts.
            refresh: seconds after which the database is looked into again.
        """
        self._name, self._base_domain = name, base_domain
        self._follower, self._read, self._look = follower, read, look
        self._refresh = refresh
        now = asyncio.get_running_loop().time
        self._now, self._until, self._read_at = now, now() + seconds, -math.inf
        self._progress: Progress | None = None
        self._last: DeploymentAnswer | None = None

    async def __anext__(self) -> DeploymentAnswer:
        """Return the next answer that differs from the last; what nobody has asked for in the meantime is left out."""
        while not await self._over():
            try:
                answer = await self._answer()
            except (Unauthenticated, NotFound, DatabaseUnavailable):
                break
            if answer != self._last:
                self._last = answer
                return answer
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give up the follower."""
        self._follower.close()

    async def _over(self) -> bool:
        """Wait for a change, or for the time to look again; tell whether the stream has come to its end instead."""
        try:
            async with asyncio.timeout_at(min(self._until, self._now() + self._refresh)):
                await anext(self._follower)
        except TimeoutError:
            return self._now() >= self._until
        except StopAsyncIteration:
            return True
        return False

    async def _answer(self) -> DeploymentAnswer:
        """Describe what is seen now. Of an instance that is there the outbox has little to tell: it is read seldom."""
        if self._now() >= self._read_at + self._refresh or self._seen().instance is None:
            await self._look_into_database()
        return describe(name=self._name, sight=self._seen(), outbox=self._progress, base_domain=self._base_domain)

    def _seen(self) -> Sight:
        return self._look(self._progress.applied_resource_version if self._progress else None)

    async def _look_into_database(self) -> None:
        try:
            self._progress = await self._read()
        except DatabaseUnavailable:
            # What was known goes on to be shown, and the next look is in a while. Of nothing, nothing can be shown.
            if self._read_at == -math.inf:
                raise
        self._read_at = self._now()
