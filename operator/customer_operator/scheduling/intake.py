"""What comes in from the watches: into the cache always, into the queue only while this replica works."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache, hostname_of
from customer_operator.routing.book import RouteBook
from customer_operator.scheduling.workers import Workers


class Intake:
    """The mirror that the watches keep true; a standby's queue stays empty."""

    def __init__(self, *, cache: ObjectCache, routes: RouteBook, workers: Workers, works: Callable[[], bool]) -> None:
        """Take what is filled, and whether there is anybody to work."""
        self._cache = cache
        self._routes = routes
        routes.follow(instances_changed=self.objects_changed)
        self._workers = workers
        self._works = works

    # -- instances ---------------------------------------------------------------------------------------------------

    def upsert_instance(self, body: Mapping[str, Any]) -> None:
        """Take in a resource as it is now; who waits for a hostname that it has given up may have it."""
        name = body["metadata"]["name"]
        before, news = self._cache.hostname(name), self._cache.upsert_instance(body)
        # Our own writes too: what an answer has told the cache already is no news, but here it is.
        self._routes.refresh(name)
        if not news:
            return
        self._queue(name)
        if before != self._cache.hostname(name):
            self._hand_over(before)

    def delete_instance(self, body: Mapping[str, Any]) -> None:
        """Take in that a resource is gone; another one of that name stays."""
        metadata = body["metadata"]
        # A pass may have learned of it before, and the cache knows nothing any more.
        hostnames = {self._cache.hostname(metadata["name"]), hostname_of(body)}
        if self._cache.delete_instance(metadata["name"], uid=metadata["uid"]):
            self._queue(metadata["name"])
        self._routes.refresh(metadata["name"])
        for hostname in hostnames:
            self._hand_over(hostname)

    # -- what their licenses are verified with ------------------------------------------------------------------------

    def keys_changed(self) -> None:
        """Take in that the license keys are others now."""
        if self._works():
            self._workers.keys_changed()

    # -- who signs their certificates ----------------------------------------------------------------------------------

    def certificates_changed(self) -> None:
        """Take in that the cluster knows Certificates now, or does not any more."""
        self.objects_changed(self._cache.names())

    # -- their objects, and lists of both (kube.reflector.Mirror) ----------------------------------------------------

    def upsert(self, live: Manifest) -> None:
        """Take in a resource or an object as it is now."""
        if live["kind"] == naming.KIND:
            self.upsert_instance(live)
        elif (name := instance_of(live)) is not None:
            self._take(name, live, news=self._cache.upsert(name, live))

    def delete(self, live: Manifest) -> None:
        """Take in that a resource or an object is gone, or no longer carries the label."""
        if live["kind"] == naming.KIND:
            self.delete_instance(live)
        elif (name := instance_of(live)) is not None:
            self._take(name, live, news=self._cache.delete(name, live))

    def prune(self, kind: str, *, uids: Collection[str], version: int) -> None:
        """Drop what a list did not hold."""
        if kind == naming.KIND:
            for name, hostname in self._cache.prune_instances(uids=uids, version=version).items():
                self._queue(name)
                self._routes.refresh(name)
                self._hand_over(hostname)
        else:
            names = self._cache.prune(kind, uids=uids, version=version)
            for name in names:
                self._routes.refresh(name)
            self.objects_changed(names)

    def _take(self, name: str, live: Manifest, *, news: bool) -> None:
        if live["kind"] == "Service":
            self._routes.refresh(name)
        if news:
            self._object_changed(name)

    def _queue(self, name: str) -> None:
        if self._works():
            self._workers.instance_changed(name)

    def _object_changed(self, name: str) -> None:
        if self._works():
            self._workers.object_changed(name)

    def objects_changed(self, names: Iterable[str]) -> None:
        """Take in that instances may be another way now, though no resource and no object has changed."""
        for name in names:
            self._object_changed(name)

    def _hand_over(self, hostname: str | None) -> None:
        if hostname is not None and self._works():
            for name in self._cache.claims(hostname):
                self._workers.compare_again(name, within=0.0)


def instance_of(live: Mapping[str, Any]) -> str | None:
    """Return the instance that an object is labelled with, if it is where that instance's objects are."""
    metadata = live["metadata"]
    name = (metadata.get("labels") or {}).get(naming.INSTANCE_LABEL)
    home = metadata["name"] if live["kind"] == "Namespace" else metadata.get("namespace")
    return name if name is not None and home == naming.namespace_of(name) else None
