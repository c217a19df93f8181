"""Where routes are followed: API server, HAProxy, mqtt-router, and a real broker behind every ClusterIP there may be.

Services get their addresses of a range of loopback, on all of which one broker listens: whoever comes by a route that
is live is let in, with a certificate that is valid for the very host.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from customer_operator import naming
from customer_operator.components.mosquitto import TLS_PORT
from hack.bench.__main__ import OVERLAY, say
from hack.cluster import LocalCluster, Settings
from hack.front_door import Authority, Broker, Entrance, FrontDoor, RouterProcess

DOMAIN: Final = "iot.example.com"
NAMESPACE: Final = "mqtt-router"
#: Of the operator. No probe: whether a route is live is what is measured, from outside.
SETTINGS: Final = {"BASE_DOMAIN": DOMAIN, "FRONT_DOOR": "true", "ROUTE_PROBE": "false"}


@dataclass
class Stage:
    """What runs; the operator comes and goes."""

    cluster: LocalCluster
    folder: Path
    authority: Authority
    door: FrontDoor
    router: RouterProcess

    def entrance(self, name: str) -> Entrance:
        """Return where the devices of an instance come in."""
        return Entrance("127.0.0.1", self.door.port, host_of(name))

    def restart_empty(self) -> float:
        """Start HAProxy anew without a route, and without mqtt-router; return its memory in MiB."""
        self.router.server.stop()
        self.door.kill()
        self.door.write()
        self.door.start()
        return self.door.resident_mib()

    def start_router(self) -> None:
        """Start mqtt-router, and wait until all that is published is live."""
        self.router = _start_router(self.cluster, self.door, self.folder)


def host_of(name: str) -> str:
    """Return the host of an instance's devices."""
    return naming.mqtt_host(name, DOMAIN, "mqtt.{name}.{base_domain}")


@contextmanager
def running(folder: Path, *, name: str, instances: Sequence[str], **settings: str) -> Iterator[Stage]:
    """Give the stage for these instances, none of which is there yet; settings are variables of haproxy.cfg."""
    # Below 127.100, where devices come from; each process has a range of its own.
    network = f"127.{64 + os.getpid() % 32}.{os.getpid() // 32 % 256}"
    of_cluster = Settings(nodes=4, start_delay=0.2, service_range=f"{network}.0/24")
    with ExitStack() as cleanup:
        cluster = cleanup.enter_context(LocalCluster(name, settings=of_cluster, report=say))
        cluster.kubectl("apply", "--server-side", "-k", str(OVERLAY))
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{naming.PLURAL}.{naming.GROUP}")
        authority, hosts = Authority.create(), [host_of(instance) for instance in instances]
        tls = authority.files(folder, host=hosts[0], others=hosts[1:])
        addresses = [f"{network}.{number}" for number in range(1, 255)]
        cleanup.callback(Broker(folder, tls=tls, addresses=addresses, port=TLS_PORT).close)
        door = FrontDoor(folder, **settings)
        cleanup.callback(door.close)
        door.write()
        door.start()
        stage = Stage(cluster, folder, authority, door, RouterProcess(door, **_access(cluster, folder)))
        cleanup.callback(lambda: stage.router.server.stop())
        yield stage


def _access(cluster: LocalCluster, folder: Path) -> dict[str, str]:
    path = cluster.service_account_kubeconfig(NAMESPACE, "mqtt-router", folder / "router.kubeconfig")
    return {"KUBECONFIG": str(path)}


def _start_router(cluster: LocalCluster, door: FrontDoor, folder: Path) -> RouterProcess:
    router = RouterProcess(door, **_access(cluster, folder))
    router.wait_until_ready()
    return router
