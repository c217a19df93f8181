"""The table of routes: which there are, of what all instances ask for, in whatever order they come; pure."""

from collections.abc import Mapping
from typing import Final

from customer_operator.model.hostnames import Claim, holder
from customer_operator.model.platform import Platform
from customer_operator.routing.candidates import Candidate, admit
from mqtt_router.routes import SHARDS, Route, render, shard_of

_TAKEN: Final = "the host is in use by another instance of this platform"


class RouteTable:
    """Routes by host, and by instance why one has none.

    What is invalid, and all but one of those that ask for the same host, are left out and concern nobody else.
    """

    def __init__(self, platform: Platform) -> None:
        """Take the platform, by which hosts are checked."""
        self._platform = platform
        self._candidates: dict[str, Candidate] = {}
        self._routes: dict[str, Route] = {}  # by instance; valid, but another one may have the host
        self._problems: dict[str, str] = {}  # by instance; no route can be made of it
        self._claims: dict[str, dict[str, Claim]] = {}  # by host, then by instance
        self._shards: tuple[dict[str, str], ...] = tuple({} for _ in range(SHARDS))  # the holders by host

    def __len__(self) -> int:
        """Return the number of routes."""
        return sum(map(len, self._shards))

    @property
    def refused(self) -> int:
        """The number of instances that ask for a route that is left out."""
        return len(self._candidates) - len(self)

    def put(self, name: str, candidate: Candidate | None) -> set[str]:
        """Take in what an instance asks for now; return the hosts whose route may be another one."""
        if self._candidates.get(name) == candidate:
            return set()
        former = self._routes.get(name)
        self._forget(name)
        if candidate is not None:
            self._remember(name, candidate)
        hosts = {route.host for route in (former, self._routes.get(name)) if route is not None}
        for host in hosts:
            self._decide(host)
        return hosts

    def route(self, name: str) -> Route | None:
        """Return the route of an instance; None when it asks for none, or for one that is left out."""
        route = self._routes.get(name)
        return route if route is not None and self.holder(route.host) == name else None

    def problem(self, name: str) -> str | None:
        """Return why the route that an instance asks for is left out; None when it is not."""
        return _TAKEN if name in self._routes and self.route(name) is None else self._problems.get(name)

    def holder(self, host: str) -> str | None:
        """Return the instance that devices reach by a host."""
        return self._shards[shard_of(host)].get(host)

    def claimants(self, host: str) -> Mapping[str, Claim]:
        """Return the instances that ask for a host."""
        return self._claims.get(host, {})

    def text(self, shard: int) -> str:
        """Return the text of a shard."""
        return render(self._routes[name] for name in self._shards[shard].values())

    def _forget(self, name: str) -> None:
        self._candidates.pop(name, None)
        self._problems.pop(name, None)
        route = self._routes.pop(name, None)
        if route is not None:
            claims = self._claims[route.host]
            del claims[name]
            if not claims:
                del self._claims[route.host]

    def _remember(self, name: str, candidate: Candidate) -> None:
        self._candidates[name] = candidate
        try:
            route = admit(name, candidate, self._platform)
        except ValueError as error:
            self._problems[name] = str(error)
        else:
            self._routes[name] = route
            self._claims.setdefault(route.host, {})[name] = candidate.claim

    def _decide(self, host: str) -> None:
        claims, shard = self._claims.get(host), self._shards[shard_of(host)]
        if claims is None:
            shard.pop(host, None)
        else:
            first = holder(claims.values())
            shard[host] = next(name for name, claim in claims.items() if claim == first)
