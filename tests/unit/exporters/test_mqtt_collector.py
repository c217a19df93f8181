"""What Prometheus reads, from messages that a broker has sent."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from exporters.mqtt.collector import StatisticsCollector
from exporters.mqtt.statistics import Snapshot, Statistics
from tests.support.golden import text_difference
from tests.support.sys_topics import RECORDED


def scraped(snapshot: Snapshot) -> str:
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(lambda: snapshot))
    return generate_latest(registry).decode()


def recorded() -> Statistics:
    statistics = Statistics(clock=lambda: 0.0)
    statistics.connected()
    for topic, payload in RECORDED:
        statistics.take(topic, payload.encode())
    return statistics


def test_the_whole_answer_to_a_scrape_is_as_recorded() -> None:
    statistics = recorded()
    statistics.take("$SYS/broker/connection/edge/state", b"1")
    statistics.take("$SYS/broker/build", b'a "quoted" \\ text')

    assert text_difference("mqtt-exporter-metrics.txt", scraped(statistics.snapshot())) == ""


def test_without_a_broker_there_is_none_of_its_metrics() -> None:
    statistics = recorded()
    statistics.disconnected()

    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(scraped(statistics.snapshot()))
        for sample in family.samples
    }

    assert [name for name in samples if name.startswith("mosquitto_broker_")] == []
    assert samples["mosquitto_up"] == 0.0
    assert samples["mosquitto_exporter_messages_total"] == len(RECORDED)


def test_a_name_of_ours_is_offered_under_one_type_in_both_formats() -> None:
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(recorded().snapshot))

    plain = {family.name: family.type for family in text_string_to_metric_families(generate_latest(registry).decode())}
    open_ = {
        family.name: family.type
        for family in openmetrics_families(openmetrics.generate_latest(registry).decode())  # type: ignore[no-untyped-call]
    }

    assert plain["mosquitto_broker_messages_received"] == open_["mosquitto_broker_messages_received"] == "counter"
    assert plain["mosquitto_broker_clients"] == open_["mosquitto_broker_clients"] == "gauge"
    assert len(plain) == len(open_)


def test_what_is_registered_is_all_that_can_come() -> None:
    collector = StatisticsCollector(recorded().snapshot)

    declared = {(family.name, family.type) for family in collector.describe()}

    assert {(family.name, family.type) for family in collector.collect()} <= declared


def test_registering_does_not_ask_for_a_snapshot() -> None:
    asked: list[str] = []

    def source() -> Snapshot:
        asked.append("asked")
        return recorded().snapshot()

    CollectorRegistry().register(StatisticsCollector(source))

    assert asked == []


def test_a_scrape_may_ask_for_one_metric_by_its_name() -> None:
    registry = CollectorRegistry()
    registry.register(StatisticsCollector(recorded().snapshot))

    text = generate_latest(registry.restricted_registry(["mosquitto_broker_clients_connected"])).decode()

    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "mosquitto_broker_clients_connected 1.0"
    ]
