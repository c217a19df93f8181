"""The front door for devices, and brokers behind it that tests can look into.

Brokers are PlainBroker with certificates of their own, on addresses 127.0.0.x that stand for those of Services.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from hack.front_door import CONFIGURATION as CONFIGURATION
from hack.front_door import Authority as Authority
from hack.front_door import Device as Device
from hack.front_door import FrontDoor as FrontDoor
from hack.front_door import RouterProcess as RouterProcess
from mqtt_router.routes import Route
from tests.support.plain_broker import PlainBroker

_FOLDERS: Final = "/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"


def find_haproxy() -> Path:
    """Return HAProxy's program; skips the test when there is none."""
    found = shutil.which("haproxy", path=_FOLDERS)
    if found is None:
        pytest.skip("HAProxy is missing: apt-get install haproxy (its service need not run)")
    return Path(found)


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
        return self.broker.server.log.count("New client connected")
