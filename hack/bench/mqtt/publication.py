"""Ten thousand routes: published by the operator's own publisher, followed by mqtt-router, held by HAProxy."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from prometheus_client import CollectorRegistry

from customer_operator import naming
from customer_operator.components.mosquitto import DEVICE_SERVICE, TLS_PORT
from customer_operator.kube.client import KubeClient, connect
from customer_operator.kube.fence import Fence
from customer_operator.kube.reflector import Reflector
from customer_operator.metrics import Metrics
from customer_operator.observed.cache import ObjectCache
from customer_operator.routing.book import RouteBook
from customer_operator.routing.publisher import Publisher
from customer_operator.settings import Settings
from hack.bench.__main__ import say
from hack.bench.mqtt.stage import DOMAIN, NAMESPACE, Stage, host_of
from hack.tasks import running
from mqtt_router.mapping import values_of
from mqtt_router.routes import SELECTOR, SHARDS, Route, shard_of

_INTERVAL: Final[float] = Settings.model_fields["route_publish_interval"].default
_CHANGES: Final = 20
_BREATH: Final = 0.005  # seconds between two looks at the map
_PATIENCE: Final = 120.0  # seconds


@dataclass(kw_only=True)
class Many:
    """What so many routes cost; seconds, MiB, KiB."""

    routes: int
    taken_in_s: float = 0.0
    rendered_s: float = 0.0
    published_s: float = 0.0
    published_to_live_s: float = 0.0
    full_load_s: float = 0.0
    largest_kib: float = 0.0
    haproxy_empty_mib: float = 0.0
    haproxy_mib: float = 0.0
    haproxy_from_file_mib: float = 0.0
    router_mib: float = 0.0
    publishing: list[float] = field(default_factory=list)
    changing: list[float] = field(default_factory=list)


class Instances:
    """Instances as the operator would know them by its watches, each with a Service for its devices."""

    def __init__(self) -> None:
        """Start with none."""
        platform = Settings.model_construct(base_domain=DOMAIN).platform()
        self._cache = ObjectCache()
        self.book = RouteBook(cache=self._cache, platform=platform)
        self._version = 0
        self.routes: dict[str, Route] = {}

    def put(self, name: str, *, address: str) -> Route:
        """Have an instance be seen whose broker has this address; return the route that it asks for."""
        self._cache.upsert_instance(self._instance(name))
        self._cache.upsert(name, self._service(name, address))
        self.book.refresh(name)
        route = Route(host_of(name), address, TLS_PORT)
        self.routes[route.host] = route
        return route

    def is_published(self, shards: Iterable[int] = range(SHARDS)) -> bool:
        """Tell whether shards are as they have to be, as far as the operator knows."""
        return all(
            (live := self.book.live(shard)) is not None and live.text == self.book.text(shard) for shard in shards
        )

    def _instance(self, name: str) -> naming.Manifest:
        metadata = self._metadata(name, created="2026-01-01T00:00:00Z")
        status = {"phase": "Ready", "urls": {"mqtt": f"mqtts://{host_of(name)}:{TLS_PORT}"}}
        return {"apiVersion": naming.API_VERSION, "kind": naming.KIND, "metadata": metadata, "status": status}

    def _service(self, name: str, address: str) -> naming.Manifest:
        labels = naming.labels(name, "mosquitto")
        metadata = self._metadata(DEVICE_SERVICE, namespace=naming.namespace_of(name), labels=labels)
        ports = [{"name": "mqtts", "port": TLS_PORT}]
        spec = {"type": "ClusterIP", "clusterIP": address, "ports": ports}
        return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}

    def _metadata(self, name: str, *, created: str = "", **more: Any) -> naming.Manifest:
        self._version += 1
        uid = f"{more.get('namespace', '')}/{name}"
        return {"name": name, "uid": uid, "resourceVersion": str(self._version), "creationTimestamp": created, **more}


async def measure(stage: Stage, *, count: int) -> Many:
    """Publish so many routes, have them followed, load them anew, and change one after another."""
    many, instances = Many(routes=count), Instances()
    many.haproxy_empty_mib = await asyncio.to_thread(stage.restart_empty)
    await asyncio.to_thread(stage.start_router)
    say(f"publishing {count} routes")
    began = time.monotonic()
    for number in range(count):
        instances.put(f"customer-{number:05d}", address=f"127.96.{number >> 8}.{number & 255}")
    many.taken_in_s = time.monotonic() - began
    began = time.monotonic()
    texts = [instances.book.text(shard) for shard in range(SHARDS)]
    many.rendered_s, many.largest_kib = time.monotonic() - began, max(map(len, texts)) / 1024
    async with _publishing(stage, instances):
        began = time.monotonic()
        await _until(instances.is_published)
        many.published_s = time.monotonic() - began
        await _until(lambda: len(stage.door.entries()) >= count, interval=0.05)
        many.published_to_live_s = time.monotonic() - began
        await _load_anew(stage, many, instances)
        say(f"{_CHANGES} changes, one after another")
        for number in range(_CHANGES):
            await _change(stage, many, instances, f"customer-{number * count // _CHANGES:05d}", f"127.97.0.{number}")
    return many


async def _load_anew(stage: Stage, many: Many, instances: Instances) -> None:
    """Start mqtt-router beside an empty HAProxy; then HAProxy anew, which reads the file."""
    await asyncio.to_thread(stage.restart_empty)
    began = time.monotonic()
    await asyncio.to_thread(stage.start_router)
    many.full_load_s = time.monotonic() - began
    if stage.door.entries() != values_of(instances.routes):
        raise ValueError("HAProxy's map is not what was published")
    many.haproxy_mib, many.router_mib = stage.door.resident_mib(), stage.router.resident_mib()
    stage.door.kill()
    stage.door.start()
    many.haproxy_from_file_mib = stage.door.resident_mib()
    await asyncio.to_thread(stage.router.wait_until_ready)


async def _change(stage: Stage, many: Many, instances: Instances, name: str, address: str) -> None:
    began = time.monotonic()
    route = instances.put(name, address=address)
    await _until(lambda: instances.is_published([shard_of(route.host)]))
    many.publishing.append(time.monotonic() - began)
    wanted = f'value="{address}/{TLS_PORT}"'
    await _until(lambda: wanted in stage.door.ask(f"get map {stage.door.map_file} {route.host}"))
    many.changing.append(time.monotonic() - began)


@asynccontextmanager
async def _publishing(stage: Stage, instances: Instances) -> AsyncIterator[None]:
    """Publish as a leader does, by the operator's own rights."""
    kubeconfig = await asyncio.to_thread(
        stage.cluster.service_account_kubeconfig,
        naming.OPERATOR_NAMESPACE,
        naming.OPERATOR_SERVICE_ACCOUNT,
        stage.folder / "publisher.kubeconfig",
    )
    metrics, fence = Metrics(CollectorRegistry()), Fence.always_open()
    async with connect(kubeconfig=kubeconfig, metrics=metrics, fence=fence, identity="bench") as client:
        publisher = _publisher(client, instances, metrics)
        reflector = Reflector(client, "ConfigMap", selector=SELECTOR, namespace=NAMESPACE, mirror=instances.book)
        async with running(reflector.run()):
            await reflector.synced.wait()
            async with running(publisher.run()):
                yield


def _publisher(client: KubeClient, instances: Instances, metrics: Metrics) -> Publisher:
    return Publisher(
        client=client,
        book=instances.book,
        metrics=metrics,
        namespace=NAMESPACE,
        interval=_INTERVAL,
        now=lambda: datetime.now(UTC),
    )


async def _until(condition: Any, *, interval: float = _BREATH) -> None:
    async with asyncio.timeout(_PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing sets an event for it
            await asyncio.sleep(interval)
