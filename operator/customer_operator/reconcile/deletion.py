"""Deletion: stop the workloads, remove the namespace or leave it behind with its data, let the resource go."""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from customer_operator import naming
from customer_operator.components import namespace as namespace_builder
from customer_operator.errors import ClusterError, ClusterUnreachable, Conflict, PermissionMissing
from customer_operator.kube.client import KubeClient, patiently
from customer_operator.kube.kinds import WORKLOADS
from customer_operator.model.instance import DeletionPolicy, DeletionRequest
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed import drift, readiness
from customer_operator.reconcile.ownership import belongs_to, orphan
from customer_operator.status.conditions import Stage

log = logging.getLogger(__name__)

# How long the workloads may take to stop: as long as the longest grace period of their pods, and then some. After that
# the namespace is deleted with pods in it, for which Kubernetes only looks again after half their grace period.
_PATIENCE = timedelta(seconds=120)
_RETRY_DELAY = 10.0  # seconds between two tries of a removal that the API server refuses


@dataclass(frozen=True, slots=True)
class DeletionProgress:
    """How far a deletion is: its stages, whether the resource was let go, and in how many seconds to look again."""

    stages: list[Stage]
    done: bool = False
    requeue_after: float | None = None


class Deletion:
    """Takes an instance apart, one pass at a time; each pass sees by itself how far the last one got."""

    def __init__(self, *, client: KubeClient, platform: Platform) -> None:
        """Take what it works with."""
        self._client = client
        self._platform = platform

    async def advance(self, request: DeletionRequest, *, now: datetime) -> DeletionProgress:
        """Do what can be done now; the rest is awaited by events, or by the time the answer names.

        Raises ClusterUnreachable and Conflict; any other refusal is what the deletion waits for.
        """
        try:
            return await self._advance(request, now=now)
        except (ClusterUnreachable, Conflict):
            raise
        except ClusterError as error:
            log.warning("instance %s: %s", request.name, error)
            return DeletionProgress(_stages(request, step=0, message=str(error)), requeue_after=_RETRY_DELAY)

    async def _advance(self, request: DeletionRequest, *, now: datetime) -> DeletionProgress:
        namespace = await self._client.get("Namespace", naming.namespace_of(request.name))
        if namespace is None or not belongs_to(namespace, uid=request.uid, customer_id=request.customer_id):
            return await self._remove_finalizer(request)
        if request.policy is DeletionPolicy.RETAIN:
            # First of all: garbage collection could follow an owner to the data.
            namespace = await orphan(self._client, namespace, uid=request.uid)
        if (holding := readiness.terminating(namespace)) is not None:
            return DeletionProgress(_stages(request, step=1, message=holding))
        running = await self._stop_workloads(request)
        remaining = (request.since + _PATIENCE - now).total_seconds()
        if running and remaining > 0:
            stages = _stages(request, step=0, message=f"stopping {', '.join(running)}")
            return DeletionProgress(stages, requeue_after=remaining)
        if request.policy is DeletionPolicy.RETAIN:
            return await self._remove_finalizer(request)
        await self._client.delete("Namespace", namespace["metadata"]["name"], uid=namespace["metadata"]["uid"])
        return DeletionProgress(_stages(request, step=1, message="its content is being deleted"))

    async def _stop_workloads(self, request: DeletionRequest) -> list[str]:
        """Scale everything to zero and return the names of what still runs."""
        namespace, selector = naming.namespace_of(request.name), {naming.INSTANCE_LABEL: request.name}
        lists = await asyncio.gather(
            *(self._client.list(kind, namespace=namespace, selector=selector) for kind in WORKLOADS)
        )
        workloads = [item for items in lists for item in items]
        for item in workloads:
            if item["spec"].get("replicas", 1):
                await self._stop(request, item)
        return [item["metadata"]["name"] for item in workloads if (item.get("status") or {}).get("replicas")]

    async def _stop(self, request: DeletionRequest, workload: Manifest) -> None:
        nothing = {"spec": {"replicas": 0}}
        try:
            await self._client.merge(workload, nothing)
        except PermissionMissing:
            # Somebody removed our binding, or we have died before we made it.
            binding = namespace_builder.role_binding(request.name, self._platform)
            await self._client.apply(drift.with_hash(binding))
            await patiently(self._client.merge, workload, nothing)

    async def _remove_finalizer(self, request: DeletionRequest) -> DeletionProgress:
        live = await self._client.apply(naming.without_finalizer(request.name, request.uid))
        finalizers = live["metadata"].get("finalizers") or []
        if naming.FINALIZER in finalizers:
            # Another manager has applied it as well, or created the resource with it (a restored backup, an export).
            others = [item for item in finalizers if item != naming.FINALIZER]
            metadata = {"finalizers": others or None, "resourceVersion": live["metadata"]["resourceVersion"]}
            await self._client.merge(live, {"metadata": metadata})
        return DeletionProgress([], done=True)


def first_stages(request: DeletionRequest) -> list[Stage]:
    """Return the stages of a deletion that has just been asked for."""
    return _stages(request, step=0, message="stopping the workloads")


def _stages(request: DeletionRequest, *, step: int, message: str) -> list[Stage]:
    """Return the stages as (name, state, what it waits for); the one with the number `step` is under way."""
    retain = request.policy is DeletionPolicy.RETAIN
    names = ["workloads", *([] if retain else ["namespace"]), "release"]
    text = f"namespace {naming.namespace_of(request.name)}: {message}"
    states = ("Done" if number < step else "Active" if number == step else "Pending" for number in range(len(names)))
    return [(name, state, text if state == "Active" else "") for name, state in zip(names, states, strict=True)]
