"""Deletion: remove the namespace and watch it go, or leave it behind with its data, then let the resource go."""

from collections.abc import Mapping
from datetime import datetime

from customer_operator import drift, naming, stack
from customer_operator.cluster import Cluster
from customer_operator.components.context import Platform
from customer_operator.entitlement import Verdict
from customer_operator.errors import UserError
from customer_operator.instance import CustomerInstance, DeletionPolicy
from customer_operator.inventory import Inventory, Key
from customer_operator.status import LicenseReading
from customer_operator.sync import Synchroniser, check_ownership

Step = tuple[str, str, str]


class Teardown:
    """Takes an instance apart, one pass at a time; each pass sees by itself how far the last one got."""

    def __init__(
        self, *, cluster: Cluster, inventory: Inventory, synchroniser: Synchroniser, platform: Platform
    ) -> None:
        """Take what it works with."""
        self._cluster = cluster
        self._inventory = inventory
        self._sync = synchroniser
        self._platform = platform

    def steps(self, instance: CustomerInstance) -> list[Step]:
        """Return the steps of the deletion as (name, state, what it waits for)."""
        namespace = naming.namespace_of(instance.name)
        child = self._inventory.child(instance.name, Key("Namespace", namespace))
        if instance.deletion_policy is DeletionPolicy.RETAIN:
            return [
                ("retain", "Active", f"leaving namespace {namespace} and its data behind"),
                ("release", "Pending", ""),
            ]
        if child is None:
            return [("namespace", "Done", ""), ("release", "Active", "removing the finalizer")]
        holding = f"namespace {namespace}: {child.terminating or 'about to be deleted'}"
        return [("namespace", "Active", holding), ("release", "Pending", "")]

    async def advance(self, instance: CustomerInstance, *, now: datetime) -> bool:
        """Do what can be done now; True when the resource has been let go. The rest is awaited by events."""
        name = naming.namespace_of(instance.name)
        live = await self._cluster.get("Namespace", name)
        if live is not None and self._is_ours(instance, live):
            if instance.deletion_policy is DeletionPolicy.DELETE:
                self._inventory.record(instance.name, live, verified=False)
                if not live["metadata"].get("deletionTimestamp"):
                    await self._cluster.delete("Namespace", name, uid=live["metadata"]["uid"])
                return False
            await self._retain(instance, now)
        await self._cluster.apply(naming.released(instance.name, instance.uid))
        return True

    def _is_ours(self, instance: CustomerInstance, namespace: Mapping[str, object]) -> bool:
        try:
            check_ownership(instance, dict(namespace))
        except UserError:
            return False
        return True

    async def _retain(self, instance: CustomerInstance, now: datetime) -> None:
        """Scale to zero and cut the tie by which garbage collection would follow."""
        rest = Verdict(plan=instance.plan, reading=LicenseReading(), suspended="retained")
        await self._sync.apply_workloads(instance, rest, now=now)
        for manifest in stack.foundation(instance, self._platform):
            if manifest["kind"] == "Namespace":
                metadata = {key: value for key, value in manifest["metadata"].items() if key != "ownerReferences"}
                await self._cluster.apply(drift.stamped({**manifest, "metadata": metadata}))
