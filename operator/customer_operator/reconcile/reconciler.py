"""One function from a name to an outcome, the same for creation, change, drift, retry and restart.

Parse -> decide -> converge -> observe -> report.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from customer_operator import naming
from customer_operator.credentials.references import ReferencedSecrets
from customer_operator.errors import (
    ClusterError,
    ClusterUnreachable,
    Conflict,
    HostnameTaken,
    LicenseRejected,
    OperatorError,
    UserError,
)
from customer_operator.licensing import entitlement
from customer_operator.licensing.entitlement import Decision
from customer_operator.licensing.keys import KeySet
from customer_operator.model import admission, hostnames
from customer_operator.model.instance import CustomerInstance, DeletionRequest, parse, parse_deletion
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from customer_operator.observed.state import Failure, ObservedState
from customer_operator.reconcile.convergence import Convergence, Progress
from customer_operator.reconcile.deletion import Deletion, first_stages
from customer_operator.reconcile.diagnosis import diagnose
from customer_operator.reconcile.front_door import FrontDoor
from customer_operator.reconcile.observation import Pass, observe
from customer_operator.reconcile.ownership import belongs_to
from customer_operator.reconcile.reporter import Reporter
from customer_operator.reconcile.retry import Retry, is_asked_for, may_try
from customer_operator.reconcile.workloads import stop_workloads
from customer_operator.status.record import Phase, StatusRecord, read_status

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a pass ended, as metrics call it, and in how many seconds the next one is wanted (None: at the resync).

    `steady` says that nobody waits for that next pass.
    """

    result: str
    requeue_after: float | None = None
    steady: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LicensePolicy:
    """How licenses are evaluated: the keys and the issuer that are trusted, and how long an expired one is served."""

    keys: KeySet
    issuer: str
    grace: timedelta


