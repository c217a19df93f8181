"""The table of routes: the same whatever the order, and what is wrong with one is nobody else's matter."""

import random
from datetime import UTC, datetime

import pytest

from customer_operator.model.hostnames import Claim
from customer_operator.routing.candidates import Candidate
from customer_operator.routing.table import RouteTable
from mqtt_router.routes import SHARDS, shard_of
from tests.support.generate import make_platform
from tests.support.routes import host_of


def asks(host: str, *, uid: str, minute: int = 0, last: int = 1) -> Candidate:
    claim = Claim(waits=False, created_at=datetime(2026, 11, 21, 12, minute, tzinfo=UTC), uid=uid)
    return Candidate(host=host, address=f"10.96.{last // 250}.{last % 250 + 1}", port=8883, claim=claim)


def crowd(count: int) -> dict[str, Candidate]:
    return {f"c{number}": asks(host_of(f"c{number}"), uid=f"{number:05}", last=number) for number in range(count)}


def texts(table: RouteTable) -> list[str]:
    return [table.text(shard) for shard in range(SHARDS)]


@pytest.fixture
def table() -> RouteTable:
    return RouteTable(make_platform())


def test_each_route_is_in_the_shard_of_its_host(table: RouteTable) -> None:
    for name, candidate in crowd(100).items():
        assert table.put(name, candidate) == {candidate.host}

    assert len(table) == 100
    for shard, text in enumerate(texts(table)):
        assert all(shard_of(line.partition(" ")[0]) == shard for line in text.splitlines())


def test_the_order_in_which_instances_come_and_change_does_not_matter() -> None:
    """Also when hosts are contested, given up and taken again on the way."""
    end = crowd(40) | {
        f"rival-{number}": asks(f"own-{number % 3}.example", uid=str(number), minute=number % 7) for number in range(20)
    }
    found = set()
    for seed in range(20):
        order, table = random.Random(seed), RouteTable(make_platform())
        for name in order.choices(list(end), k=200):
            table.put(name, order.choice([None, asks(f"own-{order.randrange(3)}.example", uid=name), end[name]]))
        for name in order.sample(list(end), len(end)):
            table.put(name, end[name])
        found.add(tuple(texts(table)))

    assert len(found) == 1
    assert len(next(iter(found))) == SHARDS


def test_one_change_touches_one_shard(table: RouteTable) -> None:
    for name, candidate in crowd(500).items():
        table.put(name, candidate)
    before = texts(table)

    hosts = table.put("c7", asks(host_of("c7"), uid="00007", last=9999))

    changed = [shard for shard in range(SHARDS) if before[shard] != table.text(shard)]
    assert changed == [shard_of(host_of("c7"))]
    assert hosts == {host_of("c7")}


def test_what_says_nothing_new_changes_nothing(table: RouteTable) -> None:
    table.put("acme", asks(host_of("acme"), uid="1"))

    assert table.put("acme", asks(host_of("acme"), uid="1")) == set()
    assert table.put("other", None) == set()


def test_of_two_that_ask_for_one_host_the_older_has_it_and_the_other_is_told(table: RouteTable) -> None:
    table.put("younger", asks("devices.example", uid="1", minute=2, last=2))
    assert table.problem("younger") is None

    table.put("older", asks("devices.example", uid="2", minute=1, last=1))

    assert table.holder("devices.example") == "older"
    assert table.route("younger") is None
    problem = table.problem("younger")
    assert problem is not None
    assert "another instance" in problem
    assert "older" not in problem, "a customer learns nothing of another"
    assert (len(table), table.refused) == (1, 1)


def test_a_host_that_is_given_up_goes_to_the_next(table: RouteTable) -> None:
    table.put("older", asks("devices.example", uid="1", minute=1))
    table.put("younger", asks("devices.example", uid="2", minute=2, last=9))

    assert table.put("older", None) == {"devices.example"}

    assert table.holder("devices.example") == "younger"
    assert table.problem("younger") is None
    assert "10.96.0.10" in table.text(shard_of("devices.example"))


@pytest.mark.parametrize("host", ["two\nlines.example", "", "Upper.example", host_of("c1"), "a" * 300, "x y"])
def test_what_is_invalid_is_left_out_and_all_others_stay(table: RouteTable, host: str) -> None:
    for name, candidate in crowd(50).items():
        table.put(name, candidate)
    before = texts(table)

    assert table.put("hostile", asks(host, uid="0", minute=0)) == set()

    assert texts(table) == before
    assert table.problem("hostile") is not None
    assert table.refused == 1
    table.put("hostile", asks(host_of("hostile"), uid="0"))
    assert table.problem("hostile") is None


def test_a_route_that_becomes_invalid_is_withdrawn(table: RouteTable) -> None:
    table.put("acme", asks(host_of("acme"), uid="1"))

    assert table.put("acme", asks("bad host", uid="1")) == {host_of("acme")}

    assert len(table) == 0
    assert "".join(texts(table)) == ""


def test_ten_thousand_routes_fit_many_times(table: RouteTable) -> None:
    for name, candidate in crowd(10_000).items():
        table.put(name, candidate)
    sizes = [len(text.encode()) for text in texts(table)]

    assert len(table) == 10_000
    assert max(sizes) < 2**20 / 20
    print(f"10,000 routes: {sum(sizes)} bytes in {SHARDS} shards, {max(sizes)} bytes in the largest")  # noqa: T201
