"""Brings one instance's objects in line with what is desired: compare what must be compared, apply what differs."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from customer_operator import naming
from customer_operator.components import guardrails, stack
from customer_operator.components.context import Context
from customer_operator.credentials.store import CredentialStore
from customer_operator.errors import AdmissionRefused, ClusterUnreachable, Conflict, NamespaceTaken, OperatorError
from customer_operator.kube.client import KINDS, KubeClient, patiently
from customer_operator.licensing.entitlement import Decision
from customer_operator.model.credentials import Credentials
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import Inventory, Key, key_of

# Kinds that are listed within the namespace; the foundation is read on its own, before there is a right to list.
_LISTED = [kind for kind, (_, _, namespaced) in KINDS.items() if namespaced and kind != "RoleBinding"]
_CACHED_BUILDS = 64


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass got: objects in line, objects wanted, whether the quota is in force, seconds to the next look."""

    applied: int = 0
    wanted: int = 0
    quota_enforced: bool = False
    desired: Sequence[Manifest] = ()
    again: float | None = None
    error: OperatorError | None = None


class Synchroniser:
    """Reads and writes the objects of instances; remembers in the inventory what it has verified."""

    def __init__(
        self,
        *,
        cluster: KubeClient,
        inventory: Inventory,
        platform: Platform,
        credential_store: CredentialStore,
        concurrency: int,
        quota_wait: float,
    ) -> None:
        """Take what it works with; `concurrency` bounds the writes in flight of all instances together.

        `quota_wait` is how long (seconds) workloads wait for the quota controller before they are applied all the same.
        """
        self._cluster = cluster
        self._inventory = inventory
        self._platform = platform
        self._credential_store = credential_store
        self._writes = asyncio.Semaphore(concurrency)
        self._quota_wait = quota_wait
        self._quota_deadlines: dict[str, float] = {}
        self._builds: OrderedDict[tuple[Any, ...], list[Manifest]] = OrderedDict()

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self._credential_store.forget(name)
        self._quota_deadlines.pop(name, None)

    async def hold(self, instance: CustomerInstance) -> None:
        """Put our finalizer on the resource, before there is anything that its deletion would have to clean up."""
        live = await self._cluster.apply(naming.with_finalizer(instance.name, instance.uid))
        self._inventory.store_instance(live)

    async def bring_in_line(self, instance: CustomerInstance, decision: Decision, *, now: datetime) -> Progress:
        """Apply what differs, wave by wave, and remove what is no longer wanted.

        Raises NamespaceTaken and CredentialsLost, and the errors of the cluster. An object that cannot be applied is
        the `error` of the answer, which still tells of all the others.
        """
        name = instance.name
        if self._terminating(name):
            # Somebody deleted the namespace itself: it is built again once it is gone, which the watch tells.
            return Progress()
        fresh = await self._found(instance)
        if fresh:
            self._inventory.mark_listed(name)
        desired = await self._desired(instance, decision, fresh=fresh, now=now)
        if not self._inventory.is_listed(name):
            await self._compare(name, desired, prune=True)
        desired = self._with_room(name, desired)
        try:
            again = await self._apply_waves(name, desired)
        except (ClusterUnreachable, Conflict):
            raise
        except OperatorError as error:
            return replace(self._progress(name, desired, quota_enforced=self._quota_enforced(name)), error=error)
        return self._progress(name, desired, quota_enforced=again is None, again=again)

    async def _apply_waves(self, name: str, desired: list[Manifest]) -> float | None:
        """Apply what differs; return the seconds that the workloads still have to wait for the quota, None for done."""
        for wave in stack.waves(desired):
            if wave and wave[0]["kind"] in stack.WORKLOADS and (remaining := self._quota_remaining(name)):
                return remaining
            await self._apply_all(name, [item for item in wave if self._inventory.needs_apply(name, item)])
        return None

    async def look(self, instance: CustomerInstance, decision: Decision) -> Progress:
        """Compare what is desired with what is there, and touch nothing."""
        name = instance.name
        if not await self._verify_foundation(instance, self._foundation(instance)):
            return Progress()
        credentials = await self._credential_store.get(name)
        if credentials is None:
            return Progress()
        desired = self._build(await self._context(instance, decision, credentials))
        if not self._inventory.is_listed(name):
            await self._compare(name, desired, prune=False)
        return self._progress(name, desired, quota_enforced=self._quota_enforced(name))

    async def license_key(self, instance: CustomerInstance) -> str | None:
        """Return the licence, inline or from its Secret; None when the instance has none."""
        return await self._credential_store.license_key(instance)

    # -- foundation --------------------------------------------------------------------------------------------------

    def _foundation(self, instance: CustomerInstance) -> list[Manifest]:
        return [drift.with_hash(item) for item in stack.foundation(instance, self._platform)]

    async def _found(self, instance: CustomerInstance) -> bool:
        """Make sure of the namespace and of our rights in it; True when it is new, and therefore empty."""
        manifests, name = self._foundation(instance), instance.name
        exists = self._inventory.is_listed(name) or await self._verify_foundation(instance, manifests)
        wrong = [manifest for manifest in manifests if self._inventory.needs_apply(name, manifest)]
        if wrong and exists:
            await self._confirm(instance)
        for manifest in wrong:
            await self._apply(name, manifest)
        return not exists

    async def _confirm(self, instance: CustomerInstance) -> None:
        """Make sure that the instance still exists before its namespace is given an owner again; Conflict if not.

        Our watch may be late: an owner that is gone would have garbage collection delete a namespace that somebody
        has just saved from deletion.
        """
        live = await self._cluster.get(naming.KIND, instance.name)
        if live is None or live["metadata"]["uid"] != instance.uid:
            raise Conflict(f"{naming.KIND} {instance.name} is gone", status=404)

    async def _verify_foundation(self, instance: CustomerInstance, manifests: Sequence[Manifest]) -> bool:
        """Read the foundation; False when there is no namespace. Raises NamespaceTaken when it is somebody else's."""
        for manifest in manifests:
            metadata, key = manifest["metadata"], key_of(manifest)
            live = await self._cluster.get(key.kind, key.name, namespace=metadata.get("namespace"))
            if live is None and key.kind == "Namespace":
                self._inventory.retain(instance.name, ())
                return False
            if live is None:
                self._inventory.remove(instance.name, key)
                continue
            if key.kind == "Namespace":
                check_ownership(instance, live)
            self._inventory.record(instance.name, live, verified=drift.in_sync(live, manifest))
        return True

    def _with_room(self, name: str, desired: list[Manifest]) -> list[Manifest]:
        """Return the objects with a quota that is not lowered before the workloads have settled (see never_shrink)."""
        workloads = [item for item in desired if item["kind"] in stack.WORKLOADS]
        children = [self._inventory.child(name, key_of(item)) for item in workloads]
        settled = all(child is not None and child.readiness.ready for child in children)
        if settled and not any(self._inventory.needs_apply(name, item) for item in workloads):
            return desired
        return [self._roomy(name, item) if item["kind"] == "ResourceQuota" else item for item in desired]

    def _roomy(self, name: str, quota: Manifest) -> Manifest:
        child = self._inventory.child(name, key_of(quota))
        roomy = guardrails.never_shrink(quota, dict(child.hard)) if child else quota
        return quota if roomy["spec"] == quota["spec"] else drift.with_hash(roomy)

    def _terminating(self, name: str) -> bool:
        namespace = self._inventory.child(name, Key("Namespace", naming.namespace_of(name)))
        return namespace is not None and namespace.terminating is not None

    # -- everything else ---------------------------------------------------------------------------------------------

    async def _desired(
        self, instance: CustomerInstance, decision: Decision, *, fresh: bool, now: datetime
    ) -> list[Manifest]:
        has_data = self._inventory.child(instance.name, Key("StatefulSet", "postgres")) is not None
        credentials = await self._credential_store.get_or_create(instance, fresh=fresh, has_data=has_data, now=now)
        return self._build(await self._context(instance, decision, credentials))

    async def _context(self, instance: CustomerInstance, decision: Decision, credentials: Credentials) -> Context:
        return Context(
            instance=instance,
            plan=decision.plan,
            features=decision.features,
            limits=decision.limits,
            platform=self._platform,
            credentials=credentials,
            license_key=await self._credential_store.license_key(instance),
            external_login=await self._credential_store.external_login(instance),
            scaled_down=decision.suspended is not None,
        )

    def _build(self, context: Context) -> list[Manifest]:
        """Return the objects, with_hash; the builders are pure, so the last builds are kept instead of made again."""
        instance = context.instance
        key = (
            *(instance.uid, instance.generation, context.plan, context.scaled_down),
            *(context.license_key, context.external_login, context.credentials),
        )
        if (known := self._builds.get(key)) is not None:
            self._builds.move_to_end(key)
            return known
        built = self._builds[key] = [drift.with_hash(item) for item in stack.objects(context)]
        if len(self._builds) > _CACHED_BUILDS:
            self._builds.popitem(last=False)
        return built

    async def _compare(self, name: str, desired: Sequence[Manifest], *, prune: bool) -> None:
        """List everything of the instance, judge it in full, and remove what is ours but no longer wanted."""
        namespace, selector = naming.namespace_of(name), {naming.INSTANCE_LABEL: name}
        lists = await asyncio.gather(
            *(patiently(self._cluster.list, kind, namespace=namespace, selector=selector) for kind in _LISTED)
        )
        live = {key_of(item): item for items in lists for item in items}
        wanted = {key_of(item): item for item in desired}
        if prune and Key("Secret", naming.CREDENTIALS_SECRET) not in live:
            await self._credential_store.keep(name)
        foundation = {Key("Namespace", namespace), Key("RoleBinding", naming.TENANT_ROLE)}
        self._inventory.retain(name, {*live, *foundation})
        for key, item in live.items():
            if key in wanted:
                self._inventory.record(name, item, verified=self._is_right(name, item, wanted[key]))
            elif prune and key != Key("Secret", naming.CREDENTIALS_SECRET):
                await self._cluster.delete(key.kind, key.name, uid=item["metadata"]["uid"], namespace=namespace)
                self._inventory.remove(name, key)
        self._inventory.mark_listed(name)

    def _is_right(self, name: str, live: Manifest, desired: Manifest) -> bool:
        """Tell whether a live object is as desired, or as the cluster insists on having it after our last apply."""
        known = self._inventory.child(name, key_of(live))
        accepted = known is not None and known.verified == drift.content_hash(live)
        return drift.in_sync(live, desired) or (accepted and drift.is_marked(live, desired))

    def _progress(
        self, name: str, desired: Sequence[Manifest], *, quota_enforced: bool, again: float | None = None
    ) -> Progress:
        applied = sum(not self._inventory.needs_apply(name, item) for item in desired)
        return Progress(
            applied=applied, wanted=len(desired), quota_enforced=quota_enforced, desired=desired, again=again
        )

    def _quota_enforced(self, name: str) -> bool:
        children = self._inventory.children(name)
        return all(child.enforced for key, child in children.items() if key.kind == "ResourceQuota")

    def _quota_remaining(self, name: str) -> float:
        """Return the seconds for which the workloads still wait for the quota to be in force; 0 for no longer."""
        if self._quota_enforced(name):
            self._quota_deadlines.pop(name, None)
            return 0.0
        now = asyncio.get_running_loop().time()
        return max(0.0, self._quota_deadlines.setdefault(name, now + self._quota_wait) - now)

    async def _apply_all(self, name: str, manifests: Sequence[Manifest]) -> None:
        results = await asyncio.gather(*(self._apply(name, item) for item in manifests), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _apply(self, name: str, manifest: Manifest) -> None:
        async with self._writes:
            live = await self._enforce(manifest)
        self._inventory.record(name, live, verified=True)

    async def _enforce(self, manifest: Manifest) -> Manifest:
        """Apply; where somebody else's list items stand in the way or beside ours, overwrite the object.

        Server-side apply leaves the items of others alone, so a port, variable or container that was added by hand, or
        renumbered under our name, would stay, or make the API server refuse ours.
        """
        try:
            live = await patiently(self._cluster.apply, manifest)
            if drift.in_sync(live, manifest):
                return live
        except AdmissionRefused:
            metadata = manifest["metadata"]
            found = await self._cluster.get(manifest["kind"], metadata["name"], namespace=metadata.get("namespace"))
            if found is None:
                raise
            live = found
        await self._cluster.replace(drift.overwritten(live, manifest))
        return await self._cluster.apply(manifest)


def check_ownership(instance: CustomerInstance, namespace: Mapping[str, Any]) -> None:
    """Refuse a namespace that is not this customer's: it may hold another customer's retained data."""
    owner = (namespace["metadata"].get("labels") or {}).get(naming.CUSTOMER_LABEL)
    if owner != instance.customer.id:
        raise NamespaceTaken(namespace["metadata"]["name"], owner)
