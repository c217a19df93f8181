"""From topic and payload to a reading, with what Mosquitto really publishes and with what it never should."""

from itertools import product

import pytest

from exporters.mqtt import topics
from exporters.mqtt.parser import LONGEST_PAYLOAD, LONGEST_TOPIC, Ignored, Reading, parse
from tests.support.sys_topics import LATER, RECORDED

COUNTER = "$SYS/broker/messages/received"
GAUGE = "$SYS/broker/clients/connected"
OTHER = "$SYS/broker/something/new"


@pytest.mark.parametrize(
    ("topic", "payload", "name", "value"),
    [
        (COUNTER, b"12", "mosquitto_broker_messages_received_total", 12.0),
        (GAUGE, b"3", "mosquitto_broker_clients_connected", 3.0),
        (GAUGE, b"-1", "mosquitto_broker_clients_connected", -1.0),
        ("$SYS/broker/clients/total", b"3", "mosquitto_broker_clients", 3.0),
        ("$SYS/broker/clients/expired", b"0", "mosquitto_broker_clients_expired_total", 0.0),
        ("$SYS/broker/uptime", b"61 seconds", "mosquitto_broker_uptime_seconds", 61.0),
        ("$SYS/broker/uptime", b"61", "mosquitto_broker_uptime_seconds", 61.0),
        ("$SYS/broker/heap/current", b"48088", "mosquitto_broker_heap_current_bytes", 48088.0),
        ("$SYS/broker/retained messages/count", b"54", "mosquitto_broker_retained_messages", 54.0),
        ("$SYS/broker/load/publish/sent/15min", b"0.53", "mosquitto_broker_load_publish_sent_15min", 0.53),
        ("$SYS/broker/connections/socket/count", b"9", "mosquitto_broker_connections_socket_total", 9.0),
        ("$SYS/broker/packet/out/bytes", b"0", "mosquitto_broker_packet_out_bytes", 0.0),
        ("$SYS/broker/version", b"mosquitto version 2.0.11", "mosquitto_broker_info", "2.0.11"),
        ("$SYS/broker/version", b"another broker", "mosquitto_broker_info", "another broker"),
    ],
)
def test_a_known_topic_has_a_metric_of_its_own(topic: str, payload: bytes, name: str, value: float | str) -> None:
    reading = parse(topic, payload)

    assert isinstance(reading, Reading)
    assert reading.statistic is not None
    assert (reading.topic, reading.statistic.name, reading.value) == (topic, name, value)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"7", 7.0),
        (b"-7.5", -7.5),
        (b"+1e3", 1000.0),
        (b"1", 1.0),
        (b"running", "running"),
        (b"2026-11-21 12:00:00", "2026-11-21 12:00:00"),
        ("Grüße".encode(), "Grüße"),
        (b"7 seconds", "7 seconds"),
    ],
)
def test_an_unknown_topic_is_a_number_or_a_text(payload: bytes, value: float | str) -> None:
    assert parse(OTHER, payload) == Reading(topic=OTHER, value=value)


GARBAGE = [
    b"",
    b" ",
    b"\n",
    b"1\n",
    b"\x00",
    b"\xff\xfe",
    b"a\x1b[31m",
    b"NaN",
    b"nan",
    b"Inf",
    b"-inf",
    b"infinity",
    b"1e999",
    b"-1e999",
    b"1_000",
    b" 1",
    "٣".encode(),
]


@pytest.mark.parametrize("payload", [*GARBAGE, b"text", b"0x10", b"1,5", b"12 seconds", b"1;DROP TABLE"])
@pytest.mark.parametrize("topic", [COUNTER, GAUGE])
def test_no_number_is_no_value_of_a_known_topic(topic: str, payload: bytes) -> None:
    assert parse(topic, payload) is Ignored.MALFORMED


def test_a_counter_is_never_negative() -> None:
    assert parse(COUNTER, b"-1") is Ignored.MALFORMED


@pytest.mark.parametrize("payload", [item for item in GARBAGE if item != b" "])
def test_what_is_neither_number_nor_text_is_no_value_of_an_unknown_topic(payload: bytes) -> None:
    assert parse(OTHER, payload) is Ignored.MALFORMED


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (COUNTER, b"1" * (LONGEST_PAYLOAD + 1), Ignored.TOO_LARGE),
        (OTHER, b"x" * 10_000_000, Ignored.TOO_LARGE),
        (OTHER.ljust(LONGEST_TOPIC + 1, "x"), b"1", Ignored.TOO_LARGE),
        ("$SYS/broker/log/N", b"New client connected from 10.0.0.7 as ada", Ignored.LOG),
        ("$SYS/broker/log/M/subscribe", b"1795770316: ada 0 t/ada/#", Ignored.LOG),
        ("$SYS/broker/clients/active", b"3", Ignored.ALIAS),
        ("$SYS/broker/clients/inactive", b"3", Ignored.ALIAS),
        ("t/device/x", b"1", Ignored.FOREIGN_TOPIC),
        ("", b"1", Ignored.FOREIGN_TOPIC),
        ("$SYS/broker/\x1b[31m", b"1", Ignored.MALFORMED),
        ("$SYS/broker/a\nb 1", b"1", Ignored.MALFORMED),
    ],
)
def test_some_messages_say_nothing(topic: str, payload: bytes, reason: Ignored) -> None:
    assert parse(topic, payload) is reason


def test_whatever_comes_is_a_reading_or_a_reason() -> None:
    pieces = ["", "$SYS/", "broker", "/", "messages/received", "version", "uptime", "é", "\x00", "#"]
    payloads = [bytes([first, second]) for first, second in product(range(0, 256, 5), range(0, 256, 3))]

    parsed = {type(parse("".join(topic), payload)) for topic in product(pieces, repeat=3) for payload in payloads[:40]}
    parsed |= {type(parse(topic, payload)) for topic in (COUNTER, OTHER, "$SYS/broker/version") for payload in payloads}

    assert parsed == {Reading, Ignored}


@pytest.mark.parametrize(("topic", "payload"), RECORDED, ids=[topic for topic, _ in RECORDED])
def test_the_table_has_what_a_broker_publishes(topic: str, payload: str) -> None:
    parsed = parse(topic, payload.encode())

    assert parsed is Ignored.ALIAS or (isinstance(parsed, Reading) and parsed.statistic is not None)


@pytest.mark.parametrize("topic", LATER)
def test_the_table_has_the_topics_of_later_versions(topic: str) -> None:
    assert topic in topics.BY_TOPIC or topic in topics.ALIASES


def test_the_table_has_nothing_that_no_broker_publishes() -> None:
    assert set(topics.BY_TOPIC) - {topic for topic, _ in RECORDED} - set(LATER) == set()


def test_no_two_topics_have_the_same_metric() -> None:
    names = [item.name for item in topics.TABLE]

    assert len(set(names)) == len(names) == len(topics.BY_TOPIC)
