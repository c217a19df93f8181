"""The routes of the front door, as the operator publishes them and the router reads them: all that the two share.

A route is one line, `<host> <address>:<port>`. The routes are spread over ConfigMaps, the shards, by a hash of the host
that is fixed for ever: an operator and a router of different releases must find the same route in the same shard.
The grammar is strict in both directions, so that no value can become a second line, or a command, further on.
"""

import hashlib
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Self

SHARDS: Final = 16
DATA_KEY: Final = "routes.map"

# Of the ConfigMaps: by the label they are listed and watched, the annotation says when one was written.
ROUTES_LABEL: Final = "iotistic.cloud/mqtt-routes"
SELECTOR: Final = f"{ROUTES_LABEL}=true"
PUBLISHED_AT_ANNOTATION: Final = "iotistic.cloud/published-at"

_CONFIG_MAP: Final = "mqtt-routes-"
_HOST_LIMIT: Final = 253  # characters, RFC 1035 as text
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123
_LINE: Final = re.compile(
    r"(?P<host>[-.a-z0-9]{1,253}) (\[(?P<six>[:0-9a-f]{2,39})\]|(?P<four>[.0-9]{7,15})):(?P<port>[1-9][0-9]{0,4})"
)


@dataclass(frozen=True, order=True, slots=True)
class Route:
    """Where the connections of devices go that name this host in TLS (SNI); ValueError for what is no route.

    The host is a DNS name in lower case, as in a certificate. The address is an IP address as `ipaddress` writes it.
    """

    host: str
    address: str
    port: int

    def __post_init__(self) -> None:
        if not is_host(self.host):
            raise ValueError("the host is no DNS name in lower case")
        if not is_address(self.address):
            raise ValueError("the address is no IP address of one machine, or is not written as it should be")
        if not 1 <= self.port <= 65535:
            raise ValueError("the port is none")

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.host} {address}:{self.port}"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the route of a line without its end; ValueError, which does not show the line, for no route."""
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError("it is not of the form '<host> <address>:<port>'")
        return cls(found["host"], found["six"] or found["four"], int(found["port"]))


@dataclass(frozen=True, slots=True)
class Shard:
    """What a shard says: its routes by host, and why lines were left out, by their numbers, which begin with 1."""

    routes: dict[str, Route]
    problems: dict[int, str]


def is_host(name: str) -> bool:
    """Tell whether devices can name this in TLS: a DNS name in lower case, and no IP address (RFC 6066, section 3)."""
    labels = name.split(".")
    return len(name) <= _HOST_LIMIT and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdigit()


def is_address(text: str) -> bool:
    """Tell whether this is the address of one machine that others can reach, in the one form of writing it."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return str(address) == text and _is_reachable(address)


def _is_reachable(address: IPv4Address | IPv6Address) -> bool:
    # How an IPv4 address within IPv6 is written depends on the version of Python, and no Service has one.
    if isinstance(address, IPv6Address) and (address.ipv4_mapped or address.scope_id):
        return False
    return not (address.is_unspecified or address.is_multicast or address.is_link_local)


def shard_of(host: str) -> int:
    """Return the number of the shard that a host belongs to: the first hexadecimal digit of its SHA-256."""
    return hashlib.sha256(host.encode()).digest()[0] >> 4


def config_map(shard: int) -> str:
    """Return the name of the ConfigMap that holds a shard: `mqtt-routes-00` to `mqtt-routes-0f`."""
    return f"{_CONFIG_MAP}{shard:02x}"


CONFIG_MAPS: Final = tuple(config_map(shard) for shard in range(SHARDS))


def render(routes: Iterable[Route]) -> str:
    """Return the text of these routes, the same in whatever order they come; ValueError when two have one host."""
    ordered = sorted(routes, key=lambda route: route.host)
    if len({route.host for route in ordered}) < len(ordered):
        raise ValueError("two routes have one host")
    return "".join(f"{route}\n" for route in ordered)


def parse(text: str, *, shard: int) -> Shard:
    """Return the routes of a shard's text. What is wrong is left out, and harms no other line.

    Wrong is a line that is no route, one whose host belongs to another shard, and a second one of the same host.
    """
    routes: dict[str, Route] = {}
    problems: dict[int, str] = {}
    # Not splitlines(): that also ends a line at characters that no map takes for the end of one.
    *lines, rest = text.split("\n")
    for number, line in enumerate(lines, start=1):
        try:
            route = _admit(Route.parse(line), shard=shard, known=routes)
        except ValueError as error:
            problems[number] = str(error)
        else:
            routes[route.host] = route
    if rest:
        problems[len(lines) + 1] = "the line has no end, so that it may be a part of one"
    return Shard(routes, problems)


def _admit(route: Route, *, shard: int, known: Container[str]) -> Route:
    if shard_of(route.host) != shard:
        raise ValueError("the host belongs to another shard")
    if route.host in known:
        raise ValueError("the host has a route already")
    return route
