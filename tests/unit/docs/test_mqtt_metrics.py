"""docs/mqtt-metrics.md keeps up with the exporter: its statistics, its own metrics, and its names beside sapcc's."""

import re
from pathlib import Path
from typing import Final

import pytest

from exporters.mqtt.collector import StatisticsCollector
from exporters.mqtt.parser import Ignored
from exporters.mqtt.statistics import MOST_OTHER_TOPICS, Statistics
from exporters.mqtt.topics import TABLE

PAGE = (Path(__file__).parents[3] / "docs" / "mqtt-metrics.md").read_text(encoding="utf-8")

# counterKeyMetrics and ignoreKeyMetrics in main.go of sapcc/mosquitto-exporter, below $SYS/broker/; the rest is gauges.
SAPCC_COUNTERS: Final = {
    "bytes/received",
    "bytes/sent",
    "clients/maximum",
    "clients/total",
    "messages/received",
    "messages/sent",
    "publish/bytes/received",
    "publish/bytes/sent",
    "publish/messages/dropped",
    "publish/messages/received",
    "publish/messages/sent",
    "uptime",
}
SAPCC_IGNORED: Final = {"version"}


def rows(columns: int) -> list[list[str]]:
    """The cells of the tables' rows that begin with a metric of ours and have so many columns."""
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in PAGE.splitlines()
        if line.startswith("| `mosquitto_")
    ]
    return [row for row in cells if len(row) == columns]


def sapcc(topic: str) -> str:
    """As parseTopic in main.go."""
    below = topic.removeprefix("$SYS/broker/")
    if below in SAPCC_IGNORED:
        return "none"
    return f"`{re.sub('[/ .-]', '_', f'broker/{below}')}`, {'counter' if below in SAPCC_COUNTERS else 'gauge'}"


def test_every_statistic_is_documented_with_type_unit_and_topic() -> None:
    expected = [
        [f"`{item.name}`", item.kind.value, item.unit, f"`{item.topic}`", item.meaning.removesuffix(".")]
        for item in TABLE
    ]

    assert [row[:5] for row in rows(6)] == expected


def test_every_statistic_is_beside_its_name_in_the_other_exporter() -> None:
    assert [row[5] for row in rows(6)] == [sapcc(row[3].strip("`")) for row in rows(6)]


def test_every_other_metric_is_documented_with_its_type() -> None:
    collector = StatisticsCollector(Statistics().snapshot)
    suffix = {"counter": "_total", "info": "_info"}
    declared = {f"`{family.name}{suffix.get(family.type, '')}`": family.type for family in collector.describe()}
    statistics = {row[0] for row in rows(6)}

    assert {row[0]: row[1] for row in rows(4)} == {
        name: kind for name, kind in declared.items() if name not in statistics
    }


@pytest.mark.parametrize("reason", Ignored)
def test_every_reason_to_ignore_a_message_is_documented(reason: Ignored) -> None:
    (row,) = [row for row in rows(4) if row[0] == "`mosquitto_exporter_ignored_messages_total`"]

    assert f"`{reason.value}`" in row[3]


def test_the_number_of_other_topics_is_documented() -> None:
    assert f"at most {MOST_OTHER_TOPICS} of them" in PAGE
