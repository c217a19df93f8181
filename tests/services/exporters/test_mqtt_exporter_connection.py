"""A connection within this process, whose times and sockets can be looked at."""

import gc
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from exporters.mqtt import settings
from exporters.mqtt.connection import Connection
from exporters.mqtt.errors import BrokerUnavailable
from exporters.mqtt.statistics import Statistics
from tests.services.exporters.conftest import StartBroker
from tests.support.fake_broker import FakeBroker
from tests.support.waiting import eventually

VERSION = "$SYS/broker/version"


def connection_to(port: int, statistics: Statistics, *, refresh: float = 1000.0) -> Connection:
    given = settings.from_environment({"MQTT_BROKER": f"mqtt://127.0.0.1:{port}"})
    return Connection(given, statistics=statistics, on_ready=statistics.connected, refresh=refresh)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Running:
    """Runs a connection in a thread until the end of the block."""

    def __init__(self, connection: Connection) -> None:
        self._stop = threading.Event()
        run: Callable[[], None] = lambda: connection.run(stopping=self._stop.is_set, on_round=lambda: None)  # noqa: E731
        self._thread = threading.Thread(target=run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


async def test_values_that_were_lost_come_again_with_the_next_subscription(start_broker: StartBroker) -> None:
    """The broker publishes its version once in its life."""
    statistics = Statistics()
    with Running(connection_to(start_broker().port, statistics, refresh=0.5)):
        await eventually(lambda: VERSION in statistics.snapshot().known)

        statistics.disconnected()

        await eventually(lambda: VERSION in statistics.snapshot().known)
    assert statistics.snapshot().reconnects == 0


async def test_a_connection_forgets_what_it_was_told_when_it_ends(start_broker: StartBroker) -> None:
    statistics = Statistics()
    with Running(connection_to(start_broker().port, statistics)):
        await eventually(lambda: statistics.snapshot().up)

    assert statistics.snapshot().known == {}


async def test_a_connection_that_ends_leaves_no_socket_open() -> None:
    """Without a collection, which comes late where little happens."""
    with FakeBroker(lambda connection: connection.shutdown(socket.SHUT_WR)) as broker:
        gc.collect()
        before = open_files()

        gc.disable()
        try:
            for _ in range(20):
                # Not pytest.raises, which keeps the frames, and with them the sockets.
                with suppress(BrokerUnavailable):
                    connection_to(broker.port, Statistics()).run(stopping=lambda: False, on_round=lambda: None)
            # The broker's side is closed in its own time.
            await eventually(lambda: open_files() == before)
        finally:
            gc.enable()


@pytest.mark.parametrize("host", ["host.invalid", "x" * 70 + ".example", "a..b"])
def test_a_name_without_an_address_is_named(host: str) -> None:
    given = settings.from_environment({"MQTT_BROKER": f"mqtt://{host}"})
    connection = Connection(given, statistics=Statistics(), on_ready=lambda: None)

    with pytest.raises(BrokerUnavailable, match=f"no address is known for {host}"):
        connection.run(stopping=lambda: False, on_round=lambda: None)
