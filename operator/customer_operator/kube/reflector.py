"""Keeps a mirror of the cluster's objects true: list once in chunks, then follow by watch, and list again when lost.

The model is client-go's Reflector (k8s.io/client-go/tools/cache/reflector.go).
"""

import asyncio
import logging
import random
import time
from collections.abc import Collection
from typing import Protocol

from customer_operator.errors import ClusterError, ClusterUnreachable, VersionExpired
from customer_operator.kube.client import KubeClient
from customer_operator.naming import Manifest

log = logging.getLogger(__name__)

# Seconds a watch may last; ends are spread, so that not all of them reconnect at once.
_WATCH_SECONDS = (300, 600)
# Seconds. A watch that has ended before, and told nothing, was none: what answers it is not able to serve watches now.
_SHORT = 1.0
_BACKOFF = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds between tries while the API server does not answer


class Mirror(Protocol):
    """What is kept true: it is told of every object seen, of every one deleted, and after a list of all there are."""

    def upsert(self, live: Manifest) -> None:
        """Take in an object as it is now."""

    def delete(self, live: Manifest) -> None:
        """Take in that an object is gone, or no longer carries the label."""

    def prune(self, kind: str, *, uids: Collection[str], version: int) -> None:
        """Drop the objects of a kind that a list of this resource version did not hold."""


async def relist(client: KubeClient, kind: str, *, selector: str, mirror: Mirror, namespace: str | None = None) -> str:
    """Make a mirror hold just the objects of a kind that exist, and return the resource version of the list.

    What the list does not hold is dropped: nothing that was deleted unseen stays. Raises the errors of the client.
    """
    uids: set[str] = set()
    version = "0"
    async for page in client.pages(kind, namespace=namespace, selector=selector):
        version = page.version
        for item in page.items:
            uids.add(item["metadata"]["uid"])
            mirror.upsert(item)
        # A chunk holds the loop up for tens of milliseconds: let probes and the lease have their turn.
        await asyncio.sleep(0)
    mirror.prune(kind, uids=uids, version=int(version))
    return version


class Reflector:
    """Mirrors one kind, in one namespace or in all, as far as its objects match a label selector."""

    def __init__(
        self, client: KubeClient, kind: str, *, selector: str, mirror: Mirror, namespace: str | None = None
    ) -> None:
        """Take what to watch and whom to tell; nothing is asked for before `run`."""
        self.kind = kind
        self._client = client
        self._namespace = namespace
        self._selector = selector
        self._mirror = mirror
        self._version: str | None = None
        self._failures = 0
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow the objects until cancelled, whatever the API server does."""
        while True:
            try:
                if self._version is None:
                    self._version = await self._list()
                    self.synced.set()
                await self._follow(self._version)
                self._failures = 0
            except VersionExpired as error:
                self._version = None
                await self._list_again(error)
            except ClusterError as error:
                await self._back_off(error)

    async def _list(self) -> str:
        return await relist(
            self._client, self.kind, namespace=self._namespace, selector=self._selector, mirror=self._mirror
        )

    async def _follow(self, version: str) -> None:
        """Take in events until the watch ends, which it does in order every few minutes.

        Raises ClusterUnreachable when it ends as soon as it has begun.
        """
        seconds = random.randint(*_WATCH_SECONDS)  # noqa: S311 - spreads load, protects nothing
        events = self._client.watch(
            self.kind, namespace=self._namespace, selector=self._selector, version=version, seconds=seconds
        )
        began, silent = time.monotonic(), True
        async for event in events:
            silent = False
            self._version = event["object"]["metadata"]["resourceVersion"]
            self._failures = 0
            match event["type"]:
                case "ADDED" | "MODIFIED":
                    self._mirror.upsert(event["object"])
                case "DELETED":
                    self._mirror.delete(event["object"])
        if silent and time.monotonic() - began < _SHORT:
            raise ClusterUnreachable(f"WATCH {self.kind}: it ended at once")

    async def _list_again(self, error: VersionExpired) -> None:
        """Let the next list begin at once, unless the last one has led to nothing but this."""
        if self._failures:
            await self._back_off(error)
        else:
            log.info("the watch of %s: %s; listing again", self.kind, error)
            self._failures = 1

    async def _back_off(self, error: ClusterError) -> None:
        if self._failures == 0 or not isinstance(error, ClusterUnreachable):
            log.warning("the watch of %s: %s", self.kind, error)
        delay = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
        self._failures += 1
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads load, protects nothing
