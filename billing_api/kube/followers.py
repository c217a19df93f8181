"""Who wants to hear of changes: event streams, each of one customer's instance.

A follower holds no queue. It only remembers that something has changed since it was last asked, and its owner then
looks at the newest state: whoever reads slowly misses intermediate states, and memory stays bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from weakref import WeakSet

from billing_api.errors import ServiceUnavailable, TooManyStreams
from billing_api.metrics import Metrics

#: Tabs and devices of one customer; each stream holds a connection, of which the process has MAX_CONNECTIONS.
_PER_CUSTOMER = 8
#: Trials cost nothing, so one who wants all streams has many customers, but not many networks.
_NETWORK_SHARE = 10


class Follower(AsyncIterator[None]):
    """Yields whenever something has changed since the last time; the first time at once. Ends when it is closed."""

    def __init__(self, network: str) -> None:
        self.network = network
        self._changed = asyncio.Event()
        self._changed.set()
        self.closed = False

    async def __anext__(self) -> None:
        await self._changed.wait()
        if self.closed:
            raise StopAsyncIteration
        self._changed.clear()

    def notify(self) -> None:
        """Let it yield."""
        self._changed.set()

    def close(self) -> None:
        """Let it end, now or when it is asked next."""
        self.closed = True
        self._changed.set()


class Followers:
    """All followers of this process. One that its owner has dropped without closing it is gone, too."""

    def __init__(self, metrics: Metrics, *, most: int) -> None:
        """Begin without any; `most` may be open at once, so that connections are left for everything else.

        One network may have a tenth of them, or as many as one customer.
        """
        self._metrics = metrics
        self._most = most
        self._per_network = max(_PER_CUSTOMER, most // _NETWORK_SHARE)
        self._by_customer: dict[str, WeakSet[Follower]] = {}
        self._closed = False
        metrics.event_streams.set_function(self._in_all)

    def open(self, customer_id: str, *, network: str) -> Follower:
        """Return a new follower to one customer's instance; the caller closes it.

        Args:
            customer_id: whose instance it is.
            network: where the client is.

        Raises:
            TooManyStreams: the customer, or the network, has as many as one may have.
            ServiceUnavailable: the process is shutting down, or has as many as it may.
        """
        if self._closed:
            raise ServiceUnavailable("The service is restarting; connect again", headers={"Retry-After": "1"})
        if self._in_all() >= self._most:
            raise ServiceUnavailable("Too many event streams are open; connect again", headers={"Retry-After": "60"})
        if self._count(customer_id) >= _PER_CUSTOMER:
            raise self._too_many("customer", f"At most {_PER_CUSTOMER} event streams of a customer may be open at once")
        if self._in_network(network) >= self._per_network:
            raise self._too_many("network", f"At most {self._per_network} event streams may be open from one network")
        follower = Follower(network)
        self._by_customer.setdefault(customer_id, WeakSet()).add(follower)
        return follower

    def notify(self, customer_id: str) -> None:
        """Tell those who follow a customer."""
        for follower in self._by_customer.get(customer_id, ()):
            follower.notify()

    def notify_all(self) -> None:
        """Tell everybody."""
        for customer_id in self._by_customer:
            self.notify(customer_id)

    def close(self) -> None:
        """End all followers, and take no more: the server waits for the streams before it stops."""
        self._closed = True
        for followers in self._by_customer.values():
            for follower in followers:
                follower.close()

    def _too_many(self, per: str, detail: str) -> TooManyStreams:
        self._metrics.limited.labels("stream", per).inc()
        return TooManyStreams(f"{detail}; close one", headers={"Retry-After": "60"})

    def _in_all(self) -> float:
        return float(sum(1 for _ in self._open()))

    def _in_network(self, network: str) -> int:
        return sum(each.network == network for each in self._open())

    def _open(self) -> Iterator[Follower]:
        return (each for some in self._by_customer.values() for each in some if not each.closed)

    def _count(self, customer_id: str) -> int:
        """Return how many are open; forget customers and followers that are no more."""
        for known, followers in list(self._by_customer.items()):
            for follower in [each for each in followers if each.closed]:
                followers.discard(follower)
            if not followers:
                del self._by_customer[known]
        return len(self._by_customer.get(customer_id, ()))
