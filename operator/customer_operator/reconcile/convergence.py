"""Applies what is desired of one instance and removes what is not, or only compares the two."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from customer_operator import naming
from customer_operator.credentials.store import CredentialStore
from customer_operator.errors import ClusterUnreachable, Conflict, OperatorError
from customer_operator.kube.client import KubeClient
from customer_operator.licensing.entitlement import Decision
from customer_operator.model.instance import CustomerInstance, DeletionPolicy
from customer_operator.naming import Manifest
from customer_operator.observed.cache import Key, ObjectCache
from customer_operator.reconcile.applier import Applier
from customer_operator.reconcile.comparer import Comparer
from customer_operator.reconcile.desired import ContextBuilder
from customer_operator.reconcile.ownership import belongs_to, orphan
from customer_operator.reconcile.quota_gate import QuotaGate


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pass got: what is desired, the seconds that workloads still wait for the quota, what went wrong."""

    desired: Sequence[Manifest] = ()
    requeue_after: float | None = None
    error: OperatorError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """The parts of a pass, in the order in which it uses them."""

    client: KubeClient
    cache: ObjectCache
    applier: Applier
    credentials: CredentialStore
    contexts: ContextBuilder
    comparer: Comparer
    gate: QuotaGate

    async def converge(self, instance: CustomerInstance, decision: Decision, *, now: datetime) -> Progress:
        """Apply what differs, wave by wave, and remove what is no longer wanted.

        Raises NamespaceTaken and CredentialsLost, and the errors of the cluster. An object that cannot be applied is
        the `error` of the answer, which still tells of all the others.
        """
        name = instance.name
        if self._terminating(name):
            # Somebody deleted the namespace itself: it is built again once it is gone, which the watch tells.
            return Progress()
        new = await self.applier.ensure_namespace(instance, self.contexts.foundation(instance))
        if new:
            self.cache.mark_compared(name)
        credentials = await self.credentials.get_or_create(instance, new_namespace=new, now=now)
        desired = await self.contexts.objects(instance, decision, credentials, now=now)
        await self.comparer.compare(name, desired, touch=True)
        try:
            return Progress(desired, requeue_after=await self.applier.apply(name, desired))
        except (ClusterUnreachable, Conflict):
            raise
        except OperatorError as error:
            return Progress(desired, error=error)

    async def look(self, instance: CustomerInstance, decision: Decision, *, now: datetime) -> Progress:
        """Compare what is desired with what is there, and touch nothing but an owner that would endanger kept data."""
        namespace = await self.client.get("Namespace", naming.namespace_of(instance.name))
        if namespace is None or not belongs_to(namespace, uid=instance.uid, customer_id=instance.customer.id):
            return Progress()
        if instance.deletion_policy is DeletionPolicy.RETAIN:
            await orphan(self.client, namespace, uid=instance.uid)
        credentials = await self.credentials.get(instance.name)
        if credentials is None:
            return Progress()
        desired = await self.contexts.objects(instance, decision, credentials, now=now)
        await self.comparer.compare(instance.name, desired, touch=False)
        return Progress(desired)

    def invalidate(self, name: str) -> None:
        """Have the next pass compare everything in full."""
        self.cache.invalidate(name)
        self.credentials.invalidate(name)

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self.credentials.forget(name)
        self.contexts.forget(name)
        self.gate.forget(name)

    def _terminating(self, name: str) -> bool:
        namespace = self.cache.object(name, Key("Namespace", naming.namespace_of(name)))
        return namespace is not None and namespace.terminating is not None
