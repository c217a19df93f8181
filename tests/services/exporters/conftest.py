"""Brokers and exporters that end with the test that has started them."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.mqtt import Login
from tests.support.mqtt_exporter import Exporter, Scrape
from tests.support.plain_broker import PlainBroker


class StartBroker(Protocol):
    """Starts a Mosquitto of its own; the arguments are those of PlainBroker."""

    def __call__(
        self,
        *,
        logins: Sequence[Login] = (),
        listener: Mapping[str, str | Path] | None = None,
        topics: Sequence[str] = (),
    ) -> PlainBroker: ...


class StartExporter(Protocol):
    """Starts an exporter for the broker at a port of 127.0.0.1; further variables as they are spelled."""

    def __call__(self, port: int, **environment: str | Path) -> Exporter: ...


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[StartBroker]:
    numbers = itertools.count(1)
    with ExitStack() as cleanup:

        def start(
            *,
            logins: Sequence[Login] = (),
            listener: Mapping[str, str | Path] | None = None,
            topics: Sequence[str] = (),
        ) -> PlainBroker:
            folder = tmp_path / f"broker-{next(numbers)}"
            folder.mkdir()
            broker = PlainBroker(folder, logins=logins, listener=listener, topics=topics)
            cleanup.callback(broker.close)
            broker.start()
            return broker

        yield start


@pytest.fixture
def start_exporter() -> Iterator[StartExporter]:
    with ExitStack() as cleanup:

        def start(port: int, **environment: str | Path) -> Exporter:
            exporter = Exporter({"MQTT_BROKER": f"mqtt://127.0.0.1:{port}", **environment})
            cleanup.callback(exporter.server.stop)
            return exporter

        yield start


async def scraped(
    exporter: Exporter, condition: Callable[[Scrape], bool], *, each: Callable[[Scrape], None] | None = None
) -> Scrape:
    """Return the first scrape for which a condition holds; TimeoutError when there is none within a minute.

    `each` is called with all of them, in order.
    """
    async with asyncio.timeout(60):
        while True:
            found = exporter.scrape()
            if each is not None:
                each(found)
            if condition(found):
                return found
            # A scrape costs the exporter something, and the broker speaks once a second.
            await asyncio.sleep(0.1)
