"""One function from a name to an outcome, the same for creation, change, drift, retry and restart.

Observe -> desired -> apply what differs -> status.
"""

import logging
import statistics
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.errors import (
    ClusterError,
    ClusterUnreachable,
    Conflict,
    LicenseRejected,
    OperatorError,
    UserError,
)
from customer_operator.kube.client import KubeClient
from customer_operator.licensing import entitlement
from customer_operator.licensing.entitlement import Decision
from customer_operator.licensing.keys import KeySet
from customer_operator.metrics import Metrics
from customer_operator.model import admission
from customer_operator.model.instance import CustomerInstance, parse
from customer_operator.model.platform import Platform
from customer_operator.observed.cache import Inventory, Key, key_of
from customer_operator.observed.readiness import Readiness
from customer_operator.observed.state import ComponentState, Failure, ObservedState
from customer_operator.reconcile.applier import Progress, Synchroniser
from customer_operator.reconcile.deletion import Deletion, begun
from customer_operator.reconcile.retry import Retry, may_try
from customer_operator.settings import Settings
from customer_operator.status import compute as status
from customer_operator.status import endpoints as addresses
from customer_operator.status.compute import Phase, Status
from customer_operator.status.conditions import Stage

log = logging.getLogger(__name__)

# What a first signup is told to wait before any instance has shown how long it takes (documents: 2-5 minutes).
_USUAL_SECONDS = 180.0
_REMEMBERED_TIMES = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended, as metrics call it, and in how many seconds the next one is wanted (None: at the resync)."""

    result: str
    again: float | None = None


class Reconciler:
    """Everything a pass needs, and nothing that a restart would lose."""

    def __init__(
        self,
        *,
        cluster: KubeClient,
        inventory: Inventory,
        synchroniser: Synchroniser,
        platform: Platform,
        settings: Settings,
        metrics: Metrics,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the collaborators; `clock` returns the time of day, aware of its zone."""
        self._cluster = cluster
        self._inventory = inventory
        self._sync = synchroniser
        self._deletion = Deletion(cluster=cluster, platform=platform)
        self._platform = platform
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._keys = KeySet(settings.license_jwks_path)
        self._retry = Retry(tries=settings.queue_max_retries, delay=settings.queue_retry_delay)
        self._times: deque[float] = deque(maxlen=_REMEMBERED_TIMES)

    async def reconcile(self, name: str, *, resync: bool) -> Outcome:
        """Bring one instance closer to its spec and report it in its status; `resync` compares everything in full.

        Raises ClusterUnreachable when the API server is away, and Conflict when the resource was replaced meanwhile:
        both are tried again soon and are nobody's failure. Everything else ends in the status.
        """
        body = self._inventory.instance(name)
        if body is None:
            self._sync.forget(name)
            return Outcome("gone")
        previous: Status = body.get("status") or {}
        try:
            instance = parse(body)
        except UserError as error:
            await self._write(body, status.unreadable(body, error, previous=previous, now=self._clock()))
            return Outcome("rejected")
        if instance.deletion_timestamp is not None:
            return await self._delete(body, instance)
        wait = may_try(instance, previous, resync=resync, now=self._clock())
        if wait is not None:
            return Outcome("postponed", again=wait or None)
        if resync or previous.get("observedGeneration") != instance.generation:
            self._inventory.expire(name)
        return await self._attempt(body, instance)

    async def _attempt(self, body: Mapping[str, Any], instance: CustomerInstance) -> Outcome:
        previous: Status = body.get("status") or {}
        observed = ObservedState(
            plan=previous.get("plan", instance.plan),
            paused=instance.paused,
            namespace=naming.namespace_of(instance.name),
            typical_seconds=statistics.median(self._times) if self._times else _USUAL_SECONDS,
        )
        decision, progress = None, Progress()
        error: Exception | None = None
        try:
            admission.check(instance, self._platform)
            decision = await self._judge(instance)
            observed = replace(observed, plan=decision.plan, license=decision.reading, suspended=decision.suspended)
            progress = await self._work(body, instance, decision, observed)
            error = progress.error
        except (ClusterUnreachable, Conflict):
            self._inventory.expire(instance.name)
            raise
        except Exception as caught:
            error = caught
        if isinstance(error, LicenseRejected):
            observed = replace(observed, license=entitlement.rejected(error))
        failure = self._fail(instance, previous, error) if error else None
        observed = self._complete(observed, instance, progress, failure)
        await self._publish(body, instance, observed)
        return self._outcome(instance, observed, progress, decision)

    def _fail(self, instance: CustomerInstance, previous: Status, error: Exception) -> Failure:
        """Return how a failed pass is reported; whatever was verified before it counts no more."""
        self._inventory.expire(instance.name)
        failure = self._retry.failure(error, instance=instance, previous=previous, now=self._clock())
        unexpected = not isinstance(error, OperatorError)
        log.warning("instance %s: %s", instance.name, failure.message, exc_info=error if unexpected else None)
        return failure

    async def _judge(self, instance: CustomerInstance) -> Decision:
        return entitlement.judge(
            instance,
            token=await self._sync.license_key(instance),
            keys=self._keys,
            issuer=self._settings.license_issuer,
            grace=timedelta(seconds=self._settings.license_grace),
            now=self._clock(),
        )

    async def _work(
        self, body: Mapping[str, Any], instance: CustomerInstance, decision: Decision, observed: ObservedState
    ) -> Progress:
        if instance.paused:
            return await self._sync.look(instance, decision)
        if naming.FINALIZER not in instance.finalizers:
            await self._sync.hold(instance)
        if not body.get("status"):
            # Somebody is watching: say that the work has begun before it has.
            await self._publish(body, instance, observed)
        return await self._sync.bring_in_line(instance, decision, now=self._clock())

    def _complete(
        self, observed: ObservedState, instance: CustomerInstance, progress: Progress, failure: Failure | None
    ) -> ObservedState:
        """Add what exists to the observed."""
        children = self._inventory.children(instance.name)
        ports = addresses.ports(children)
        namespace = children.get(Key("Namespace", observed.namespace))
        return replace(
            observed,
            namespace_ready=namespace is not None and namespace.terminating is None,
            applied=progress.applied,
            wanted=progress.wanted,
            quota_enforced=progress.quota_enforced,
            components=self._components(instance, progress),
            ports=ports,
            urls=addresses.urls(instance, self._platform, ports),
            failure=failure,
        )

    def _components(self, instance: CustomerInstance, progress: Progress) -> tuple[ComponentState, ...]:
        return tuple(
            ComponentState(
                name=component.name,
                condition=component.condition,
                readiness=self._readiness(
                    instance.name, [key_of(item) for item in stack.workloads(progress.desired, component.name)]
                ),
            )
            for component in stack.COMPONENTS
            if component.condition and progress.desired
        )

    def _readiness(self, name: str, keys: list[Key]) -> Readiness | None:
        if not keys:
            return Readiness(ready=True, message="not part of this instance")
        children = [self._inventory.child(name, key) for key in keys]
        readings = [child.readiness for child in children if child is not None]
        if len(readings) < len(children):
            return None
        return next((reading for reading in readings if not reading.ready), readings[0])

    async def _publish(self, body: Mapping[str, Any], instance: CustomerInstance, observed: ObservedState) -> None:
        latest = self._inventory.instance(instance.name) or body
        previous: Status = latest.get("status") or {}
        computed = status.compute(instance=instance, observed=observed, previous=previous, now=self._clock())
        await self._write(latest, computed)
        seconds = computed.get("timeToReadySeconds")
        if seconds is not None and previous.get("timeToReadySeconds") is None:
            self._times.append(seconds)
            self._metrics.ready(observed.plan, seconds)
            log.info("instance %s is ready after %.1f s", instance.name, seconds)

    async def _write(self, body: Mapping[str, Any], computed: Status) -> None:
        """Write the status if it differs from the one that is there."""
        if computed == (body.get("status") or {}):
            return
        try:
            live = await self._cluster.apply(naming.resource(body, status=computed), subresource="status")
        except ClusterError as error:
            if error.status != 404:
                raise
            raise Conflict(f"{naming.KIND} {body['metadata']['name']} is gone", status=404) from error
        self._inventory.store_instance(live)

    def _outcome(
        self, instance: CustomerInstance, observed: ObservedState, progress: Progress, decision: Decision | None
    ) -> Outcome:
        now = self._clock()
        if observed.failure:
            again = observed.failure.next_attempt_at
            return Outcome("failed", again=(again - now).total_seconds() if again else None)
        if progress.again is not None:
            return Outcome("waiting", again=progress.again)
        change = decision.again_at if decision else None
        again_in = max(1.0, (change - now).total_seconds()) if change else None
        return Outcome("ready" if observed.healthy else "waiting", again=again_in)

    async def _delete(self, body: Mapping[str, Any], instance: CustomerInstance) -> Outcome:
        previous: Status = body.get("status") or {}
        if naming.FINALIZER not in instance.finalizers:
            return Outcome("released")
        if previous.get("phase") != Phase.DELETING:
            await self._write_removal(body, instance, begun(instance))
        removal = await self._deletion.advance(instance, now=self._clock())
        if removal.released:
            return Outcome("deleted")
        await self._write_removal(self._inventory.instance(instance.name) or body, instance, removal.steps)
        return Outcome("waiting", again=removal.again)

    async def _write_removal(self, body: Mapping[str, Any], instance: CustomerInstance, steps: list[Stage]) -> None:
        previous: Status = body.get("status") or {}
        await self._write(body, status.deleting(instance=instance, previous=previous, steps=steps, now=self._clock()))
