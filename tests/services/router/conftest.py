"""Three brokers, their authority, and front doors that end with the test that has opened them."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from hack.ports import PortReservation
from tests.support.front_door import Authority, FrontDoor, Tenant
from tests.support.plain_broker import PlainBroker

HOSTS = ("mqtt.acme.iot.example.com", "mqtt.globex.iot.example.com", "devices.initech.example.net")
# The broker says who has come, and how TLS was refused.
_LOGGED = {"log_type": "all"}


class OpenDoor(Protocol):
    """Gives a front door that has a folder of its own and is not started; settings are variables of haproxy.cfg."""

    def __call__(self, **settings: str) -> FrontDoor: ...


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="session")
def brokers(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tenant]]:
    """One broker for each host, all on one port: the address alone tells them apart, as with Services."""
    ports = PortReservation(1)
    with ExitStack() as cleanup:
        cleanup.callback(ports.release)
        found = {}
        for number, host in enumerate(HOSTS, start=2):
            folder = tmp_path_factory.mktemp("broker")
            listener = {**authority.files(folder, host=host), **_LOGGED}
            broker = PlainBroker(folder, listener=listener, address=f"127.0.0.{number}", port=ports.ports[0])
            cleanup.callback(broker.close)
            broker.start()
            found[host] = Tenant(host, broker)
        yield found


@contextmanager
def front_doors() -> Iterator[OpenDoor]:
    """Give what makes front doors, which end with the block."""
    numbers = itertools.count(1)
    # A socket's path has 107 characters at most, and pytest's own folders are deep.
    with tempfile.TemporaryDirectory(prefix="door-") as name, ExitStack() as cleanup:

        def make(**settings: str) -> FrontDoor:
            folder = Path(name) / str(next(numbers))
            folder.mkdir()
            door = FrontDoor(folder, **settings)
            cleanup.callback(door.close)
            return door

        yield make


@pytest.fixture
def open_door() -> Iterator[OpenDoor]:
    with front_doors() as make:
        yield make
