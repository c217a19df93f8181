"""HAProxy's form of the routes, and the difference between two maps."""

import random

import pytest

from mqtt_router import mapping
from mqtt_router.mapping import TWICE, Difference
from mqtt_router.routes import Route

ACME = Route("mqtt.acme.example.com", "10.96.0.7", 8883)
SIX = Route("mqtt.six.example.com", "fd00::7", 8883)


def by_host(*routes: Route) -> dict[str, Route]:
    return {route.host: route for route in routes}


def test_the_map_holds_address_and_port_with_a_slash_between_them_in_the_order_of_the_hosts() -> None:
    entries = mapping.values_of(by_host(SIX, ACME))

    assert mapping.render(entries) == "mqtt.acme.example.com 10.96.0.7/8883\nmqtt.six.example.com fd00::7/8883\n"


def test_what_was_written_is_read_again() -> None:
    assert mapping.parse(mapping.render(mapping.values_of(by_host(ACME, SIX)))) == [ACME, SIX]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# comment",
        "mqtt.x.example.com",
        "mqtt.x.example.com 10.96.0.7:8883",
        "mqtt.x.example.com 10.96.0.7/",
        "\x00",
    ],
)
def test_a_line_that_is_none_is_left_out(line: str) -> None:
    assert mapping.parse(f"{line}\nmqtt.acme.example.com 10.96.0.7/8883\n") == [ACME]


def test_the_last_line_counts_only_if_it_is_whole() -> None:
    """A port that was cut off would be another port."""
    assert mapping.parse("mqtt.acme.example.com 10.96.0.7/88") == []


def apply(live: dict[str, str], difference: Difference) -> dict[str, str]:
    """Do as HAProxy does; it adds a second entry where there is one."""
    after = {host: value for host, value in live.items() if host not in difference.deleted}
    assert difference.changed.keys() <= after.keys()
    after.update(difference.changed)
    assert not difference.added.keys() & after.keys()
    return {**after, **difference.added}


def test_the_difference_makes_any_map_of_any_other() -> None:
    source = random.Random(9)

    def some() -> dict[str, str]:
        return {f"h{number}": source.choice("ab") for number in range(12) if source.random() < 0.6}

    for _ in range(300):
        live, wanted = some(), some()
        assert apply(live, mapping.diff(live, wanted)) == wanted


def test_what_is_as_it_should_be_is_not_touched() -> None:
    difference = mapping.diff({"same": "1", "old": "1", "gone": "1"}, {"same": "1", "old": "2", "new": "1"})

    assert difference == Difference(added={"new": "1"}, changed={"old": "2"}, deleted=["gone"])
    assert len(difference) == 3


def test_a_host_that_is_there_twice_is_deleted_and_added_again() -> None:
    assert mapping.diff({"x": TWICE}, {"x": "1"}) == Difference(added={"x": "1"}, changed={}, deleted=["x"])


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.parametrize("limit", [10, 64, 8192])
def test_chunks_are_whole_lines_below_the_limit_and_lose_nothing(count: int, limit: int) -> None:
    entries = {f"mqtt.customer-{number}.example.com": "10.96.0.7/8883" for number in range(count)}

    pieces = list(mapping.chunks(entries, limit=limit))

    assert "".join(pieces) == mapping.render(entries)
    assert all(piece.endswith("\n") for piece in pieces)
    # A line longer than the limit is a piece of its own.
    assert all(len(piece) <= limit or piece.count("\n") == 1 for piece in pieces)


def test_the_longest_command_fits_into_haproxys_buffer() -> None:
    longest_line = f"{'x' * 253} {'f' * 39}/65535\n"
    command = f"add map @{10**10} /{'p' * 255} <<\n"

    assert len(command) + mapping.LONGEST_COMMAND + len(longest_line) < 16_384 - 1024  # tune.bufsize - tune.maxrewrite
