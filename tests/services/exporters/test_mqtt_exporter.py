"""The MQTT exporter beside a real Mosquitto under real traffic."""

import signal
from collections.abc import Callable

import pytest

from tests.services.exporters.conftest import StartBroker, StartExporter, scraped
from tests.support.mqtt import MqttClient
from tests.support.mqtt_exporter import MEMORY, MOST_SAMPLES, Scrape
from tests.support.mqtt_packets import connect, publish
from tests.support.plain_broker import PlainBroker

RECEIVED = "mosquitto_broker_publish_messages_received_total"
RECEIVED_BYTES = "mosquitto_broker_publish_bytes_received_total"
CONNECTED = "mosquitto_broker_clients_connected"


def send(broker: PlainBroker, payloads: list[str]) -> None:
    with MqttClient(broker.port, None) as client:
        for payload in payloads:
            client.publish("t/device/temperature", payload)


async def test_as_many_messages_as_were_published_are_counted(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port)
    assert (await scraped(exporter, lambda found: found.up)).value(RECEIVED) == 0.0

    payloads = ["x" * (number % 50) for number in range(237)]
    send(broker, payloads)
    found = await scraped(exporter, lambda found: found.value(RECEIVED) == len(payloads))

    assert found.types[RECEIVED] == "counter"
    assert found.value(RECEIVED_BYTES) == sum(map(len, payloads))


async def test_the_clients_that_are_connected_are_counted(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port)

    with MqttClient(broker.port, None), MqttClient(broker.port, None):
        found = await scraped(exporter, lambda found: found.value(CONNECTED) == 3.0)
        assert found.types[CONNECTED] == "gauge"

    await scraped(exporter, lambda found: found.value(CONNECTED) == 1.0)


async def test_every_statistic_of_the_broker_has_a_metric_of_its_own(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    exporter = start_exporter(start_broker().port)

    found = await scraped(exporter, lambda found: "mosquitto_broker_load_connections_15min" in found.names())

    assert found.labels("mosquitto_broker_topic_value") == []
    assert found.labels("mosquitto_broker_topic_info") == []
    assert found.labels("mosquitto_broker_info")[0]["version"][0].isdigit()
    assert found.value("mosquitto_broker_uptime_seconds") is not None


async def test_a_bridge_is_shown_by_its_topic(start_broker: StartBroker, start_exporter: StartExporter) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port)
    await scraped(exporter, lambda found: found.up)

    with MqttClient(broker.port, None) as client:
        client.publish("$SYS/broker/connection/edge/state", "1", retain=True)

    topic = "$SYS/broker/connection/edge/state"
    await scraped(exporter, lambda found: found.value("mosquitto_broker_topic_value", topic=topic) == 1.0)


async def test_a_broker_that_was_killed_takes_its_numbers_along_and_comes_back_with_its_new_ones(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port)
    await scraped(exporter, lambda found: found.up)
    send(broker, ["on"] * 50)
    await scraped(exporter, lambda found: found.value(RECEIVED) == 50.0)

    broker.kill()
    away = await scraped(exporter, lambda found: not found.up)
    assert away.names("mosquitto_broker_") == []

    broker.start()
    seen: list[Scrape] = []
    first = await scraped(exporter, lambda found: found.up, each=seen.append)
    send(broker, ["on"] * 3)
    back = await scraped(exporter, lambda found: found.value(RECEIVED) == 3.0, each=seen.append)

    # Counted anew, which Prometheus takes for what it is, and at no time as before.
    counted = [value for value in (found.value(RECEIVED) for found in seen) if value is not None]
    assert counted == sorted(counted)
    assert max(counted) == 3.0
    assert back.value("mosquitto_exporter_reconnects_total") == 1.0
    assert first.value("mosquitto_exporter_last_message_age_seconds") is not None


async def test_values_that_nobody_repeats_are_there_after_a_new_connection(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    """They are retained, for a minute at least."""
    broker = start_broker()
    exporter = start_exporter(broker.port)
    before = await scraped(exporter, lambda found: "mosquitto_broker_load_connections_15min" in found.names())
    assert exporter.server.stop() == 0

    names = set(before.names("mosquitto_broker_"))

    await scraped(start_exporter(broker.port), lambda found: names <= set(found.names("mosquitto_broker_")))


async def test_a_broker_that_hangs_is_noticed(start_broker: StartBroker, start_exporter: StartExporter) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port, MQTT_KEEPALIVE="1")
    await scraped(exporter, lambda found: found.up)

    broker.freeze()
    away = await scraped(exporter, lambda found: not found.up)
    assert away.names("mosquitto_broker_") == []
    exporter.server.wait_for("WARNING no connection to .*: it does not answer; trying again")

    broker.thaw()
    await scraped(exporter, lambda found: found.up)


