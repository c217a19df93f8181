"""The MQTT exporter beside a broker that sends what Mosquitto never would: nothing changes, and nothing grows."""

import socket
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle, islice

import pytest

from exporters.mqtt import settings
from exporters.mqtt.connection import Connection
from exporters.mqtt.errors import BrokerUnavailable
from exporters.mqtt.statistics import Statistics
from tests.services.exporters.conftest import StartExporter, scraped
from tests.support.fake_broker import FakeBroker
from tests.support.mqtt_exporter import MEMORY, MOST_SAMPLES
from tests.support.mqtt_packets import packet, publish, remaining_length

CONNECTED, NAME = b"$SYS/broker/clients/connected", "mosquitto_broker_clients_connected"
# Counts what came before it, for messages come in the order in which they were sent.
LAST = publish(b"$SYS/broker/uptime", b"61 seconds")

GARBAGE = [
    publish(CONNECTED, b"NaN"),
    publish(CONNECTED, b"-inf"),
    publish(CONNECTED, b"1e999"),
    publish(CONNECTED, b""),
    publish(CONNECTED, b"\xff\xfe\x00"),
    publish(CONNECTED, b"7" * 10_000),
    publish(CONNECTED, b"text"),
    publish(b"$SYS/broker/\xff\xfe", b"1"),
    publish(b"$SYS/broker/\x1b[31m", b"1"),
    publish(b"$SYS/" + b"x" * 10_000, b"1"),
    publish(b"t/device/x", b"1"),
]


def nothing(_connection: socket.socket) -> None:
    """Say nothing, and stay."""


def reason(broker: FakeBroker) -> str:
    """Why a connection to it, within this process, ends."""
    given = settings.from_environment(
        {"MQTT_BROKER": f"mqtt://127.0.0.1:{broker.port}", "MQTT_CLIENT_ID": "mqtt-exporter"}
    )
    connection = Connection(given, statistics=Statistics(), on_ready=lambda: None)
    # Not pytest.raises, which keeps the frames, and with them the sockets, until a collection.
    try:
        connection.run(stopping=lambda: False, on_round=lambda: None)
    except BrokerUnavailable as error:
        return str(error)
    raise AssertionError("the connection has ended without a reason")


def sending(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


async def test_a_value_outlives_garbage(start_exporter: StartExporter) -> None:
    with FakeBroker(sending(publish(CONNECTED, b"7") + b"".join(GARBAGE) + LAST)) as broker:
        exporter = start_exporter(broker.port)

        found = await scraped(exporter, lambda found: found.value("mosquitto_broker_uptime_seconds") == 61.0)

    assert found.value(NAME) == 7.0
    assert found.names("mosquitto_broker_") == ["mosquitto_broker_uptime_seconds", NAME]
    ignored = {
        reason: found.value("mosquitto_exporter_ignored_messages_total", reason=reason)
        for reason in ("malformed", "too_large", "foreign_topic")
    }
    assert ignored == {"malformed": 8.0, "too_large": 2.0, "foreign_topic": 1.0}
    assert found.value("mosquitto_exporter_reconnects_total") == 0.0


async def test_ten_thousand_topics_leave_no_trace_but_a_count(start_exporter: StartExporter) -> None:
    count = 10_000
    payloads = islice(cycle([b"1", b"text", b"NaN", b"\xff", b"x" * 500]), count)
    flood = b"".join(publish(b"$SYS/broker/new/%d" % number, payload) for number, payload in enumerate(payloads))
    with FakeBroker(sending(publish(CONNECTED, b"7") + flood + LAST)) as broker:
        exporter = start_exporter(broker.port)

        found = await scraped(exporter, lambda found: found.value("mosquitto_broker_uptime_seconds") == 61.0)

    assert found.value("mosquitto_exporter_messages_total") == count + 2
    assert found.value(NAME) == 7.0
    assert len(found.names("mosquitto_")) < MOST_SAMPLES
    assert exporter.memory() < MEMORY


@pytest.mark.parametrize("size", [16_385, 200_000_000])
async def test_a_packet_that_is_too_large_ends_the_connection_before_it_is_read(
    start_exporter: StartExporter, size: int
) -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(b"\x30" + remaining_length(size))
        for _ in range(0, size, 1_000_000):
            connection.sendall(bytes(min(size, 1_000_000)))

    with FakeBroker(behave) as broker:
        exporter = start_exporter(broker.port)

        exporter.server.wait_for(f"WARNING no connection to .*: it sent a packet of {size} bytes")

        assert exporter.memory() < MEMORY
        assert exporter.get("/healthz") == (200, "ok\n")


NONSENSE = [
    pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="HTTP"),
    pytest.param(bytes(200), id="zeros"),
    pytest.param(b"\xff" * 200, id="ones"),
    pytest.param(packet(0x30, b"\x00"), id="a message without a topic"),
    pytest.param(packet(0x30, b"\xff\xff$SYS"), id="a topic longer than its message"),
    pytest.param(packet(0x30, b"\x00\x01a\xff\xff\xff\xff\xff"), id="properties without an end"),
    pytest.param(packet(0x20, b""), id="an empty answer"),
    pytest.param(b"", id="nothing, and the end"),
]


def saying(data: bytes) -> Callable[[socket.socket], None]:
    """Send something, and say that this was all."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(data)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)

    return behave


@pytest.mark.parametrize("data", NONSENSE)
@pytest.mark.parametrize("handshake", [False, True])
def test_nonsense_ends_a_connection(data: bytes, *, handshake: bool) -> None:
    with FakeBroker(saying(data), handshake=handshake) as broker:
        assert reason(broker)


async def test_nonsense_never_ends_the_exporter(start_exporter: StartExporter) -> None:
    with FakeBroker(saying(bytes(200))) as broker:
        exporter = start_exporter(broker.port)

        exporter.server.wait_for("WARNING no connection to")

        assert not exporter.scrape().up
        assert exporter.get("/healthz") == (200, "ok\n")
        assert exporter.server.stop() == 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"\x8b", "it ended the connection: Server shutting down"),
        (b"\x8e", "another client calls itself mqtt-exporter: set MQTT_CLIENT_ID"),
        (b"\x8d", "it ended the connection: Keep alive timeout"),
    ],
)
def test_a_broker_that_says_why_it_goes_is_quoted(code: bytes, said: str) -> None:
    with FakeBroker(sending(packet(0xE0, code + b"\x00"))) as broker:
        assert reason(broker) == said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"\x01", "it refuses the connection: Unsupported protocol version"),
        (b"\x85", "it refuses the connection: Client identifier not valid"),
        (b"\x86", "it refuses the login: Bad user name or password; check MQTT_USERNAME and MQTT_PASSWORD"),
        (b"\x88", "it refuses the connection: Server unavailable"),
    ],
)
def test_a_broker_that_says_why_it_refuses_is_quoted(code: bytes, said: str) -> None:
    with FakeBroker(nothing, connack=code) as broker:
        assert reason(broker).startswith(said)


async def test_a_broker_that_never_answers_is_given_up(start_exporter: StartExporter) -> None:
    with FakeBroker(nothing, handshake=False) as broker:
        exporter = start_exporter(broker.port, MQTT_KEEPALIVE="1")

        exporter.server.wait_for("WARNING no connection to .*: it does not answer; trying again")
