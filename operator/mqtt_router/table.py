"""The routes there should be: each shard's as it was last read, and until then as the map's file has kept it.

A shard that is gone or cannot be read keeps its routes: the operator empties a shard, and never deletes one, so whoever
deletes it means no customer to be cut off.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from mqtt_router import routes
from mqtt_router.routes import Route
from mqtt_router.settings import Ranges

_OUTSIDE: Final = "the address is outside ADDRESS_RANGES"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A shard as its ConfigMap says it; `at` is when it was written, None when it does not say."""

    shard: int
    text: str
    at: datetime | None


class RouteTable:
    """Holds the routes of all shards; pure but for its memory."""

    def __init__(self, *, ranges: Ranges) -> None:
        """Take the ranges in which brokers may be; every other address is refused."""
        self._ranges = ranges
        self._shards: dict[int, dict[str, Route]] = {}
        self._texts: dict[int, str] = {}
        self._unseen: list[datetime] = []
        self._kept = False

    @property
    def routes(self) -> dict[str, Route]:
        """All routes, by host."""
        return {host: route for shard in self._shards.values() for host, route in shard.items()}

    def restore(self, kept: Iterable[Route]) -> None:
        """Take the routes of before as those of every shard that has not been read yet."""
        for route in kept:
            self._kept = True
            shard = routes.shard_of(route.host)
            if shard not in self._texts and self._is_allowed(route):
                self._shards.setdefault(shard, {})[route.host] = route

    def untold(self) -> list[str]:
        """Return the ConfigMaps whose routes are not known, neither from themselves nor from before.

        The operator makes all of them, empty ones too: one that is not there has not been published yet.
        """
        if self._kept:
            return []
        return [routes.config_map(shard) for shard in range(routes.SHARDS) if shard not in self._texts]

    def take(self, published: Published) -> dict[int, str] | None:
        """Take a shard's new text; return what is wrong with its lines, by their number; None when nothing is new."""
        shard, before = published.shard, self._texts.get(published.shard)
        if before == published.text:
            return None
        if before is not None and published.at is not None:
            self._unseen.append(published.at)
        read = routes.parse(published.text, shard=shard)
        self._texts[shard] = published.text
        self._shards[shard] = {host: route for host, route in read.routes.items() if self._is_allowed(route)}
        return {**read.problems, **self._outside(published.text, read.routes)}

    def changes_seen(self) -> list[datetime]:
        """Return when the changes were published that were taken since the last call."""
        unseen, self._unseen = self._unseen, []
        return unseen

    def _is_allowed(self, route: Route) -> bool:
        address = ip_address(route.address)
        return any(address in network for network in self._ranges)

    def _outside(self, text: str, read: Mapping[str, Route]) -> dict[int, str]:
        refused = {str(route) for route in read.values() if not self._is_allowed(route)}
        if not refused:
            return {}
        return {number: _OUTSIDE for number, line in enumerate(text.split("\n"), start=1) if line in refused}
