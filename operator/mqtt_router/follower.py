"""Keeps the table as the ConfigMaps are: list once, then follow by watch, and list again when lost."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from mqtt_router import routes
from mqtt_router.cluster import Cluster, ConfigMap, Event
from mqtt_router.errors import ClusterUnavailable
from mqtt_router.metrics import Metrics
from mqtt_router.table import RouteTable

log = logging.getLogger(__name__)

_BACKOFF: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between tries while the API server does not answer
_SHORT: Final = (
    1.0  # seconds; a watch that has ended before without a word was none (client-go's reflector says the same)
)
_LINES_SHOWN: Final = 5


class Follower:
    """Follows the API server. While it is away, the table stays as it is."""

    def __init__(self, cluster: Cluster, *, table: RouteTable, metrics: Metrics, on_change: Callable[[], None]) -> None:
        """Take the table to keep, and what to call after every change and list."""
        self.connected = False
        self._cluster = cluster
        self._table = table
        self._metrics = metrics
        self._on_change = on_change
        self._version = ""
        self._failures = 0
        self._present: set[str] = set()

    async def run(self) -> None:
        """Follow until cancelled, whatever the API server does."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                self._failures = 0
            except ClusterUnavailable as error:
                # Not from where it was: an event that cannot be read would come again, and again, and an API server
                # that was restored from a backup tells nothing before it has come to that version.
                self._version = ""
                await self._back_off(error)

    async def _list(self) -> None:
        found, version = await self._cluster.list()
        for config_map in found:
            self._take(config_map)
        self._show({config_map.name for config_map in found})
        self._version = version
        self._found()
        self._on_change()

    async def _watch(self) -> None:
        began, silent = time.monotonic(), True
        async for event in self._cluster.watch(self._version):
            silent = False
            self._failures = 0
            self._found()
            self._record(event)
        if silent and time.monotonic() - began < _SHORT:
            raise ClusterUnavailable("the API server ends the watch as soon as it is open")

    def _record(self, event: Event) -> None:
        self._version, name = event.config_map.version, event.config_map.name
        match event.type:
            case "ADDED" | "MODIFIED":
                self._take(event.config_map)
                self._show(self._present | {name})
                self._on_change()
            case "DELETED":
                self._metrics.failed("shard")
                log.warning("ConfigMap %s is gone; its routes stay until there is another", name)
                self._show(self._present - {name})

    def _take(self, config_map: ConfigMap) -> None:
        if config_map.published is None:
            self._metrics.failed("shard")
            log.warning("ConfigMap %s holds no routes of a shard; nothing of it is used", config_map.name)
            return
        if problems := self._table.take(config_map.published):
            self._metrics.failed("line", len(problems))
            shown = "; ".join(f"line {number}: {why}" for number, why in list(problems.items())[:_LINES_SHOWN])
            log.warning("ConfigMap %s: %d lines are left out: %s", config_map.name, len(problems), shown)

    def _show(self, present: set[str]) -> None:
        self._present = present & set(routes.CONFIG_MAPS)
        self._metrics.shards(len(self._present))

    def _found(self) -> None:
        if not self.connected:
            log.info("following the routes, of %d ConfigMaps", len(self._present))
        self.connected = True

    async def _back_off(self, error: ClusterUnavailable) -> None:
        self.connected = False
        self._metrics.failed("cluster")
        if not self._failures:
            log.warning("the routes cannot be followed, those known stay in use: %s", error)
        delay = _BACKOFF[min(self._failures, len(_BACKOFF) - 1)]
        self._failures += 1
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads load, protects nothing
