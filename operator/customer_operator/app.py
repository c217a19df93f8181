"""Puts the operator together and keeps it running; the only place that knows all the parts."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from customer_operator import leading, naming
from customer_operator.errors import ClusterError, SettingInvalid
from customer_operator.kube.client import KubeClient, connect
from customer_operator.kube.configuration import connection_of
from customer_operator.kube.fence import Fence
from customer_operator.kube.kinds import WATCHED
from customer_operator.kube.leader import Leadership, Timing
from customer_operator.kube.optional import OptionalReflector
from customer_operator.kube.reflector import Reflector, relist
from customer_operator.leading import Leader
from customer_operator.licensing.keys import KeySet
from customer_operator.metrics import Metrics
from customer_operator.observed.cache import ObjectCache
from customer_operator.probes import Probes
from customer_operator.reachability.wiring import book_of
from customer_operator.routing.book import RouteBook
from customer_operator.routing.publisher import Publisher
from customer_operator.scheduling.certificates import certificate_reflector
from customer_operator.scheduling.collector import QueueCollector
from customer_operator.scheduling.intake import Intake
from customer_operator.scheduling.queue import WorkQueue
from customer_operator.scheduling.workers import Workers
from customer_operator.settings import Settings
from mqtt_router.routes import SELECTOR as ROUTES_SELECTOR

log = logging.getLogger(__name__)

# Due items while no pass has come to an end for so long (seconds) mean that the workers hang.
_HANGING = 300.0
# Seconds. Nobody tells of a file that was replaced in a mounted ConfigMap; the kubelet itself takes up to a minute.
_KEYS_LOOK = 2.0
# Seconds: between kopf's first item of a list and our look for ghosts, and between two tries of that.
_SWEEP_DELAY = 1.0
_SWEEP_RETRY = 5.0
# Seconds. Where the routes have been listed by then, no instance is told for a moment that its own is missing.
_ROUTES_PATIENCE = 15.0


class Operator:
    """Takes in events, and works on the queue while it leads."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is opened before `start`. Raises SettingInvalid for keys that cannot be read."""
        self._settings = settings
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry)
        self._keys = keys = KeySet(settings.license_jwks_path)
        self._metrics.follow_license_keys(trusted=lambda: keys.trusted, unreadable=lambda: keys.unreadable)
        self._cache = ObjectCache()
        self._routes = RouteBook(cache=self._cache, platform=settings.platform())
        self._queue = WorkQueue(clock=time.monotonic, age_step=settings.queue_age_step)
        self._workers = Workers(
            queue=self._queue,
            cache=self._cache,
            metrics=self._metrics,
            concurrency=settings.queue_concurrency,
            resync=settings.resync_interval,
        )
        # Not `leads`: where the lead is only in doubt, the queue must miss nothing, for nobody would fill it again.
        self._intake = Intake(cache=self._cache, routes=self._routes, workers=self._workers, works=lambda: self._works)
        self._reachability = book_of(settings, instances_changed=self._intake.objects_changed)
        self._keys.on_change(self._intake.keys_changed)
        self._registry.register(QueueCollector(self._queue))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._resources = AsyncExitStack()
        self._fence = Fence()
        self._leadership: Leadership | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._reflectors: list[Reflector] = []
        self._publisher: Publisher | None = None
        self._routes_listed = asyncio.Event()
        self._listed = asyncio.Event()
        self._swept = asyncio.Event()

    @property
    def leads(self) -> bool:
        """Whether this replica is the one that works."""
        return self._leadership is not None and self._leadership.leads

    @property
    def _works(self) -> bool:
        return self._leadership is not None and self._leadership.elected

    async def start(self) -> None:
        """Open the connection and the probes, follow the cluster, and stand for election.

        Raises SettingInvalid for a kubeconfig or a port that cannot be used.
        """
        client = await self._connect(self._metrics, self._fence)
        self._reflectors = [
            Reflector(client, kind, selector=naming.INSTANCE_LABEL, mirror=self._intake) for kind in WATCHED
        ]
        if self._settings.front_door:
            where = self._settings.router_namespace
            routes = Reflector(client, "ConfigMap", selector=ROUTES_SELECTOR, mirror=self._routes, namespace=where)
            self._reflectors.append(routes)
            self._routes_listed = routes.synced
            self._publisher = self._publisher_of(client)
        if self._settings.platform().asks_for_certificates:
            self._reflectors.append(certificate_reflector(client, self._intake))
        self._leadership = await self._stand(client)
        await self._start_probes()
        self._resources.push_async_callback(self._end_tasks)
        self._tasks = [
            asyncio.create_task(self._leadership.run(), name="leader election"),
            asyncio.create_task(self._sweep(client), name="list of instances"),
            asyncio.create_task(self._follow_keys(), name="license keys"),
            *(asyncio.create_task(reflector.run(), name=f"watch {reflector.kind}") for reflector in self._reflectors),
        ]

    async def stop(self) -> None:
        """End the work, give the lead back, close everything."""
        await self._resources.aclose()

    def problem(self) -> str | None:
        """Return why the operator does not do its work, or None when it does; a standby does its work by waiting."""
        ended = [task.get_name() for task in self._tasks if task.done()]
        if ended or not self._tasks:
            return f"ended: {', '.join(ended) or 'everything'}"
        if self.leads and self._workers.stalled_for() > _HANGING:
            return f"items are due, and none has been done for {self._workers.stalled_for():.0f} s; the workers hang"
        return None

    def unread(self) -> str | None:
        """Return what has not been listed yet, for which a leader waits before it works; None when all has been."""
        kinds = [reflector.kind for reflector in self._reflectors if not reflector.synced.is_set()]
        kinds += [] if self._swept.is_set() else [naming.KIND]
        return f"not listed yet: {', '.join(kinds)}; the log says why, if it cannot be" if kinds else None

    async def connection(self) -> dict[str, Any]:
        """Return how to reach the API server, as kopf takes it, with the token as it is now."""
        return await connection_of(self._settings.kubeconfig)

    def instance_event(self, event: Mapping[str, Any]) -> None:
        """Take in a watch event of a CustomerInstance."""
        if event["type"] == "DELETED":
            self._intake.delete_instance(event["object"])
        else:
            self._intake.upsert_instance(event["object"])
        if event["type"] is None:
            # kopf lists again, of which it tells neither the end nor what is missing: look for ghosts.
            self._listed.set()

    async def _connect(self, metrics: Metrics, fence: Fence) -> KubeClient:
        settings = self._settings
        return await self._resources.enter_async_context(
            connect(kubeconfig=settings.kubeconfig, metrics=metrics, fence=fence, identity=settings.identity)
        )

    async def _stand(self, client: KubeClient) -> Leadership:
        settings = self._settings
        return Leadership(
            # Connections of its own, that slow writes cannot occupy; and its requests are not the work's.
            client=await self._connect(Metrics(CollectorRegistry()), Fence.always_open()),
            fence=self._fence,
            namespace=settings.operator_namespace,
            identity=settings.identity,
            timing=Timing(
                duration=settings.lease_duration,
                renew_deadline=settings.lease_renew_deadline,
                retry_period=settings.lease_retry_period,
            ),
            work=lambda: self._work(client),
        )

    async def _start_probes(self) -> None:
        probes = Probes(
            host=self._settings.probe_host,
            port=self._settings.probe_port,
            registry=self._registry,
            live=self.problem,
            ready=lambda: self.problem() or self.unread(),
        )
        self._resources.push_async_callback(probes.stop)
        try:
            await probes.start()
        except OSError as error:
            where = f"PROBE_HOST {self._settings.probe_host!r}"
            raise SettingInvalid({"PROBE_PORT": f"must be free for us on {where}; {error.strerror}"}) from error

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sweep(self, client: KubeClient) -> None:
        """Compare the known instances with a list of all, now and then: kopf does not tell what it missed."""
        while True:
            try:
                await relist(client, naming.KIND, selector="", mirror=self._intake)
                self._swept.set()
            except ClusterError as error:
                log.warning("the instances cannot be listed: %s", error)
                await asyncio.sleep(_SWEEP_RETRY)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._listed.wait(), self._settings.resync_interval)
                await asyncio.sleep(_SWEEP_DELAY)
            self._listed.clear()

    async def _follow_keys(self) -> None:
        """Look whether the license keys have changed; whoever waits for one is told by the key set."""
        while True:
            await asyncio.sleep(_KEYS_LOOK)
            self._keys.refresh()

    async def _work(self, client: KubeClient) -> None:
        """Work as the leader, once everything that exists has been seen."""
        try:
            await self._seen()
            # Another replica may have led meanwhile: nothing that was compared before counts any more.
            self._cache.invalidate_all()
            self._workers.start_over()
            leader = self._leader(client)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._workers.run(leader.reconciler()))
                if self._publisher is not None:
                    group.create_task(self._publish(self._publisher))
                if (prober := leader.prober()) is not None:
                    group.create_task(prober.run())
        finally:
            # What waits is the next leader's: in the queue of one that stands by it would count as late.
            self._queue.clear()

    async def _seen(self) -> None:
        """Wait until everything that exists has been seen; for the routes not for ever, as all else works without."""
        objects = [item.synced.wait() for item in self._reflectors if item.synced is not self._routes_listed]
        await asyncio.gather(*objects, self._swept.wait())
        if self._publisher is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._routes_listed.wait(), _ROUTES_PATIENCE)

    async def _publish(self, publisher: Publisher) -> None:
        await self._routes_listed.wait()
        await publisher.run()

    def _knows_certificates(self) -> bool:
        return any(isinstance(item, OptionalReflector) and item.available for item in self._reflectors)

    def _publisher_of(self, client: KubeClient) -> Publisher:
        return Publisher(
            client=client,
            book=self._routes,
            metrics=self._metrics,
            namespace=self._settings.router_namespace,
            interval=self._settings.route_publish_interval,
            now=leading.now,
        )

    def _leader(self, client: KubeClient) -> Leader:
        return Leader(
            client,
            settings=self._settings,
            metrics=self._metrics,
            cache=self._cache,
            keys=self._keys,
            routes=self._routes,
            reachability=self._reachability,
            knows_certificates=self._knows_certificates,
        )
