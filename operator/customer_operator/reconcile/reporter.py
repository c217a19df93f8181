"""Writes the status of instances, once per pass and only when it changed."""

import logging
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from customer_operator import naming
from customer_operator.errors import ClusterError, Conflict, UserError
from customer_operator.kube.client import KubeClient
from customer_operator.metrics import Metrics
from customer_operator.model.instance import CustomerInstance, DeletionRequest
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from customer_operator.observed.state import ObservedState
from customer_operator.status import compute
from customer_operator.status.conditions import Stage
from customer_operator.status.record import read_status

log = logging.getLogger(__name__)

# What a first signup is told to wait before any instance has shown how long it takes.
_TYPICAL_SECONDS = 180.0
_REMEMBERED_TIMES = 50


class Reporter:
    """Computes each status from what was observed, against the one that was written last."""

    def __init__(
        self, *, client: KubeClient, cache: ObjectCache, metrics: Metrics, clock: Callable[[], datetime]
    ) -> None:
        """Take what it writes with; `clock` returns the time of day, aware of its zone."""
        self._client = client
        self._cache = cache
        self._metrics = metrics
        self._clock = clock
        self._times: deque[float] = deque(maxlen=_REMEMBERED_TIMES)

    @property
    def typical_seconds(self) -> float:
        """How long an instance takes to its first Ready: the median of the last ones."""
        return statistics.median(self._times) if self._times else _TYPICAL_SECONDS

    async def report(self, body: Manifest, instance: CustomerInstance, observed: ObservedState) -> None:
        """Write what was observed of an instance."""
        body = self._cache.instance(instance.name) or body
        previous = read_status(body)
        computed = compute.compute(instance=instance, observed=observed, previous=previous, now=self._clock())
        await self._write(body, computed)
        seconds = computed.get("timeToReadySeconds")
        if seconds is not None and previous.time_to_ready_seconds is None:
            self._times.append(seconds)
            self._metrics.ready(observed.plan, seconds)
            log.info("instance %s is ready after %.1f s", instance.name, seconds)

    async def report_unreadable(self, body: Manifest, error: UserError) -> None:
        """Write that a spec cannot be carried out."""
        await self._write(body, compute.unreadable(body, error, previous=read_status(body), now=self._clock()))

    async def report_deletion(self, body: Manifest, request: DeletionRequest, stages: Sequence[Stage]) -> None:
        """Write how far a deletion is."""
        body = self._cache.instance(request.name) or body
        computed = compute.deleting(
            generation=request.generation, previous=read_status(body), stages=stages, now=self._clock()
        )
        await self._write(body, computed)

    async def _write(self, body: Manifest, computed: Mapping[str, Any]) -> None:
        """Write the status if it differs from the one that is there; Conflict when the resource is gone."""
        if computed == (body.get("status") or {}):
            return
        try:
            live = await self._client.apply(naming.resource(body, status=computed), subresource="status")
        except ClusterError as error:
            if error.status != 404:
                raise
            raise Conflict(f"{naming.KIND} {body['metadata']['name']} is gone", status=404) from error
        self._cache.record_instance(live)
