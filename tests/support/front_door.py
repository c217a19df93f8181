"""The front door for devices, and brokers behind it that tests can look into.

Brokers are PlainBroker with certificates of their own, on addresses 127.0.0.x that stand for those of Services.
"""

from dataclasses import dataclass
from pathlib import Path

from hack.front_door import CONFIGURATION as CONFIGURATION
from hack.front_door import Authority as Authority
from hack.front_door import Device as Device
from hack.front_door import FrontDoor as FrontDoor
from hack.front_door import RouterProcess as RouterProcess
from mqtt_router.routes import Route
from tests.support.plain_broker import PlainBroker
from tests.support.servers import need_program


def find_haproxy() -> Path:
    """Return HAProxy's program; skips the test when there is none."""
    return need_program("haproxy", of="HAProxy")


@dataclass(frozen=True)
class Tenant:
    """A broker of a host."""

    host: str
    broker: PlainBroker

    @property
    def route(self) -> Route:
        """The way to it."""
        return Route(self.host, self.broker.address, self.broker.port)

    def visits(self) -> int:
        """Return how many MQTT clients have been let in."""
        return self.broker.visits()
