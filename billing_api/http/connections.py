"""All client connections of the process: how many there may be, and which goes when there are too many.

Whoever keeps us waiting makes room. Refusing newcomers instead would let anybody with a thousand idle sockets shut out
all others, the probes of Kubernetes included. (nginx does the same: ngx_drain_connections.)
"""

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from uvicorn.server import ServerState

from billing_api.metrics import ConnectionMetrics

#: Refused connections that may wait at the same time for their client to read why.
_MAX_REFUSED = 64
_REPORT_EVERY_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a client may take.

    Attributes:
        connections: connections at once, in all.
        request_seconds: for request line and headers; for the body; and for taking what we send.
        keep_alive_seconds: between two requests. Longer than the 60 s after which load balancers and the nginx ingress
            give an idle connection up: when we are first, a request of theirs may be on its way and is lost.
        linger_seconds: to hang up when we have.
    """

    connections: int
    request_seconds: float
    keep_alive_seconds: float = 75.0
    linger_seconds: float = 2.0


class Member(Protocol):
    """What is asked of a connection."""

    def evict(self) -> None:
        """End now, without a word."""

    def check(self, now: float) -> None:
        """End if the client has taken too long; `now` is the loop's clock."""


class Connections(ServerState):
    """uvicorn's state of a server, with the bound on connections."""

    def __init__(self, limits: Limits, metrics: ConnectionMetrics) -> None:
        super().__init__()
        self.limits = limits
        self._metrics = metrics
        self._admitted: set[Member] = set()
        # Dictionaries for their order: the first has waited longest.
        self._waiting: dict[Member, None] = {}
        self._refused: dict[Member, None] = {}
        self._ended: Counter[str] = Counter()
        self._reported = time.monotonic()

    def admit(self, newcomer: Member) -> bool:
        """Tell whether the newcomer may stay; the connection whose client we wait for longest goes for it."""
        if len(self._admitted) >= self.limits.connections:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                self.count("refused")
                self._refuse(newcomer)
                return False
            self.count("evicted")
            self.forget(oldest)
            oldest.evict()
        self._admitted.add(newcomer)
        self._metrics.open.set(len(self._admitted))
        return True

    def waits(self, member: Member, *, for_client: bool) -> None:
        """Note that from now on we wait for this connection's client, or that we do not."""
        self._waiting.pop(member, None)
        if for_client and member in self._admitted:
            self._waiting[member] = None

    def forget(self, member: Member) -> None:
        """Note that this connection has ended."""
        self._admitted.discard(member)
        self._waiting.pop(member, None)
        self._refused.pop(member, None)
        self._metrics.open.set(len(self._admitted))

    def count(self, reason: str) -> None:
        """Count a connection that we have ended, under one of the reasons of ConnectionMetrics."""
        self._metrics.ended.labels(reason).inc()
        self._ended[reason] += 1

    def sweep(self, now: float) -> None:
        """End all connections whose client has taken too long; tell now and then how many were ended, and why."""
        for connection in tuple(self.connections):
            connection.check(now)  # type: ignore[union-attr]  # all are ours
        if self._ended and time.monotonic() - self._reported > _REPORT_EVERY_SECONDS:
            self.report()

    def report(self) -> None:
        """Log what has been ended since the last report: one line for any number of connections."""
        if self._ended:
            counts = ", ".join(f"{number} {reason}" for reason, number in self._ended.most_common())
            log.warning("Connections ended early: %s (MAX_CONNECTIONS=%d)", counts, self.limits.connections)
        self._ended.clear()
        self._reported = time.monotonic()

    def _refuse(self, newcomer: Member) -> None:
        self._refused[newcomer] = None
        if len(self._refused) > _MAX_REFUSED:
            oldest = next(iter(self._refused))
            self.forget(oldest)
            oldest.evict()