async def test_the_age_of_the_last_message_grows_when_the_broker_falls_silent(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port)
    await scraped(exporter, lambda found: found.up)

    broker.freeze()

    # Twice as long as the broker has ever been silent before.
    found = await scraped(exporter, lambda found: (found.value("mosquitto_exporter_last_message_age_seconds") or 0) > 2)
    assert found.up


async def test_sigterm_is_a_goodbye(start_broker: StartBroker, start_exporter: StartExporter) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port, MQTT_CLIENT_ID="mqtt-exporter")
    await scraped(exporter, lambda found: found.up)

    assert exporter.server.stop() == 0

    broker.server.wait_for("Client mqtt-exporter disconnected")
    assert exporter.server.log.splitlines()[-1].endswith("stopping: SIGTERM")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_can_be_stopped_while_there_is_no_broker(
    start_broker: StartBroker, start_exporter: StartExporter, number: signal.Signals
) -> None:
    broker = start_broker()
    broker.kill()
    exporter = start_exporter(broker.port)
    exporter.server.wait_for("cannot be reached: Connection refused")

    assert exporter.server.stop(number) == 0


async def test_two_of_one_name_are_told_what_to_do(start_broker: StartBroker, start_exporter: StartExporter) -> None:
    broker = start_broker()
    first = start_exporter(broker.port, MQTT_CLIENT_ID="mqtt-exporter")
    await scraped(first, lambda found: found.up)

    start_exporter(broker.port, MQTT_CLIENT_ID="mqtt-exporter")

    first.server.wait_for("another client calls itself mqtt-exporter: set MQTT_CLIENT_ID")


async def test_a_device_that_takes_its_name_does_not_throw_it_out(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker()
    exporter = start_exporter(broker.port)
    await scraped(exporter, lambda found: found.up)

    with MqttClient(broker.port, None, client_id="mqtt-exporter"):
        found = await scraped(exporter, lambda found: found.value(CONNECTED) == 2.0)

    assert found.value("mosquitto_exporter_reconnects_total") == 0.0


async def test_two_without_a_name_count_beside_each_other(
    start_broker: StartBroker, start_exporter: StartExporter
) -> None:
    broker = start_broker()
    exporters = [start_exporter(broker.port) for _ in range(2)]

    for exporter in exporters:
        found = await scraped(exporter, lambda found: found.value(CONNECTED) == 2.0)
        assert found.value("mosquitto_exporter_reconnects_total") == 0.0


GARBAGE = [b"1", b"NaN", b"Infinity", b"1e999", b"-5", b"\xff\xfe", b"text", b"", b"x" * 15000, b"y" * 100_000]
FLOOD = 10_000


async def test_a_flood_of_topics_changes_nothing(start_broker: StartBroker, start_exporter: StartExporter) -> None:
    """Clients may publish the states of bridges, may think of any number of them, and write what they like."""
    broker = start_broker()
    exporter = start_exporter(broker.port)
    before = await scraped(exporter, lambda found: found.up)
    states = (f"$SYS/broker/connection/{number}/state".encode() for number in range(FLOOD))
    packets = b"".join(
        publish(topic, GARBAGE[number % len(GARBAGE)] if number % 50 == 0 else b"1")
        for number, topic in enumerate(states)
    )

    with connect(broker.port) as client:
        client.sendall(packets)
        # The broker may drop what it has no room for, its statistics too, until they change again.
        more: Callable[[Scrape], None] = lambda _found: send(broker, ["on"])  # noqa: E731
        after = await scraped(exporter, lambda found: (found.value(RECEIVED) or 0) > FLOOD, each=more)

    assert len(after.names("mosquitto_")) < MOST_SAMPLES
    assert set(before.names("mosquitto_broker_")) <= set(after.names("mosquitto_broker_"))
    assert (after.value("mosquitto_exporter_ignored_messages_total", reason="too_many_topics") or 0) > 0
    assert after.value("mosquitto_exporter_reconnects_total") == 0.0
    assert exporter.memory() < MEMORY
