"""From the cache to the observed state: what exists of an instance, as its status is computed from; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from customer_operator import naming
from customer_operator.components import certificate, stack
from customer_operator.kube.kinds import WORKLOADS
from customer_operator.licensing.entitlement import NO_LICENSE, Decision, LicenseStatus
from customer_operator.model.instance import CustomerInstance, Exposure
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed.cache import CachedObject, Key, is_in_sync, key_of
from customer_operator.observed.readiness import Readiness
from customer_operator.observed.state import ComponentState, Failure, ObservedState
from customer_operator.status import endpoints

ROUTE = "route"
CERTIFICATE = certificate.COMPONENT
ROUTE_CONDITION = "RouteReady"
_NOT_PART = Readiness(ready=True, message="not part of this instance")
_UNREACHABLE = "no device can connect while the instance is suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What a pass has found out so far: the decision, what is desired, and why it failed, if it did."""

    decision: Decision | None = None
    license: LicenseStatus = NO_LICENSE
    desired: Sequence[Manifest] = ()
    quota_enforced: bool = False
    failure: Failure | None = None
    requeue_after: float | None = None


def observe(
    instance: CustomerInstance,
    done: Pass,
    *,
    objects: Mapping[Key, CachedObject],
    platform: Platform,
    plan_before: str | None,
    typical_seconds: float,
    front_door: Readiness,
) -> ObservedState:
    """Return what exists of an instance after a pass, or before it has begun.

    `plan_before` is the plan last reported, which holds until a license has been read. `front_door` tells whether
    devices come through the front door, in case that they are to.
    """
    namespace = objects.get(Key("Namespace", naming.namespace_of(instance.name)))
    ports = endpoints.ports(objects)
    return ObservedState(
        plan=done.decision.plan if done.decision else plan_before or instance.plan,
        paused=instance.paused,
        license=done.license,
        suspended=done.decision.suspended if done.decision else None,
        namespace=naming.namespace_of(instance.name),
        namespace_ready=namespace is not None and namespace.terminating is None,
        applied_count=sum(is_in_sync(objects.get(key_of(item)), item) for item in done.desired),
        desired_count=len(done.desired),
        quota_enforced=done.quota_enforced,
        components=_components(done, objects, route(instance, done, platform=platform, front_door=front_door)),
        ports=ports,
        urls=endpoints.urls(instance, platform, ports),
        failure=done.failure,
        typical_seconds=typical_seconds,
    )


def _components(done: Pass, objects: Mapping[Key, CachedObject], route: Readiness) -> tuple[ComponentState, ...]:
    if not (desired := done.desired):
        return ()
    own = (
        ComponentState(
            name=component.name,
            condition=component.condition,
            readiness=_readiness([key_of(item) for item in _workloads(desired, component.name)], objects),
        )
        for component in stack.COMPONENTS
        if component.condition
    )
    return (
        *own,
        *_certificates(done, objects),
        ComponentState(name=ROUTE, condition=ROUTE_CONDITION, readiness=route, has_pods=False),
    )


def _certificates(done: Pass, objects: Mapping[Key, CachedObject]) -> Iterator[ComponentState]:
    """Yield the state of the broker's certificate where one is asked for."""
    for key in (key_of(item) for item in done.desired if item["kind"] == "Certificate"):
        readiness = objects[key].readiness if key in objects else None
        if done.decision and done.decision.suspended is not None:
            readiness = Readiness(ready=True, message=_UNREACHABLE)
        yield ComponentState(name=CERTIFICATE, condition="CertificateReady", readiness=readiness, has_pods=False)


def _workloads(desired: Sequence[Manifest], component: str) -> list[Manifest]:
    """Return the Deployments and StatefulSets of a component: those its condition speaks of."""
    return [item for item in desired if item["kind"] in WORKLOADS and naming.component_of(item) == component]


def _readiness(keys: Sequence[Key], objects: Mapping[Key, CachedObject]) -> Readiness | None:
    if not keys:
        return _NOT_PART
    known = [objects[key].readiness for key in keys if key in objects]
    if len(known) < len(keys):
        return None
    return next((readiness for readiness in known if not readiness.ready), known[0])


def route(instance: CustomerInstance, done: Pass, *, platform: Platform, front_door: Readiness) -> Readiness:
    """Return whether devices have a way to the broker; by SNI that is what `front_door` says."""
    match platform.exposure(instance.mqtt.exposure):
        case Exposure.SNI if done.decision and done.decision.suspended is not None:
            return Readiness(ready=True, message=_UNREACHABLE)
        case Exposure.SNI:
            return front_door
        case Exposure.EXTERNAL:
            return Readiness(ready=True, message="devices connect to the broker in spec.mqtt.external")
        case exposure:
            return Readiness(ready=True, message=f"devices connect by {exposure}")
