"""One list and watch of all CustomerInstances, shared by every request: answers come from memory."""

import asyncio
import logging
from collections.abc import Callable
from random import Random

from billing_api.backoff import delay
from billing_api.errors import ClusterRejected, ClusterUnavailable, WatchExpired
from billing_api.kube.client import Event, KubeClient, version_number
from billing_api.kube.followers import Followers
from billing_api.kube.index import InstanceIndex
from billing_api.kube.instances import Sight
from billing_api.metrics import Metrics

#: A cluster that comes back is noticed within this time.
_LONGEST_WAIT_SECONDS = 5.0
_FIRST_WAIT_SECONDS = 0.2
#: client-go calls a watch below this "very short", too.
_SHORTEST_WATCH_SECONDS = 1.0

log = logging.getLogger(__name__)


class InstanceWatch:
    """What the cluster knows, kept up to date by `run`.

    Attributes:
        connected: whether the picture is current. While it is not, the last one is kept.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        followers: Followers,
        metrics: Metrics,
        on_connected: Callable[[], None],
    ) -> None:
        """Watch a cluster.

        Args:
            client: the API server.
            followers: told of every change.
            metrics: counts the instances that cannot be read.
            on_connected: called whenever the cluster answers again after it did not.
        """
        self.connected = False
        self._client = client
        self._followers = followers
        self._on_connected = on_connected
        self._index = InstanceIndex()
        self._skipped: dict[str, str] = {}
        self._resource_version = ""
        self._failures = 0
        self._expiries = 0
        self._random = Random()  # noqa: S311 - spreads load, protects nothing
        metrics.instances_unreadable.set_function(lambda: float(len(self._index.unreadable)))

    def look(self, name: str, *, customer_id: str, applied: int | None) -> Sight:
        """Return what is known of a customer's instance.

        Args:
            name: the instance's name.
            customer_id: whose it is; an instance of that name that belongs to somebody else is not shown.
            applied: the resource version at which it was applied; None when it was not yet. If the picture has
                come that far and the instance is not in it, it is gone, and not only late.
        """
        instance, seen = self._index.get(name, customer_id=customer_id), version_number(self._resource_version)
        readable = name not in self._index.unreadable
        gone = instance is None and readable and applied is not None and seen is not None and seen >= applied
        return Sight(instance=instance, current=self.connected, gone=gone, readable=readable)

    async def run(self) -> None:
        """Keep the picture up to date until cancelled, through any number of outages."""
        try:
            while True:
                seconds = await self._turn()
                await asyncio.sleep(seconds)
        except Exception:
            # Whatever it was, it must not come again: the next run begins with a list.
            self._resource_version = ""
            raise
        finally:
            self._disconnect()

    async def _turn(self) -> float:
        """List if need be and watch until the watch ends; return how many seconds to wait before the next turn."""
        try:
            if not self._resource_version:
                await self._list()
            await self._follow()
        except WatchExpired:
            return self._expired()
        except (ClusterUnavailable, ClusterRejected) as error:
            return self._lost(error)
        return 0.0

    async def _list(self) -> None:
        names: set[str] = set()
        version = ""
        async for items, page_version in self._client.pages():
            for item in items:
                self._put(item)
                names.add(item.name)
            version = page_version
        self._index.keep(names)
        self._forget_skipped()
        self._resource_version = version
        self._followers.notify_all()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._client.watch(self._resource_version) as events:
            began = loop.time()
            self._found()
            async for event in events:
                self._expiries = self._failures = 0
                self._record(event)
        if loop.time() - began < _SHORTEST_WATCH_SECONDS:
            # A server that goes down, or a proxy in between: asking again at once would be a storm.
            raise ClusterUnavailable("Kubernetes ends the watch as soon as it is open")
        self._failures = 0

    def _record(self, event: Event) -> None:
        changed: set[str] = set()
        if event.type in {"ADDED", "MODIFIED"}:
            changed = self._put(event)
        elif event.type == "DELETED":
            changed = self._index.remove(event.name)
        self._forget_skipped()
        self._resource_version = event.version
        for customer_id in changed:
            self._followers.notify(customer_id)

    def _put(self, event: Event) -> set[str]:
        """Take in a state; one that cannot be read is logged once, however often it is listed."""
        changed = self._index.put(event.name, event.item)
        problem = self._index.unreadable.get(event.name)
        if problem is not None and self._skipped.get(event.name) != event.version:
            self._skipped[event.name] = event.version
            log.error("CustomerInstance %s cannot be read, its last known state stays in use: %s", event.name, problem)
        return changed

    def _forget_skipped(self) -> None:
        """Forget what was logged of instances that can be read again, or are no more."""
        for name in self._skipped.keys() - self._index.unreadable.keys():
            del self._skipped[name]

    def _found(self) -> None:
        """Note that we see; only what is seen then proves that it works, and forgets the failures before."""
        if not self.connected:
            log.info("Watching %d customer instances", len(self._index))
            self.connected = True
            self._on_connected()
            self._followers.notify_all()

    def _expired(self) -> float:
        """Begin with a new list; only when the version of that is too old as well, something needs time."""
        self._resource_version = ""
        self._expiries += 1
        if self._expiries == 1:
            return 0.0
        if self._expiries == 2:
            log.warning("Kubernetes calls every watch of the customer instances too old; listing them again and again")
        return self._delay(self._expiries - 1)

    def _lost(self, error: Exception) -> float:
        """Note a failure; return how many seconds to wait before the next try."""
        self._disconnect()
        self._failures += 1
        if self._failures == 1:
            log.warning("Cannot see the customer instances, trying again until it works: %s", error)
        return self._delay(self._failures)

    def _delay(self, failures: int) -> float:
        return delay(failures, first=_FIRST_WAIT_SECONDS, longest=_LONGEST_WAIT_SECONDS, random=self._random)

    def _disconnect(self) -> None:
        if self.connected:
            self.connected = False
            self._followers.notify_all()
