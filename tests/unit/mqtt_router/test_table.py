"""The routes there should be: of each shard what was read last, and until then what the file has kept."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from mqtt_router import routes
from mqtt_router.routes import Route
from mqtt_router.settings import PRIVATE
from mqtt_router.table import Published, RouteTable

ACME = Route("mqtt.acme.example.com", "10.96.0.7", 8883)
SHARD = routes.shard_of(ACME.host)
OTHER = next(
    route
    for number in range(100)
    if routes.shard_of((route := Route(f"mqtt.other-{number}.example.com", "10.96.0.8", 8883)).host) != SHARD
)
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def published(text: str, *, shard: int = SHARD, at: datetime | None = None) -> Published:
    return Published(shard=shard, text=text, at=at)


@pytest.fixture
def table() -> RouteTable:
    return RouteTable(ranges=PRIVATE)


def test_a_shard_replaces_what_it_had_and_touches_no_other(table: RouteTable) -> None:
    table.take(published(f"{ACME}\n"))
    table.take(published(f"{OTHER}\n", shard=routes.shard_of(OTHER.host)))

    table.take(published(""))

    assert table.routes == {OTHER.host: OTHER}


def test_what_the_file_has_kept_holds_until_its_shard_has_been_read(table: RouteTable) -> None:
    table.restore([ACME, OTHER])
    assert table.routes == {ACME.host: ACME, OTHER.host: OTHER}

    table.take(published(""))
    table.restore([ACME])

    assert table.routes == {OTHER.host: OTHER}


def test_lines_that_are_wrong_are_told_by_their_numbers(table: RouteTable) -> None:
    problems = table.take(published(f"nonsense\n{ACME}\n{OTHER}\n"))

    assert problems is not None
    assert set(problems) == {1, 3}
    assert table.routes == {ACME.host: ACME}


def test_the_same_text_again_is_nothing_new(table: RouteTable) -> None:
    assert table.take(published("nonsense\n")) == {1: "it is not of the form '<host> <address>:<port>'"}
    assert table.take(published("nonsense\n")) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "8.8.8.8", "172.32.0.1", "2001:db8::1"])
def test_an_address_that_no_service_has_is_left_out_whoever_says_so(table: RouteTable, address: str) -> None:
    """127.0.0.1 is HAProxy itself: a connection would go round until there is none left."""
    route = Route(ACME.host, address, 8883)

    assert table.take(published(f"{route}\n")) == {1: "the address is outside ADDRESS_RANGES"}
    table.restore([route])

    assert table.routes == {}


def test_the_ranges_are_a_setting() -> None:
    table, route = RouteTable(ranges=(ip_network("127.0.0.0/8"),)), Route(ACME.host, "127.0.0.2", 8883)

    assert table.take(published(f"{route}\n")) == {}
    assert table.routes == {ACME.host: route}


def test_changes_are_remembered_by_when_they_were_published_but_for_the_first_look(table: RouteTable) -> None:
    table.take(published("", at=NOW))
    table.take(published(f"{ACME}\n", at=NOW + timedelta(seconds=1)))
    table.take(published(f"{ACME}\n", at=NOW + timedelta(seconds=2)))
    table.take(published("", at=None))

    assert table.changes_seen() == [NOW + timedelta(seconds=1)]
    assert table.changes_seen() == []


def test_a_shard_that_was_never_published_is_not_taken_for_an_empty_one(table: RouteTable) -> None:
    assert table.untold() == list(routes.CONFIG_MAPS)
    for number in range(routes.SHARDS):
        if number != SHARD:
            table.take(published("", shard=number))
    assert table.untold() == [routes.config_map(SHARD)]

    table.take(published(""))

    assert table.untold() == []


def test_what_the_file_has_kept_counts_as_all_there_is(table: RouteTable) -> None:
    table.restore([])
    assert table.untold()

    table.restore([OTHER])

    assert table.untold() == []
