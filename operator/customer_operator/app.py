"""Puts the operator together and keeps it running; the only place that knows all the parts."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from customer_operator import naming
from customer_operator.credentials.store import CredentialStore, open_authority
from customer_operator.kube.client import KubeClient, connect
from customer_operator.kube.leader import Leadership, Timing
from customer_operator.licensing.keys import read_jwks
from customer_operator.metrics import Metrics
from customer_operator.observed.cache import Inventory
from customer_operator.probes import Probes
from customer_operator.reconcile.applier import Synchroniser
from customer_operator.reconcile.reconciler import Reconciler
from customer_operator.scheduling.collector import QueueCollector
from customer_operator.scheduling.queue import WorkQueue
from customer_operator.scheduling.workers import Workers
from customer_operator.settings import Settings

# Work that is due while no pass has come to an end for so long (seconds) means that the workers hang.
_HANGING = 300.0


class Operator:
    """Takes in events, and works on the queue while it leads."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings; nothing is opened before `start`."""
        self._settings = settings
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry)
        self._inventory = Inventory()
        self._queue = WorkQueue(clock=time.monotonic, age_step=settings.queue_age_step)
        self._workers = Workers(
            queue=self._queue,
            inventory=self._inventory,
            metrics=self._metrics,
            concurrency=settings.queue_concurrency,
            resync=settings.resync_interval,
        )
        self._registry.register(QueueCollector(self._queue))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._resources = AsyncExitStack()
        self._leadership: Leadership | None = None
        self._election: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the connection and the probes, and stand for election."""
        settings = self._settings
        cluster = await self._resources.enter_async_context(
            connect(kubeconfig=settings.kubeconfig, metrics=self._metrics)
        )
        self._leadership = Leadership(
            client=cluster.client,
            namespace=settings.operator_namespace,
            identity=settings.identity,
            timing=Timing(
                duration=settings.lease_duration,
                renew_deadline=settings.lease_renew_deadline,
                retry_period=settings.lease_retry_period,
            ),
            work=lambda: self._work(cluster),
        )
        probes = Probes(
            host=settings.probe_host,
            port=settings.probe_port,
            registry=self._registry,
            live=self.problem,
            ready=self.problem,
        )
        await probes.start()
        self._resources.push_async_callback(probes.stop)
        self._election = asyncio.create_task(self._leadership.run(), name="leader election")

    async def stop(self) -> None:
        """End the work, give the lead back, close everything."""
        if self._election is not None:
            self._election.cancel()
            await asyncio.gather(self._election, return_exceptions=True)
        await self._resources.aclose()

    def problem(self) -> str | None:
        """Return why the operator does not do its work, or None when it does; a standby does its work by waiting."""
        if self._election is None or self._election.done():
            return "the leader election has ended"
        if self._leadership and self._leadership.leads and self._workers.stalled_for() > _HANGING:
            return f"work is due, and none has been done for {self._workers.stalled_for():.0f} s; the workers hang"
        return None

    def instance_event(self, event: Mapping[str, Any]) -> None:
        """Take in a watch event of a CustomerInstance."""
        body = event["object"]
        name = body["metadata"]["name"]
        if event["type"] == "DELETED":
            self._inventory.forget_instance(name)
            self._workers.instance_changed(name)
        elif self._inventory.store_instance(body):
            self._workers.instance_changed(name)

    def child_event(self, event: Mapping[str, Any]) -> None:
        """Take in a watch event of an object that carries our labels; that of an unknown instance is none of ours."""
        live = event["object"]
        name = live["metadata"]["labels"][naming.INSTANCE_LABEL]
        home = live["metadata"]["name"] if live["kind"] == "Namespace" else live["metadata"].get("namespace")
        if self._inventory.instance(name) is None or home != naming.namespace_of(name):
            return
        take_in = self._inventory.vanish if event["type"] == "DELETED" else self._inventory.observe
        if take_in(name, live):
            self._workers.child_changed(name)

    async def _work(self, cluster: KubeClient) -> None:
        settings = self._settings
        keys = settings.license_jwks_path
        platform = settings.platform(license_jwks=read_jwks(keys) if keys else None)
        authority = await open_authority(cluster, namespace=settings.operator_namespace)
        synchroniser = Synchroniser(
            cluster=cluster,
            inventory=self._inventory,
            platform=platform,
            credential_store=CredentialStore(cluster=cluster, platform=platform, authority=authority),
            concurrency=settings.apply_concurrency,
            quota_wait=settings.quota_wait,
        )
        reconciler = Reconciler(
            cluster=cluster,
            inventory=self._inventory,
            synchroniser=synchroniser,
            platform=platform,
            settings=settings,
            metrics=self._metrics,
            clock=lambda: datetime.now(UTC),
        )
        # Another replica may have led meanwhile: nothing that was verified before counts any more, and what has queued
        # up since nobody took it has not been waiting for us (the liveness probe would think that the workers hang).
        self._inventory.expire_all()
        self._queue.clear()
        for name in self._inventory.names():
            self._workers.instance_changed(name)
        await self._workers.run(reconciler)
