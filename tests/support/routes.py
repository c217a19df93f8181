"""Instances that ask for a route at the front door, their Services, and a book over both."""

from dataclasses import dataclass, field
from typing import Any

from customer_operator import naming
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from customer_operator.routing.book import RouteBook
from tests.support.generate import make_platform

DOMAIN = "iot.example.com"  # the platform's, as in tests/support/generate.py
ADDRESS = "10.96.0.7"


def host_of(name: str) -> str:
    """Return the host of an instance's devices."""
    return f"mqtt.{name}.{DOMAIN}"


def routed(
    name: str = "acme", *, host: str | None = None, version: int = 1, minute: int = 0, **status: Any
) -> Manifest:
    """Return an instance whose status says that devices reach it at a host, which is its own by default."""
    url = f"mqtts://{host if host is not None else host_of(name)}:8883"
    metadata = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": str(version), "generation": 1}
    metadata["creationTimestamp"] = f"2026-11-21T12:{minute:02}:00Z"
    return {
        "apiVersion": naming.API_VERSION,
        "kind": naming.KIND,
        "metadata": metadata,
        "spec": {"plan": "starter"},
        "status": {"phase": "Ready", "urls": {"mqtt": url}, **status},
    }


def broker_service(
    name: str = "acme", *, address: str | None = ADDRESS, kind: str = "ClusterIP", version: int = 1
) -> Manifest:
    """Return the Service by which an instance's devices come."""
    metadata = {"name": "mqtt", "namespace": naming.namespace_of(name), "uid": f"uid-of-{name}-mqtt"}
    labels = naming.labels(name, "mosquitto")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**metadata, "labels": labels, "resourceVersion": str(version)},
        "spec": {"type": kind, "clusterIP": address, "ports": [{"name": "mqtts", "port": 8883}]},
    }


@dataclass
class Scene:
    """A book over a cache that a test fills, and what it has told others."""

    platform: Platform = field(default_factory=make_platform)
    cache: ObjectCache = field(default_factory=ObjectCache)
    shards: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.book = RouteBook(cache=self.cache, platform=self.platform)
        self.book.follow(shard_changed=self.shards.append, instances_changed=lambda names: self.names.extend(names))
        self._versions = iter(range(1, 1_000_000))

    def put(self, name: str = "acme", *, address: str | None = ADDRESS, kind: str = "ClusterIP", **status: Any) -> None:
        """Have an instance and its Service be seen, as they are from now on."""
        self.cache.upsert_instance(routed(name, version=next(self._versions), **status))
        self.cache.upsert(name, broker_service(name, address=address, kind=kind, version=next(self._versions)))
        self.book.refresh(name)

    def remove(self, name: str = "acme") -> None:
        """Have an instance be seen to be gone."""
        self.cache.delete_instance(name, uid=f"uid-of-{name}")
        self.book.refresh(name)

    @property
    def lines(self) -> list[str]:
        """The routes as they are to be published."""
        return sorted(line for shard in range(16) for line in self.book.text(shard).splitlines())
