"""Publishes the routes: writes the shards that are not as they should be, while this replica leads."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus

from customer_operator.errors import ClusterError, ClusterUnreachable, Conflict
from customer_operator.kube.client import KubeClient
from customer_operator.metrics import Metrics
from customer_operator.naming import Manifest
from customer_operator.routing.book import RouteBook
from customer_operator.routing.pacing import Pacing
from customer_operator.routing.published import manifest
from customer_operator.waiting import next_due
from mqtt_router.routes import SHARDS, config_map

log = logging.getLogger(__name__)


class Publisher:
    """Compares all shards when it begins, and then each that the book says has changed, on either side."""

    def __init__(
        self,
        *,
        client: KubeClient,
        book: RouteBook,
        metrics: Metrics,
        namespace: str,
        interval: float,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where to publish; no shard is written twice within `interval` seconds.

        `now` returns the time of day, aware of its zone; `clock` returns seconds and never goes back.
        """
        self._client = client
        self._book = book
        self._metrics = metrics
        self._namespace = namespace
        self._now = now
        self._clock = clock
        self._pacing = Pacing(interval=interval, clock=clock)
        self._marked = asyncio.Event()
        self._running = False
        book.follow(shard_changed=self._mark)
        metrics.follow_routes(
            routes=lambda: book.routes, refused=lambda: book.refused, pending=lambda: len(self._pacing)
        )

    async def run(self) -> None:
        """Publish until cancelled; only a leader may, and once everything that exists has been seen."""
        self._running = True
        try:
            for shard in range(SHARDS):
                self._mark(shard)
            await self._work()
        finally:
            # What waits is the next leader's.
            self._running = False
            self._pacing.clear()

    async def _work(self) -> None:
        while True:
            await self._look(*await next_due(self._pacing.take, wait=self._pacing.wait, changed=self._marked))

    def _mark(self, shard: int) -> None:
        if self._running:
            self._pacing.mark(shard)
            self._marked.set()

    async def _look(self, shard: int, since: float) -> None:
        """Write a shard unless it is as it should be; whatever goes wrong is its own matter, and tried again."""
        try:
            if not await self._publish(shard):
                self._pacing.settled(shard)
                return
        except ClusterError as error:
            await self._fail(shard, error, since=since)
        except Exception:
            log.exception("%s: not published, for an error that is not the cluster's", config_map(shard))
            self._metrics.route_write("error")
            self._pacing.failed(shard, since=since)
        else:
            self._pacing.wrote(shard)
            self._metrics.route_write("written")
            self._metrics.routes_published(self._clock() - since)

    async def _publish(self, shard: int) -> bool:
        """Write a shard if it differs; False when it does not. Raises the errors of the client."""
        text, live = self._book.text(shard), self._book.live(shard)
        if live is not None and live.text == text:
            return False
        wanted = manifest(
            shard, text, namespace=self._namespace, now=self._now(), version=live.version if live else None
        )
        answer: Manifest = await (self._client.replace(wanted) if live else self._client.create(wanted))
        self._book.upsert(answer)
        return True

    async def _fail(self, shard: int, error: ClusterError, *, since: float) -> None:
        conflict = isinstance(error, Conflict)
        self._metrics.route_write("conflict" if conflict else "error")
        passing = conflict or isinstance(error, ClusterUnreachable)
        log.log(logging.INFO if passing else logging.WARNING, "%s was not published: %s", config_map(shard), error)
        self._pacing.failed(shard, since=since)
        if conflict or error.status == HTTPStatus.NOT_FOUND:
            # It is not the one that was seen: the watch would tell, but not of one that has lost its label.
            with suppress(ClusterError):
                await self._read(shard)

    async def _read(self, shard: int) -> None:
        live = await self._client.get("ConfigMap", config_map(shard), namespace=self._namespace)
        if live is None:
            self._book.forget(shard)
        else:
            self._book.upsert({"kind": "ConfigMap", **live})
