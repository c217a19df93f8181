"""HAProxy's form of the routes, `<host> <address>/<port>`, and the difference between two maps. Pure.

The address of IPv6 holds colons, so that haproxy.cfg takes address and port apart at a slash.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mqtt_router.routes import Route

# The value that stands for a host that is in the map more than once; none that is loaded is empty.
TWICE: Final = ""
# More changes than these are loaded as a whole, in one transaction.
MOST_SINGLE: Final = 64
# Bytes of a command. HAProxy takes one that fits into a buffer, which haproxy.cfg sets to 16,384.
LONGEST_COMMAND: Final = 8192

Map = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """What makes one map of another: entries to add, entries to set to another value, hosts to delete."""

    added: dict[str, str]
    changed: dict[str, str]
    deleted: list[str]

    def __len__(self) -> int:
        return len(self.added) + len(self.changed) + len(self.deleted)


def values_of(routes: Mapping[str, Route]) -> dict[str, str]:
    """Return the map that these routes make, in the order of the hosts."""
    return {host: f"{route.address}/{route.port}" for host, route in sorted(routes.items())}


def diff(live: Map, wanted: Map) -> Difference:
    """Return what makes the live map the wanted one."""
    kept = {host for host, value in live.items() if value != TWICE}
    return Difference(
        added={host: value for host, value in wanted.items() if host not in kept},
        changed={host: value for host, value in wanted.items() if host in kept and live[host] != value},
        deleted=[host for host in live if host not in wanted or host not in kept],
    )


def render(entries: Map) -> str:
    """Return the map's file."""
    return "".join(f"{host} {value}\n" for host, value in entries.items())


def parse(text: str) -> list[Route]:
    """Return the routes of a map's file; what is none is left out, as is a last line without an end."""
    *lines, _ = text.split("\n")
    return [route for line in lines if (route := _parse_line(line)) is not None]


def _parse_line(line: str) -> Route | None:
    host, _, value = line.partition(" ")
    address, _, port = value.rpartition("/")
    bracketed = f"[{address}]" if ":" in address else address
    try:
        return Route.parse(f"{host} {bracketed}:{port}")
    except ValueError:
        return None


def chunks(entries: Map, *, limit: int = LONGEST_COMMAND) -> Iterator[str]:
    """Yield the lines of a map in pieces of at most so many bytes, each of whole lines."""
    yield from _joined((f"{host} {value}\n" for host, value in entries.items()), limit)


def _joined(lines: Iterable[str], limit: int) -> Iterator[str]:
    piece: list[str] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > limit:
            yield "".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield "".join(piece)
