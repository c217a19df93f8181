"""The form of the routes, which operator and router share: strict, deterministic, and the same for ever."""

import random

import pytest

from mqtt_router.routes import (
    CONFIG_MAPS,
    SHARDS,
    Route,
    Shard,
    config_map,
    is_address,
    is_host,
    parse,
    render,
    shard_of,
)

FOUR = Route("mqtt.acme.iot.example.com", "10.96.0.7", 8883)
SIX = Route("mqtt.beta.iot.example.com", "fd00::7", 8883)


def test_a_route_is_one_line() -> None:
    assert str(FOUR) == "mqtt.acme.iot.example.com 10.96.0.7:8883"
    assert str(SIX) == "mqtt.beta.iot.example.com [fd00::7]:8883"


@pytest.mark.parametrize("route", [FOUR, SIX, Route("a", "127.0.0.1", 1), Route("x" * 63 + ".y", "::1", 65535)])
def test_a_line_is_read_as_it_was_written(route: Route) -> None:
    assert Route.parse(str(route)) == route


@pytest.mark.parametrize(
    ("host", "shard"),
    [("mqtt.acme.iotistic.cloud", 0), ("mqtt.beta.iotistic.cloud", 10), ("a", 12), ("localhost", 4)],
)
def test_the_shard_of_a_host_never_changes(host: str, shard: int) -> None:
    assert shard_of(host) == shard


def test_hosts_are_spread_evenly() -> None:
    counts = [0] * SHARDS
    for number in range(10_000):
        counts[shard_of(f"mqtt.customer-{number}.iotistic.cloud")] += 1

    assert min(counts) > 500
    assert max(counts) < 750


def test_the_config_maps_are_numbered() -> None:
    assert (CONFIG_MAPS[0], CONFIG_MAPS[10], CONFIG_MAPS[-1]) == ("mqtt-routes-00", "mqtt-routes-0a", "mqtt-routes-0f")
    assert len(set(CONFIG_MAPS)) == SHARDS
    assert CONFIG_MAPS[3] == config_map(3)


def test_the_order_of_the_routes_does_not_matter() -> None:
    routes = [Route(f"mqtt.c{number}.example.com", f"10.0.0.{number}", 8883) for number in range(1, 200)]
    mixed = random.Random(7).sample(routes, len(routes))

    assert render(mixed) == render(routes)
    assert render(mixed).splitlines() == sorted(render(mixed).splitlines())


def test_two_routes_of_one_host_are_refused() -> None:
    with pytest.raises(ValueError, match="one host"):
        render([FOUR, Route(FOUR.host, "10.96.0.8", 8883)])


def test_a_shard_is_read_as_it_was_rendered() -> None:
    routes = [Route(f"mqtt.c{number}.example.com", f"10.0.1.{number}", 8883) for number in range(1, 200)]
    shard = parse(render(route for route in routes if shard_of(route.host) == 5), shard=5)

    assert set(shard.routes.values()) == {route for route in routes if shard_of(route.host) == 5}
    assert len(shard.routes) > 5
    assert not shard.problems


def test_an_empty_shard_has_no_routes_and_no_problems() -> None:
    assert render([]) == ""
    assert parse("", shard=0) == Shard(routes={}, problems={})


