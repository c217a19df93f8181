"""The router's parts, put together: whoever follows the API server fills a table, whoever feeds HAProxy empties it."""

import asyncio
import logging
import signal

from prometheus_client import CollectorRegistry
from prometheus_client.process_collector import ProcessCollector

from mqtt_router import cluster, probes
from mqtt_router.feeder import Feeder
from mqtt_router.follower import Follower
from mqtt_router.mapfile import MapFile
from mqtt_router.metrics import Metrics
from mqtt_router.runtime import Runtime
from mqtt_router.settings import Settings
from mqtt_router.table import RouteTable

log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Route until SIGTERM or SIGINT; raises SettingInvalid, ListenFailed."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    metrics, table = Metrics(registry), RouteTable(ranges=settings.address_ranges)
    feeder = Feeder(
        table,
        runtime=Runtime(settings.haproxy_socket, map_file=settings.map_file),
        map_file=MapFile(settings.map_file),
        metrics=metrics,
        check_interval=settings.check_interval,
        compare_interval=settings.compare_interval,
    )
    feeder.restore()
    async with cluster.connect(kubeconfig=settings.kubeconfig, namespace=settings.router_namespace) as access:
        follower = Follower(access, table=table, metrics=metrics, on_change=feeder.known)
        metrics.follow(in_sync=lambda: feeder.unready() is None, connected=lambda: follower.connected)
        address = (settings.probe_host, settings.probe_port)
        async with probes.serving(*address, registry=registry, live=feeder.stuck, ready=feeder.unready) as port:
            log.info("serving probes on port %d", port)
            await _until_told_to_stop(follower, feeder)


async def _until_told_to_stop(follower: Follower, feeder: Feeder) -> None:
    """Run both until a signal comes; what one of them raises is a defect, and ends the process."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(part.run()) for part in (follower, feeder)]
        await stopped.wait()
        log.info("stopping; HAProxy goes on with the routes it has")
        for task in running:
            task.cancel()