class Reconciler:
    """Everything a pass needs, and nothing that a restart would lose."""

    def __init__(
        self,
        *,
        cache: ObjectCache,
        convergence: Convergence,
        deletion: Deletion,
        reporter: Reporter,
        references: ReferencedSecrets,
        licenses: LicensePolicy,
        retry: Retry,
        front_door: FrontDoor,
        platform: Platform,
        clock: Callable[[], datetime],
    ) -> None:
        """Take the collaborators; `clock` returns the time of day, aware of its zone."""
        self._cache = cache
        self._convergence = convergence
        self._deletion = deletion
        self._reporter = reporter
        self._references = references
        self._licenses = licenses
        self._retry = retry
        self._front_door = front_door
        self._platform = platform
        self._clock = clock

    async def reconcile(self, name: str, *, resync: bool) -> Outcome:
        """Bring one instance closer to its spec and report it in its status; `resync` compares everything in full.

        Raises ClusterUnreachable when the API server is away, and Conflict when something was changed or replaced
        meanwhile: both are tried again soon and are nobody's failure. Everything else ends in the status.
        """
        body = self._cache.instance(name)
        if body is None:
            self._convergence.forget(name)
            self._front_door.forget(name)
            return Outcome("gone")
        try:
            if (request := parse_deletion(body)) is not None:
                self._front_door.forget(name)
                return await self._delete(body, request)
            return await self._advance(body, resync=resync)
        except Conflict:
            await self._read_again(name)
            raise

    async def _read_again(self, name: str) -> None:
        """Read the resource from the API server: what the watch has told so far was not the latest."""
        self._convergence.invalidate(name)
        live = await self._convergence.client.get(naming.KIND, name)
        if live is not None:
            self._cache.upsert_instance(live)
        elif (known := self._cache.uid_of(name)) is not None:
            self._cache.delete_instance(name, uid=known)

    async def _advance(self, body: Manifest, *, resync: bool) -> Outcome:
        try:
            instance = parse(body)
        except UserError as error:
            await self._reporter.report_unreadable(body, error)
            return Outcome("rejected")
        previous = read_status(body)
        now = self._clock()
        wait = may_try(instance, previous, resync=resync, now=now)
        if wait is not None:
            return Outcome("postponed", requeue_after=wait or None)
        changed = previous.observed_generation != instance.generation
        if resync or changed or is_asked_for(instance, previous, now=now):
            self._convergence.invalidate(instance.name)
        return await self._attempt(body, instance, previous)

    async def _attempt(self, body: Manifest, instance: CustomerInstance, previous: StatusRecord) -> Outcome:
        done = Pass()
        error: Exception | None = None
        try:
            decision = await self._decide(instance)
            done = replace(done, decision=decision, license=decision.license)
            self._admit(instance)
            progress = await self._work(body, instance, done)
            done = replace(done, desired=progress.desired, requeue_after=progress.requeue_after)
            error = progress.error
        except (ClusterUnreachable, Conflict):
            self._convergence.invalidate(instance.name)
            raise
        except Exception as caught:
            error = caught
        if isinstance(error, LicenseRejected):
            done = replace(done, license=entitlement.rejected(error))
        if isinstance(error, UserError):
            await self._suspend_refused(instance, done.decision)
        if error is not None:
            done = replace(done, failure=self._fail(instance, previous, error))
        return await self._conclude(body, instance, done, previous)

    async def _suspend_refused(self, instance: CustomerInstance, decision: Decision | None) -> None:
        """Stop an instance that is to be suspended although its spec cannot be carried out: nobody is served by that.

        A mistake in one field, or a platform that has become stricter, is no way to go on without a license.
        """
        suspended = decision.suspended is not None if decision else instance.suspend
        if not suspended or instance.paused:
            return
        namespace = await self._convergence.client.get("Namespace", naming.namespace_of(instance.name))
        if namespace and belongs_to(namespace, uid=instance.uid, customer_id=instance.customer.id):
            try:
                await stop_workloads(self._convergence.client, instance.name, self._platform)
            except (ClusterUnreachable, Conflict):
                raise
            except ClusterError as error:
                log.warning("instance %s cannot be suspended: %s", instance.name, error)

    def _admit(self, instance: CustomerInstance) -> None:
        """Refuse what the platform does not allow its instances to ask for; raises a UserError."""
        admission.check(instance, self._platform)
        if instance.hostname is not None:
            claims = self._cache.claims(hostnames.canonical(instance.hostname))
            if claims and hostnames.holder(claims.values()).uid != instance.uid:
                raise HostnameTaken(instance.hostname)

    async def _decide(self, instance: CustomerInstance) -> Decision:
        return entitlement.evaluate(
            instance,
            token=await self._references.license_key(instance),
            keys=self._licenses.keys,
            issuer=self._licenses.issuer,
            grace=self._licenses.grace,
            now=self._clock(),
        )

    async def _work(self, body: Manifest, instance: CustomerInstance, done: Pass) -> Progress:
        decision = done.decision
        assert decision is not None  # noqa: S101 - a pass works only after it has decided
        if instance.paused:
            return await self._convergence.look(instance, decision, now=self._clock())
        if naming.FINALIZER not in instance.finalizers:
            await self._convergence.applier.add_finalizer(instance)
        if not body.get("status"):
            # Somebody is watching: say that the work has begun before it has.
            await self._reporter.report(body, instance, self._observe(instance, done, StatusRecord()))
        return await self._convergence.converge(instance, decision, now=self._clock())

    def _fail(self, instance: CustomerInstance, previous: StatusRecord, error: Exception) -> Failure:
        """Return how a failed pass is reported; whatever was verified before it counts no more."""
        self._convergence.invalidate(instance.name)
        failure = self._retry.failure(error, instance=instance, previous=previous, now=self._clock())
        unexpected = not isinstance(error, OperatorError)
        log.warning("instance %s: %s", instance.name, failure.message, exc_info=error if unexpected else None)
        return failure

    def _observe(self, instance: CustomerInstance, done: Pass, previous: StatusRecord) -> ObservedState:
        objects = self._cache.objects(instance.name)
        return observe(
            instance,
            replace(done, quota_enforced=bool(done.desired) and self._convergence.gate.enforced(instance.name)),
            objects=objects,
            platform=self._platform,
            plan_before=previous.plan,
            typical_seconds=self._reporter.typical_seconds,
            front_door=self._front_door.readiness(instance, done, objects, previous),
        )

    async def _conclude(
        self, body: Manifest, instance: CustomerInstance, done: Pass, previous: StatusRecord
    ) -> Outcome:
        now, observed = self._clock(), self._observe(instance, done, previous)
        diagnosis = await diagnose(
            self._convergence.client, instance.name, observed.components, previous=previous, now=now
        )
        observed = replace(observed, components=diagnosis.components)
        await self._reporter.report(body, instance, observed)
        if observed.failure:
            again = observed.failure.next_attempt_at
            return Outcome("failed", requeue_after=(again - now).total_seconds() if again else None)
        if done.requeue_after is not None:
            return Outcome("waiting", requeue_after=done.requeue_after)
        if diagnosis.requeue_after is not None:
            return Outcome("waiting", requeue_after=diagnosis.requeue_after)
        return Outcome(
            "ready" if observed.healthy else "waiting", requeue_after=_until(done.decision, now), steady=True
        )

    async def _delete(self, body: Manifest, request: DeletionRequest) -> Outcome:
        if naming.FINALIZER not in request.finalizers:
            return Outcome("released")
        if read_status(body).phase is not Phase.DELETING:
            await self._reporter.report_deletion(body, request, first_stages(request))
        progress = await self._deletion.advance(request, now=self._clock())
        if progress.done:
            return Outcome("deleted")
        await self._reporter.report_deletion(body, request, progress.stages)
        return Outcome("waiting", requeue_after=progress.requeue_after)


def _until(decision: Decision | None, now: datetime) -> float | None:
    """Return the seconds until the license reads differently, so that the instance is looked at then."""
    change = decision.next_change if decision else None
    return max(1.0, (change - now).total_seconds()) if change else None
