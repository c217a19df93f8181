"""The metrics of one scrape, made of one snapshot.

A Counter of prometheus_client can only be incremented, and ours have the value that the broker says: hence families
made for each scrape.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from exporters.mqtt.parser import Ignored, Value
from exporters.mqtt.statistics import Snapshot
from exporters.mqtt.topics import TABLE, Kind, Statistic

_NOTHING: Final = Snapshot(up=False, known={}, others={}, age=None, reconnects=0, messages=0, ignored={})
_OTHERS: Final = "below $SYS/ that the exporter does not know, while connected."


class StatisticsCollector(Collector):
    """Asks its source for a snapshot at each scrape."""

    def __init__(self, source: Callable[[], Snapshot]) -> None:
        """Take what returns the present snapshot."""
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """Yield the exporter's own metrics, then those of the broker; of the latter only what it has told."""
        snapshot = self._source()
        yield from _own(snapshot)
        for statistic in TABLE:
            if statistic.topic in snapshot.known:
                yield _family(statistic, snapshot.known[statistic.topic])
        yield from _others(snapshot.others)

    def describe(self) -> Iterator[Metric]:
        """Yield every family there can be, with values that mean nothing."""
        yield from _own(_NOTHING)
        for statistic in TABLE:
            yield _family(statistic, "" if statistic.kind is Kind.INFO else 0.0)
        yield from _others({})


def _own(snapshot: Snapshot) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "mosquitto_up", "Whether the broker is connected and tells its statistics (1) or not (0).", value=snapshot.up
    )
    age = GaugeMetricFamily(
        "mosquitto_exporter_last_message_age_seconds",
        "Time since the broker's last new statistic; before the first one, since there is a connection.",
    )
    if snapshot.age is not None:
        age.add_metric([], snapshot.age)
    yield age
    yield CounterMetricFamily(
        "mosquitto_exporter_reconnects", "Connections to the broker after the first one.", value=snapshot.reconnects
    )
    yield CounterMetricFamily(
        "mosquitto_exporter_messages", "Messages received from the broker.", value=snapshot.messages
    )
    ignored = CounterMetricFamily(
        "mosquitto_exporter_ignored_messages", "Messages that changed no metric, by the reason.", labels=["reason"]
    )
    for reason in Ignored:
        ignored.add_metric([reason.value], snapshot.ignored.get(reason, 0))
    yield ignored


_NumberFamily: TypeAlias = type[CounterMetricFamily] | type[GaugeMetricFamily]
_FAMILIES: Final[Mapping[Kind, _NumberFamily]] = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily}


def _family(statistic: Statistic, value: Value) -> Metric:
    text = f"{statistic.meaning} ({statistic.topic})"
    if isinstance(value, str):
        return InfoMetricFamily(statistic.name.removesuffix("_info"), text, value={"version": value})
    return _FAMILIES[statistic.kind](statistic.name, text, value=value)


def _others(values: Mapping[str, Value]) -> Iterator[Metric]:
    numbers = UnknownMetricFamily("mosquitto_broker_topic_value", f"Numbers of topics {_OTHERS}", labels=["topic"])
    texts = InfoMetricFamily("mosquitto_broker_topic", f"Texts of topics {_OTHERS}", labels=["topic"])
    for topic, value in values.items():
        if isinstance(value, str):
            texts.add_metric([topic], {"text": value})
        else:
            numbers.add_metric([topic], value)
    yield numbers
    yield texts
