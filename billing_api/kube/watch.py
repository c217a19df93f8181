"""One list and watch of all CustomerInstances, shared by every request: answers come from memory."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from billing_api.backoff import delay
from billing_api.errors import ClusterRejected, ClusterUnavailable, WatchExpired
from billing_api.kube.client import Cluster, Event, version_number
from billing_api.kube.instances import Instance, Sight, parse

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

    def __init__(self, cluster: Cluster, *, on_connected: Callable[[], None]) -> None:
        """Watch a cluster.

        Args:
            cluster: the API server.
            on_connected: called whenever the cluster answers again after it did not.
        """
        self.connected = False
        self._cluster = cluster
        self._on_connected = on_connected
        self._instances: dict[str, Instance] = {}
        self._resource_version = ""
        self._failures = 0
        self._random = Random()  # noqa: S311 - spreads load, protects nothing

    def look(self, name: str, *, applied: int | None) -> Sight:
        """Return what is known of an instance.

        Args:
            name: the instance's name.
            applied: the resource version at which it was applied; None when it was not yet. If the picture has
                come that far and the instance is not in it, it is gone, and not only late.
        """
        instance, seen = self._instances.get(name), version_number(self._resource_version)
        gone = instance is None and applied is not None and seen is not None and seen >= applied
        return Sight(instance=instance, current=self.connected, gone=gone)

    async def run(self) -> None:
        """Keep the picture up to date until cancelled, through any number of outages."""
        while True:
            try:
                if not self._resource_version:
                    await self._list()
                await self._follow()
            except WatchExpired:
                self._resource_version = ""
            except (ClusterUnavailable, ClusterRejected) as error:
                await asyncio.sleep(self._lost(error))

    async def _list(self) -> None:
        instances: dict[str, Instance] = {}
        version = ""
        async for items, page_version in self._cluster.pages():
            instances |= {instance.name: instance for instance in map(parse, items)}
            version = page_version
        self._instances = instances
        self._resource_version = version

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._cluster.watch(self._resource_version) as events:
            began = loop.time()
            self._found()
            async for event in events:
                self._record(event)
        if loop.time() - began < _SHORTEST_WATCH_SECONDS:
            # A server that goes down, or a proxy in between: asking again at once would be a storm.
            raise ClusterUnavailable("Kubernetes ends the watch as soon as it is open")

    def _record(self, event: Event) -> None:
        metadata: Mapping[str, Any] = event.item["metadata"]
        if event.type in {"ADDED", "MODIFIED"}:
            self._instances[metadata["name"]] = parse(event.item)
        elif event.type == "DELETED":
            self._instances.pop(metadata["name"], None)
        self._resource_version = metadata["resourceVersion"]

    def _found(self) -> None:
        self._failures = 0
        if not self.connected:
            log.info("Watching %d customer instances", len(self._instances))
            self.connected = True
            self._on_connected()

    def _lost(self, error: Exception) -> float:
        """Note a failure; return how many seconds to wait before the next try."""
        self.connected = False
        self._failures += 1
        if self._failures == 1:
            log.warning("Cannot see the customer instances, trying again until it works: %s", error)
        return delay(self._failures, first=_FIRST_WAIT_SECONDS, longest=_LONGEST_WAIT_SECONDS, random=self._random)
