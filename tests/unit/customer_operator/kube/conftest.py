"""A server of one Lease, and locks on it whose clock a test turns."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from customer_operator.kube.leader import LEASE_NAME
from customer_operator.kube.lease import LeaseLock
from tests.support.leases import DURATION, NAMESPACE, Clock, LeaseServer, Locks, client_of, lease_server

_DEADLINE = 10.0  # seconds that a request may take; a hiccup of the machine must not matter


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[LeaseServer]:
    async with lease_server() as server:
        yield server


@pytest.fixture
async def lock_of(server: LeaseServer, clock: Clock) -> AsyncIterator[Locks]:
    """Makes a lock as a process would that has just started."""
    async with AsyncExitStack() as stack:
        clients = {who: await stack.enter_async_context(client_of(server.host, who)) for who in ("one", "two")}

        def make(who: str = "one", duration: int = DURATION, deadline: float = _DEADLINE) -> LeaseLock:
            return LeaseLock(
                clients[who],
                namespace=NAMESPACE,
                name=LEASE_NAME,
                identity=who,
                duration=duration,
                deadline=deadline,
                clock=clock,
                time_of_day=lambda: clock.time_of_day,
            )

        yield make
