"""Whether devices have a way through the front door: a published route, and then somebody who has come by it."""

from collections.abc import Mapping

from customer_operator.components import mosquitto
from customer_operator.credentials.issued import DeviceTrust
from customer_operator.model.instance import CustomerInstance, Exposure
from customer_operator.model.platform import Platform
from customer_operator.observed.cache import CachedObject, Key
from customer_operator.observed.readiness import Readiness
from customer_operator.reachability.book import ReachabilityBook, Subject
from customer_operator.reachability.outcome import REACHED, REASONS
from customer_operator.reconcile.observation import ROUTE_CONDITION, Pass
from customer_operator.routing.book import RouteBook
from customer_operator.status.record import StatusRecord

_BROKER = Key("StatefulSet", mosquitto.NAME)
_NOT_PROBED = "NotProbed"


class FrontDoor:
    """The routes, and who is reachable by them; without the latter nobody is asked."""

    def __init__(
        self, routes: RouteBook, reachability: ReachabilityBook | None, *, trust: DeviceTrust, platform: Platform
    ) -> None:
        """Take the book of routes, and that of who is reachable, None when nobody tries."""
        self._routes = routes
        self._reachability = reachability
        self._trust = trust
        self._platform = platform

    def readiness(
        self, instance: CustomerInstance, done: Pass, objects: Mapping[Key, CachedObject], previous: StatusRecord
    ) -> Readiness:
        """Return whether the devices of an instance come through the front door, in case that they are to."""
        published = self._routes.readiness(instance.name)
        route = self._routes.route(instance.name) if published.ready else None
        if self._reachability is None:
            return _untold(published) if route is not None else published
        if route is None or not self._is_asked_for(instance, done):
            self._reachability.forget(instance.name)
            return published
        broker = objects.get(_BROKER)
        subject = Subject(
            host=route.host,
            route=str(route),
            workload=broker.applied_hash if broker else None,
            running=broker is not None and broker.readiness.ready,
            generation=instance.generation,
        )
        return self._reachability.readiness(instance.name, subject, recorded=_recorded(previous, published))

    def forget(self, name: str) -> None:
        """Drop what is known of an instance that is gone, or about to be."""
        if self._reachability is not None:
            self._reachability.forget(name)
        self._trust.forget(name)

    def _is_asked_for(self, instance: CustomerInstance, done: Pass) -> bool:
        suspended = done.decision is not None and done.decision.suspended is not None
        return not suspended and self._platform.exposure(instance.mqtt.exposure) is Exposure.SNI


def _untold(published: Readiness) -> Readiness:
    message = f"{published.message}; whether devices come through, nobody tries (ROUTE_PROBE)"
    return Readiness(ready=True, unknown=True, reason=_NOT_PROBED, message=message)


def _recorded(previous: StatusRecord, published: Readiness) -> Readiness | None:
    """Return what the status says, as far as it is about this way: that holds for a new leader until its first try.

    A status of the time when a published route was all that was asked for does not become worse by this.
    """
    known = previous.conditions.get(ROUTE_CONDITION)
    if known is None:
        return None
    if known.status == "True" and (known.reason == REACHED.reason or known.message == published.message):
        return REACHED
    if known.status == "Unknown" and known.reason == _NOT_PROBED:
        return Readiness(ready=True, unknown=True, reason=known.reason, message=known.message)
    if known.reason in REASONS:
        return Readiness(ready=False, reason=known.reason, message=known.message)
    return None
