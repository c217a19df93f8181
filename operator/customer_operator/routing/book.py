"""The book of routes: what instances ask for beside what is published, and who is told when either changes."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from customer_operator.components import mosquitto
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed.cache import Key, ObjectCache
from customer_operator.observed.readiness import Readiness
from customer_operator.routing.candidates import candidate_of
from customer_operator.routing.published import LiveShard, PublishedShards
from customer_operator.routing.table import RouteTable
from mqtt_router.routes import Route, shard_of

_SERVICE: Final = Key("Service", mosquitto.DEVICE_SERVICE)


class RouteBook:
    """Follows the object cache on one side and the ConfigMaps on the other (kube.reflector.Mirror)."""

    def __init__(self, *, cache: ObjectCache, platform: Platform) -> None:
        """Take where instances and their Services are known; nobody is told of anything before `follow`."""
        self._cache = cache
        self._table = RouteTable(platform)
        self._published = PublishedShards()
        self._confirmed: dict[str, Route] = {}  # by instance; has been published as it is now
        self._shard_changed: Callable[[int], None] = lambda shard: None
        self._instances_changed: Callable[[Iterable[str]], None] = lambda names: None

    def follow(
        self,
        *,
        shard_changed: Callable[[int], None] | None = None,
        instances_changed: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        """Set who is told: of a shard that may have to be published, and of instances whose readiness may differ."""
        self._shard_changed = shard_changed or self._shard_changed
        self._instances_changed = instances_changed or self._instances_changed

    # -- what is asked for --------------------------------------------------------------------------------------------

    @property
    def routes(self) -> int:
        """The number of routes."""
        return len(self._table)

    @property
    def refused(self) -> int:
        """The number of instances whose route is left out."""
        return self._table.refused

    def refresh(self, name: str) -> None:
        """Look at an instance and its Service again, after an event of either."""
        problem = self._table.problem(name)
        service = self._cache.object(name, _SERVICE)
        # The resource is unpacked only where that can matter.
        body = self._cache.instance(name) if service is not None and service.endpoint is not None else None
        hosts = self._table.put(name, candidate_of(body, service.endpoint) if body and service else None)
        for host in hosts:
            self._shard_changed(shard_of(host))
        names = {other for host in hosts for other in self._table.claimants(host)} | {name}
        if hosts:
            for other in names:
                self._confirmed.pop(other, None)
        if hosts or problem != self._table.problem(name):
            self._instances_changed(names)

    def route(self, name: str) -> Route | None:
        """Return the route of an instance; None when it asks for none, or for one that is left out."""
        return self._table.route(name)

    def readiness(self, name: str) -> Readiness:
        """Return whether the front door has the route of an instance whose devices are to come through it.

        It has one that was published once as it is now: what others do to a ConfigMap is put right, and meanwhile no
        instance is worse for it.
        """
        if (problem := self._table.problem(name)) is not None:
            return Readiness(ready=False, stuck=True, message=f"no route can be published at the front door: {problem}")
        route = self._table.route(name)
        if route is None:
            return Readiness(ready=False, message="waiting for the broker's Service to have an address")
        self._confirm(name, route)
        if self._confirmed.get(name) != route:
            return Readiness(ready=False, message=f"waiting for the route of {route.host} to be published")
        return Readiness(ready=True, message=f"the route of {route.host} is published at the front door")

    def _confirm(self, name: str, route: Route) -> None:
        live = self._published.get(shard_of(route.host))
        if live is not None and str(route) in live.lines:
            self._confirmed[name] = route

    # -- what is published --------------------------------------------------------------------------------------------

    def text(self, shard: int) -> str:
        """Return how the text of a shard has to be."""
        return self._table.text(shard)

    def live(self, shard: int) -> LiveShard | None:
        """Return how a shard is; None when it has no ConfigMap."""
        return self._published.get(shard)

    def upsert(self, live: Manifest) -> None:
        """Take in a ConfigMap as it is now, from the watch or from an answer."""
        known = self._published.upsert(live)
        if known is not None:
            self._shard_changed(known.shard)
            self._instances_changed(self._holders(known.appeared))

    def delete(self, live: Manifest) -> None:
        """Take in that a ConfigMap is gone, or has lost its label."""
        if (shard := self._published.delete(live)) is not None:
            self._shard_changed(shard)

    def prune(self, kind: str, *, uids: Collection[str], version: int) -> None:
        """Drop the ConfigMaps that a list did not hold."""
        for shard in self._published.prune(uids=uids, version=version):
            self._shard_changed(shard)

    def forget(self, shard: int) -> None:
        """Take in that a shard has no ConfigMap, as a request has shown."""
        self._published.forget(shard)

    def _holders(self, lines: Iterable[str]) -> set[str]:
        """Return the instances whose routes these lines are."""
        names = (self._table.holder(line.partition(" ")[0]) for line in lines)
        return {name for name in names if name is not None}
