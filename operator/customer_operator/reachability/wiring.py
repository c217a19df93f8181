"""Makes book and prober as the settings say."""

import random
import time
from collections.abc import Awaitable, Callable, Iterable

from customer_operator.metrics import Metrics
from customer_operator.model import addresses
from customer_operator.model.credentials import Credentials
from customer_operator.reachability.book import ReachabilityBook
from customer_operator.reachability.prober import Door, Prober
from customer_operator.settings import Settings


def book_of(settings: Settings, *, instances_changed: Callable[[Iterable[str]], None]) -> ReachabilityBook | None:
    """Return the book of who is reachable, which tells of those whose readiness has changed; None when nobody tries."""
    if not (settings.front_door and settings.route_probe):
        return None
    book = ReachabilityBook(
        interval=settings.route_probe_interval,
        places=settings.route_probe_concurrency,
        clock=time.monotonic,
        random=random.random,
    )
    book.follow(instances_changed=instances_changed)
    return book


def prober_of(
    settings: Settings,
    book: ReachabilityBook,
    *,
    credentials: Callable[[str], Credentials | None],
    trust: Callable[[str], Awaitable[str | None]],
    metrics: Metrics,
) -> Prober:
    """Return what tries who is due; `credentials` gives those of an instance, None when they are not known yet.

    `trust` gives what its devices trust (PEM, None for the authorities of every system).
    """

    def endpoint(host: str) -> addresses.Endpoint:
        return addresses.endpoint(settings.route_probe_address, host=host, router_namespace=settings.router_namespace)

    return Prober(
        book=book,
        door=Door(endpoint=endpoint, timeout=settings.route_probe_timeout),
        credentials=credentials,
        trust=trust,
        metrics=metrics,
        concurrency=settings.route_probe_concurrency,
    )