LINE = str(FOUR)
HOSTILE = {
    "": "form",
    " ": "form",
    "#" + LINE: "form",
    " " + LINE: "form",
    LINE + " ": "form",
    LINE + "\r": "form",
    LINE + "\0": "form",
    LINE + "; show info": "form",
    LINE.replace(" ", "\t"): "form",
    LINE.replace(" ", "  "): "form",
    LINE.replace("acme", "Acme"): "form",
    LINE.replace("acme", "ac\u2028me"): "form",
    LINE.replace("acme", "ächme"): "form",
    LINE.replace("acme", "ac_me"): "form",
    LINE.replace("acme", "*"): "form",
    LINE.replace("8883", "0"): "form",
    LINE.replace("8883", "08883"): "form",
    LINE.replace("8883", "٨٨٨٣"): "form",
    LINE.replace("8883", "65536"): "port",
    LINE.replace("8883", "888388"): "form",
    LINE.replace(":8883", ""): "form",
    LINE.replace("10.96.0.7", "mosquitto.svc"): "form",
    LINE.replace("10.96.0.7", "fd00::7"): "form",
    LINE.replace("10.96.0.7", "[FD00::7]"): "form",
    LINE.replace("10.96.0.7", "[fd00::7%eth0]"): "form",
    LINE.replace("10.96.0.7", "[fd00:0::7]"): "address",
    LINE.replace("10.96.0.7", "[::ffff:a60:7]"): "address",
    LINE.replace("10.96.0.7", "[::]"): "address",
    LINE.replace("10.96.0.7", "[ff02::1]"): "address",
    LINE.replace("10.96.0.7", "0.0.0.0"): "address",
    LINE.replace("10.96.0.7", "010.96.0.7"): "address",
    LINE.replace("10.96.0.7", "10.96.0.256"): "address",
    LINE.replace("10.96.0.7", "169.254.169.254"): "address",
    LINE.replace("10.96.0.7", "224.0.0.1"): "address",
    LINE.replace("mqtt.", "mqtt.."): "host",
    LINE.replace("mqtt.", "-mqtt."): "host",
    LINE.replace("mqtt.", "."): "host",
    LINE.replace(".com", ".com."): "host",
    LINE.replace("acme", "a" * 64): "host",
    LINE.replace("mqtt", ".".join(["a" * 63] * 4)): "form",
    "10.96.0.7 10.96.0.7:8883": "host",
}


@pytest.mark.parametrize("line", HOSTILE)
def test_what_is_no_route_is_left_out_and_harms_no_other(line: str) -> None:
    text = f"{line}\n{LINE}\n"
    shard = parse(text, shard=shard_of(FOUR.host))

    assert shard.routes == {FOUR.host: FOUR}
    assert list(shard.problems) == [1]
    assert HOSTILE[line] in shard.problems[1]
    # What reports it cannot be made to say something else by it.
    assert len(line) < 8 or line not in shard.problems[1]


def test_a_line_break_within_a_value_makes_a_line_that_is_no_route() -> None:
    shard = parse(f"{LINE}\ndel map /maps/mqtt.map {SIX.host}\n", shard=shard_of(FOUR.host))

    assert shard.routes == {FOUR.host: FOUR}
    assert list(shard.problems) == [2]


def test_the_second_route_of_a_host_is_left_out() -> None:
    shard = parse(f"{LINE}\n{Route(FOUR.host, '10.96.0.8', 8883)}\n", shard=shard_of(FOUR.host))

    assert shard.routes == {FOUR.host: FOUR}
    assert shard.problems == {2: "the host has a route already"}


def test_a_route_in_the_shard_of_another_host_is_left_out() -> None:
    shard = parse(f"{LINE}\n", shard=(shard_of(FOUR.host) + 1) % SHARDS)

    assert shard.routes == {}
    assert shard.problems == {1: "the host belongs to another shard"}


def test_a_last_line_without_an_end_is_left_out() -> None:
    shard = parse(LINE, shard=shard_of(FOUR.host))

    assert shard.routes == {}
    assert list(shard.problems) == [1]


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_no_route_is_made_of_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        Route("a.example", "10.0.0.1", port)


@pytest.mark.parametrize("host", ["a", "localhost", "mqtt.acme.example.com", "xn--bcher-kva.example", "1.2.3.4a"])
def test_hosts(host: str) -> None:
    assert is_host(host)


@pytest.mark.parametrize("host", ["", ".", "a.", "A", "a b", "a\n", "1.2.3.4", "::1", "a" * 64, "a." * 130 + "a"])
def test_no_hosts(host: str) -> None:
    assert not is_host(host)


@pytest.mark.parametrize("address", ["10.96.0.1", "127.0.3.7", "192.168.1.1", "240.0.0.1", "fd00:10:96::a", "::1"])
def test_addresses(address: str) -> None:
    assert is_address(address)


@pytest.mark.parametrize(
    "address", ["", "None", "10.96.0.1\n", "10.96.0.1/32", "1", "fd00::A", "fe80::1", "::ffff:1.2.3.4"]
)
def test_no_addresses(address: str) -> None:
    assert not is_address(address)
