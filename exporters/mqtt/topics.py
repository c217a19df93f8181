"""The statistics of Mosquitto and the metric that each becomes: one table, in the order of docs/mqtt-metrics.md.

Topics and meanings are those of mosquitto(8) and of src/sys_tree.c, versions 2.0 and 2.1. A name is the topic with
underscores, behind `mosquitto_`; counters end with `_total`. A last `count` is left out, for to Prometheus it means a
histogram. Where the rule gives no good name (a gauge that ends with _total, a size without its unit) there is another.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

ROOT: Final = "$SYS/"
SUBSCRIPTION: Final = f"{ROOT}#"


class Kind(Enum):
    """What Prometheus may do with a value: `rate` wants a counter, an info never changes."""

    COUNTER = "counter"
    GAUGE = "gauge"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Statistic:
    """One topic, and its metric by the name that is scraped. The unit is for readers, empty for a text.

    What a counter counts it counts from the broker's start.
    """

    topic: str
    name: str
    kind: Kind
    unit: str
    meaning: str


_OTHER_NAMES: Final[Mapping[str, str]] = {
    "$SYS/broker/clients/total": "mosquitto_broker_clients",
    "$SYS/broker/heap/current": "mosquitto_broker_heap_current_bytes",
    "$SYS/broker/heap/maximum": "mosquitto_broker_heap_maximum_bytes",
    "$SYS/broker/uptime": "mosquitto_broker_uptime_seconds",
    "$SYS/broker/version": "mosquitto_broker_info",
}
_SEPARATORS: Final = str.maketrans("/ -.", "____")

# Published beside a topic that says the same and is in the table.
ALIASES: Final = frozenset({"$SYS/broker/clients/active", "$SYS/broker/clients/inactive"})
# Lines of the broker's log (log_dest topic): names and addresses of devices, and no statistics.
LOGS: Final = "$SYS/broker/log/"

_INTERVALS: Final = (1, 5, 15)  # minutes


def _statistic(topic: str, kind: Kind, unit: str, meaning: str) -> Statistic:
    suffix = "_total" if kind is Kind.COUNTER else ""
    words = topic.removeprefix(ROOT).removesuffix("/count").translate(_SEPARATORS)
    name = _OTHER_NAMES.get(topic) or f"mosquitto_{words}{suffix}"
    return Statistic(topic=topic, name=name, kind=kind, unit=unit, meaning=meaning)


def _counter(topic: str, unit: str, meaning: str) -> Statistic:
    return _statistic(f"$SYS/broker/{topic}", Kind.COUNTER, unit, f"{meaning}.")


def _gauge(topic: str, unit: str, meaning: str) -> Statistic:
    return _statistic(f"$SYS/broker/{topic}", Kind.GAUGE, unit, f"{meaning}.")


def _loads(topic: str, unit: str, what: str) -> Iterator[Statistic]:
    for minutes in _INTERVALS:
        meaning = f"{what} per minute, moving average over {minutes} min"
        yield _gauge(f"load/{topic}/{minutes}min", f"{unit} per minute", meaning)


TABLE: Final[tuple[Statistic, ...]] = (
    _statistic("$SYS/broker/version", Kind.INFO, "", "Version of the broker, as the label version."),
    _gauge("uptime", "seconds", "Time since the broker started"),
    _gauge("clients/total", "sessions", "Sessions of clients that are connected or may come back"),
    _gauge("clients/connected", "clients", "Clients that are connected"),
    _gauge("clients/disconnected", "sessions", "Sessions whose clients are not connected and may come back"),
    _gauge("clients/maximum", "sessions", "Most sessions there have been at the same time"),
    _counter("clients/expired", "sessions", "Sessions that ended because their clients stayed away for too long"),
    _counter("connections/socket/count", "connections", "Connections taken, whether or not MQTT followed"),
    _counter("messages/received", "packets", "MQTT packets of any type received"),
    _counter("messages/sent", "packets", "MQTT packets of any type sent"),
    _gauge("messages/stored", "messages", "Messages held; the same as store/messages/count"),
    _counter("bytes/received", "bytes", "Bytes received"),
    _counter("bytes/sent", "bytes", "Bytes sent"),
    _counter("publish/messages/received", "messages", "Messages published by clients"),
    _counter("publish/messages/sent", "messages", "Messages delivered to clients"),
    _counter("publish/messages/dropped", "messages", "Messages dropped because a queue was full"),
    _counter("publish/bytes/received", "bytes", "Bytes of payload published by clients"),
    _counter("publish/bytes/sent", "bytes", "Bytes of payload delivered to clients"),
    _gauge("store/messages/count", "messages", "Messages held, retained ones and those queued for clients"),
    _gauge("store/messages/bytes", "bytes", "Bytes of payload held"),
    _gauge("retained messages/count", "messages", "Retained messages, these statistics included"),
    _gauge("subscriptions/count", "subscriptions", "Subscriptions"),
    _gauge("shared_subscriptions/count", "subscriptions", "Shared subscriptions"),
    _gauge("packet/out/count", "packets", "Packets waiting to be sent"),
    _gauge("packet/out/bytes", "bytes", "Bytes of packets waiting to be sent"),
    _gauge("heap/current", "bytes", "Memory in use; not in every build of the broker"),
    _gauge("heap/maximum", "bytes", "Most memory there has been in use; not in every build of the broker"),
    *_loads("messages/received", "packets", "MQTT packets of any type received"),
    *_loads("messages/sent", "packets", "MQTT packets of any type sent"),
    *_loads("publish/received", "messages", "Messages published by clients"),
    *_loads("publish/sent", "messages", "Messages delivered to clients"),
    *_loads("publish/dropped", "messages", "Messages dropped"),
    *_loads("bytes/received", "bytes", "Bytes received"),
    *_loads("bytes/sent", "bytes", "Bytes sent"),
    *_loads("sockets", "connections", "Connections taken"),
    *_loads("connections", "connections", "CONNECT packets received"),
)

BY_TOPIC: Final[Mapping[str, Statistic]] = MappingProxyType({item.topic: item for item in TABLE})
