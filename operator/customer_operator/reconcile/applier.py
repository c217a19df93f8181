"""Applies what differs, wave by wave: server-side, as one field manager, by force."""

import asyncio
from collections.abc import Sequence

from customer_operator import naming
from customer_operator.errors import AdmissionRefused, Conflict
from customer_operator.kube.client import KubeClient, patiently
from customer_operator.kube.kinds import WORKLOADS, waves
from customer_operator.model.instance import CustomerInstance
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import ObjectCache
from customer_operator.reconcile.ownership import check_ownership
from customer_operator.reconcile.quota_gate import QuotaGate


class Applier:
    """Writes the objects of instances, and remembers in the cache what it has verified."""

    def __init__(self, *, client: KubeClient, cache: ObjectCache, gate: QuotaGate, concurrency: int) -> None:
        """Take what it works with; `concurrency` bounds the writes in flight of all instances together."""
        self._client = client
        self._cache = cache
        self._gate = gate
        self._writes = asyncio.Semaphore(concurrency)

    async def add_finalizer(self, instance: CustomerInstance) -> None:
        """Put our finalizer on the resource, before there is anything that its deletion would have to clean up."""
        self._cache.record_instance(await self._client.apply(naming.with_finalizer(instance.name, instance.uid)))

    async def ensure_namespace(self, instance: CustomerInstance, foundation: Sequence[Manifest]) -> bool:
        """Make sure of the namespace and of our rights in it; True when it is new, and therefore empty.

        Raises NamespaceTaken when it is somebody else's, and Conflict when it is on its way out.
        """
        name = instance.name
        for manifest in foundation:
            self._cache.verify(name, manifest)
        namespace, *rest = foundation
        new = self._cache.needs_apply(name, namespace) and await self._claim_namespace(instance, namespace)
        for manifest in rest:
            if self._cache.needs_apply(name, manifest):
                await self._apply(name, manifest)
        return new

    async def _claim_namespace(self, instance: CustomerInstance, namespace: Manifest) -> bool:
        live = await self._client.get("Namespace", namespace["metadata"]["name"])
        if live is not None:
            check_ownership(live, uid=instance.uid, customer_id=instance.customer.id)
            if live["metadata"].get("deletionTimestamp"):
                raise Conflict(f"namespace {namespace['metadata']['name']} is being deleted")
            await self._confirm(instance)
        else:
            # Nothing is left of what was in a former one; not every kind is watched.
            self._cache.forget_objects(instance.name)
        await self._apply(instance.name, namespace)
        return live is None

    async def _confirm(self, instance: CustomerInstance) -> None:
        """Make sure that the instance still exists before its namespace is given an owner again; Conflict if not.

        Our watch may be late: an owner that is gone would have garbage collection delete a namespace that somebody
        has just saved from deletion.
        """
        live = await self._client.get(naming.KIND, instance.name)
        if live is None or live["metadata"]["uid"] != instance.uid:
            raise Conflict(f"{naming.KIND} {instance.name} is gone", status=404)

    async def apply(self, name: str, desired: Sequence[Manifest]) -> float | None:
        """Apply what differs; return the seconds that workloads still have to wait for the quota, None for done.

        All objects of a wave are tried, and the first error is raised when all of them have ended.
        """
        for wave in waves(self._gate.hold_up(name, desired)):
            if wave and wave[0]["kind"] in WORKLOADS and (remaining := self._gate.remaining(name)):
                return remaining
            await self._apply_all(name, [item for item in wave if self._cache.needs_apply(name, item)])
        return None

    async def _apply_all(self, name: str, manifests: Sequence[Manifest]) -> None:
        results = await asyncio.gather(*(self._apply(name, item) for item in manifests), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _apply(self, name: str, manifest: Manifest) -> None:
        async with self._writes:
            live = await self._enforce(manifest)
        self._cache.record(name, live, verified=True)
        if manifest["kind"] == "ResourceQuota":
            self._gate.quota_applied(name)

    async def _enforce(self, manifest: Manifest) -> Manifest:
        """Apply; where somebody else's list items stand in the way or beside ours, overwrite the object.

        Server-side apply leaves the items of others alone, so a port, variable or container that was added by hand, or
        renumbered under our name, would stay, or make the API server refuse ours.
        """
        try:
            live = await patiently(self._client.apply, manifest)
            if drift.in_sync(live, manifest):
                return live
        except AdmissionRefused:
            metadata = manifest["metadata"]
            found = await self._client.get(manifest["kind"], metadata["name"], namespace=metadata.get("namespace"))
            if found is None:
                raise
            live = found
        await self._overwrite(live, manifest)
        return await self._client.apply(manifest)

    async def _overwrite(self, live: Manifest, manifest: Manifest) -> None:
        if manifest["kind"] == "Namespace":
            # There is no right to replace one; what can stand beside ours in a namespace is an owner.
            owners = {"ownerReferences": manifest["metadata"].get("ownerReferences")}
            await self._client.merge(
                live, {"metadata": {**owners, "resourceVersion": live["metadata"]["resourceVersion"]}}
            )
        else:
            await self._client.replace(drift.overwritten(live, manifest))
