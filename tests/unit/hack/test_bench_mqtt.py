"""The benchmark of the front door says what it measured: on made-up outcomes, and a pair's packets at a broker."""

import json
from typing import Any

import pytest

from hack.bench.mqtt.operated import Idle, Operated
from hack.bench.mqtt.publication import Many
from hack.bench.mqtt.report import Figures, percentile, table
from hack.bench.mqtt.throughput import Comparison, Leg
from hack.front_door import packets
from hack.front_door.device import sources

#: What whoever reads the last line relies on.
PUBLIC = (
    "messages_to_direct",
    "connections_to_direct",
    "connections_dropped",
    "route_live_p95_s",
    "haproxy_mib_10000_routes",
    "full_load_s",
)


def _comparison(what: str, *pairs: tuple[float, float]) -> Comparison:
    through = [Leg(per_second, 0.5, 0.4, 0.1) for per_second, _ in pairs]
    return Comparison(what, through, [Leg(per_second, 0.5, 0.4, 0.0) for _, per_second in pairs])


@pytest.fixture
def figures() -> Figures:
    idle = Idle(devices=2000, haproxy_before_mib=8, haproxy_mib=16, haproxy_processors=0.01)
    live = {"created": [1.0, 3.0], "to SNI": [2.0]}
    return Figures(
        load=1.5,
        comparisons=[
            # The machine became twice as fast after the first pair: only pairs are compared.
            _comparison("connections", (80, 100), (160, 200), (190, 200)),
            _comparison("messages of QoS 0", (95, 100)),
            _comparison("messages of QoS 1", (90, 100)),
        ],
        operated=Operated(idle=idle, dropped=1, live=live, withdrawn={"deleted": [0.5]}),
        many=Many(routes=10_000, full_load_s=1.25, haproxy_mib=11.2, publishing=[0.1], changing=[0.2, 0.4]),
    )


def test_the_last_line_holds_all_that_others_rely_on(figures: Figures) -> None:
    found: dict[str, Any] = json.loads(json.dumps(figures.as_json()))

    assert {name: found[name] for name in PUBLIC} == {
        "messages_to_direct": 0.9,
        "connections_to_direct": 0.8,
        "connections_dropped": 1,
        "route_live_p95_s": 3.0,
        "haproxy_mib_10000_routes": 11.2,
        "full_load_s": 1.25,
    }


def test_memory_is_told_for_a_thousand_connections(figures: Figures) -> None:
    found = figures.as_json()

    assert found["haproxy_mib_per_1000_connections"] == 4
    assert found["haproxy_processors_per_1000_connections"] == 0.005


def test_the_table_shows_the_rival_beside_the_front_door(figures: Figures) -> None:
    lines = table(figures).splitlines()

    assert lines[1].split()[:4] == ["connections", "160", "200", "0.80"]
    assert "cut off while routes came, changed and went: 1" in lines


@pytest.mark.parametrize(("part", "expected"), [(0.5, 51), (0.95, 96), (1.0, 100)])
def test_a_percentile_is_one_of_the_values(part: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), part) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    assert percentile([], 0.5) == 0


def test_devices_come_from_different_addresses_of_one_network() -> None:
    addresses = sources(200)

    found = [next(addresses) for _ in range(300)]

    assert found[0] == "127.200.0.1"
    assert found[299] == "127.200.1.44"
    assert len(set(found)) == 300


def test_packets_are_those_of_the_standard() -> None:
    """MQTT 3.1.1, figures of 3.1, 3.3, 3.4 and 3.8."""
    assert packets.connect("ab", keep_alive=60) == b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02ab"
    assert packets.publish(b"a/b", b"xy") == b"\x30\x07\x00\x03a/bxy"
    assert packets.publish(b"a/b", b"xy", identifier=10) == b"\x32\x09\x00\x03a/b\x00\x0axy"
    assert packets.subscribe(b"a/b", qos=1) == b"\x82\x08\x00\x01\x00\x03a/b\x01"
    assert packets.acknowledge(b"\x00\x0a") == b"\x40\x02\x00\x0a"
    assert packets.remaining_length(321) == b"\xc1\x02"
