"""Deletion: stop the workloads, remove the namespace or leave it behind with its data, let the resource go."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.errors import ClusterError, ClusterUnreachable, Conflict, PermissionMissing, UserError
from customer_operator.kube.client import KubeClient, patiently
from customer_operator.model.instance import CustomerInstance, DeletionPolicy
from customer_operator.model.platform import Platform
from customer_operator.observed import drift, readiness
from customer_operator.reconcile.applier import check_ownership
from customer_operator.status.conditions import Stage

log = logging.getLogger(__name__)

# How long the workloads may take to stop: as long as the longest grace period of their pods, and then some. After that
# the namespace is deleted with pods in it, for which Kubernetes only looks again after half their grace period.
_PATIENCE = timedelta(seconds=120)
_RETRY_DELAY = 10.0  # seconds between two tries of a removal that the API server refuses


@dataclass(frozen=True, slots=True)
class DeletionProgress:
    """How far a deletion is: its steps, whether the resource was let go, and in how many seconds to look again."""

    steps: list[Stage]
    released: bool = False
    again: float | None = None


class Deletion:
    """Takes an instance apart, one pass at a time; each pass sees by itself how far the last one got."""

    def __init__(self, *, cluster: KubeClient, platform: Platform) -> None:
        """Take what it works with."""
        self._cluster = cluster
        self._platform = platform

    async def advance(self, instance: CustomerInstance, *, now: datetime) -> DeletionProgress:
        """Do what can be done now; the rest is awaited by events, or by the time the answer names.

        Raises ClusterUnreachable and Conflict; any other refusal is what the removal waits for.
        """
        try:
            return await self._advance(instance, now=now)
        except (ClusterUnreachable, Conflict):
            raise
        except ClusterError as error:
            log.warning("instance %s: %s", instance.name, error)
            return DeletionProgress(_steps(instance, step=0, message=str(error)), again=_RETRY_DELAY)

    async def _advance(self, instance: CustomerInstance, *, now: datetime) -> DeletionProgress:
        namespace = await self._cluster.get("Namespace", naming.namespace_of(instance.name))
        if namespace is None or not _is_ours(instance, namespace):
            return await self._release(instance)
        if (holding := readiness.terminating(namespace)) is not None:
            return DeletionProgress(_steps(instance, step=1, message=holding))
        running = await self._stop_workloads(instance)
        remaining = ((instance.deletion_timestamp or now) + _PATIENCE - now).total_seconds()
        if running and remaining > 0:
            return DeletionProgress(_steps(instance, step=0, message=f"stopping {', '.join(running)}"), again=remaining)
        if instance.deletion_policy is DeletionPolicy.RETAIN:
            await self._cut_loose(instance)
            return await self._release(instance)
        await self._cluster.delete("Namespace", namespace["metadata"]["name"], uid=namespace["metadata"]["uid"])
        return DeletionProgress(_steps(instance, step=1, message="its content is being deleted"))

    async def _stop_workloads(self, instance: CustomerInstance) -> list[str]:
        """Scale everything to zero and return the names of what still runs."""
        namespace, selector = naming.namespace_of(instance.name), {naming.INSTANCE_LABEL: instance.name}
        lists = await asyncio.gather(
            *(self._cluster.list(kind, namespace=namespace, selector=selector) for kind in sorted(stack.WORKLOADS))
        )
        workloads = [item for items in lists for item in items]
        for item in workloads:
            if item["spec"].get("replicas", 1):
                await self._stop(instance, item)
        return [item["metadata"]["name"] for item in workloads if (item.get("status") or {}).get("replicas")]

    async def _stop(self, instance: CustomerInstance, workload: naming.Manifest) -> None:
        nothing = {"spec": {"replicas": 0}}
        try:
            await self._cluster.merge(workload, nothing)
        except PermissionMissing:
            # Somebody removed our binding, or we have died before we made it.
            for manifest in stack.foundation(instance, self._platform):
                if manifest["kind"] == "RoleBinding":
                    await self._cluster.apply(drift.with_hash(manifest))
            await patiently(self._cluster.merge, workload, nothing)

    async def _cut_loose(self, instance: CustomerInstance) -> None:
        """Remove the namespace's owner, by which garbage collection would follow us to it."""
        for manifest in stack.foundation(instance, self._platform):
            if manifest["kind"] == "Namespace":
                metadata = {key: value for key, value in manifest["metadata"].items() if key != "ownerReferences"}
                await self._cluster.apply(drift.with_hash({**manifest, "metadata": metadata}))

    async def _release(self, instance: CustomerInstance) -> DeletionProgress:
        await self._cluster.apply(naming.without_finalizer(instance.name, instance.uid))
        return DeletionProgress([], released=True)


def begun(instance: CustomerInstance) -> list[Stage]:
    """Return the steps of a deletion that has just been asked for."""
    return _steps(instance, step=0, message="stopping the workloads")


def _steps(instance: CustomerInstance, *, step: int, message: str) -> list[Stage]:
    """Return the steps as (name, state, what it waits for); the one with the number `step` is under way."""
    namespace = naming.namespace_of(instance.name)
    retain = instance.deletion_policy is DeletionPolicy.RETAIN
    names = ["workloads", *([] if retain else ["namespace"]), "release"]
    text = f"namespace {namespace}: {message}"
    states = ("Done" if number < step else "Active" if number == step else "Pending" for number in range(len(names)))
    return [(name, state, text if state == "Active" else "") for name, state in zip(names, states, strict=True)]


def _is_ours(instance: CustomerInstance, namespace: Mapping[str, Any]) -> bool:
    try:
        check_ownership(instance, namespace)
    except UserError:
        return False
    return True
