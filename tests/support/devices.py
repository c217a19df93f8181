"""A customer's devices: registered by the API, publishing to the broker, and what the API has stored of them."""

import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

import httpx
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from hack.platform import customer as stacks
from tests.support.mqtt import Login
from tests.support.platform import Customer
from tests.support.waiting import wait_until

# Seconds; for whoever is away to come back on a machine that has other things to do.
PATIENCE = 120.0
_INTERVAL = 0.2  # seconds from one look at what is stored to the next
_MOST_READINGS = "1000"  # that the API returns at once
D = TypeVar("D", bound="Device")


def register(customer: Customer, name: str) -> Login:
    """Register a device by the API; return what it logs in with."""
    with customer.devices() as client:
        return stacks.register(client, name)


def readings(customer: Customer, device: str) -> list[float]:
    """Return what the API has stored of a device, the latest first."""
    with customer.devices() as client:
        return stacks.readings(client, device)


class Device:
    """Publishes 1, 2, 3 and so on with QoS 1, by one client that connects again by itself, from `with` to its end.

    A number is sent once the one before it is answered. Each has its time, so the API stores it once.
    """

    def __init__(self, name: str, *, port: int, login: Login, tls: ssl.SSLContext, api: httpx.Client) -> None:
        """Take the front door's port on 127.0.0.1 and a client of the API."""
        self.connections = 0
        self.acknowledged: set[int] = set()
        self._name, self._port, self._api = name, port, api
        self._sent, self._answered = 0, 0
        self._paho = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._paho.reconnect_delay_set(min_delay=1, max_delay=2)
        self._paho.username_pw_set(login.username, login.password)
        self._paho.tls_set_context(tls)
        self._paho.on_connect = self._on_connect
        self._paho.on_publish = self._on_publish

    def __enter__(self) -> Self:
        self._paho.connect("127.0.0.1", self._port)
        self._paho.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._paho.disconnect()
        self._paho.loop_stop()

    def stored(self) -> set[int]:
        """Return the numbers that the API has; none while it does not answer."""
        try:
            answer = self._api.get(f"/api/devices/{self._name}/readings", params={"limit": _MOST_READINGS}, timeout=5)
        except httpx.TransportError:
            return set()
        return {int(value) for value in _values(answer)} if answer.is_success else set()

    def deliver(self) -> float:
        """Publish until a number is stored that was not sent before; return the seconds that it took."""
        started, last = time.monotonic(), self._sent

        def has_arrived() -> bool:
            self._publish()
            return max(self.stored(), default=0) > last

        wait_until(has_arrived, timeout=PATIENCE, interval=_INTERVAL)
        return time.monotonic() - started

    def _publish(self) -> None:
        if self._answered == self._sent:
            self._sent += 1
            payload = {"value": self._sent, "time": datetime.now(UTC).isoformat()}
            self._paho.publish(f"t/{self._name}/number", json.dumps(payload), qos=1)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        self.connections += not code.is_failure

    def _on_publish(self, _client: Any, _data: Any, _id: int, code: ReasonCode, _properties: Any) -> None:
        if not code.is_failure:
            self.acknowledged.add(self._sent)
        self._answered = self._sent


def connect(customer: Customer, name: str) -> AbstractContextManager[Device]:
    """Register a device, and have it connected, now and again, for as long as the block lasts."""
    return connected(customer, name, make=Device)


@contextmanager
def connected(customer: Customer, name: str, *, make: Callable[..., D]) -> Iterator[D]:
    """Register a device, which is made of what Device takes, and have it for as long as the block lasts."""
    login = register(customer, name)
    _, port = customer.cluster.front_door
    with customer.devices() as api, make(name, port=port, login=login, tls=customer.trust(), api=api) as device:
        yield device


def _values(answer: httpx.Response) -> list[float]:
    return [reading["value"] for reading in answer.json()["readings"]]
