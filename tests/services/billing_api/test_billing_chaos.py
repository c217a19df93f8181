"""Replicas as processes that are restarted while people sign up."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hack.bench.disturbed import Promise
from hack.bench.signups import Answer, Customers, customers
from hack.ports import PortReservation
from tests.services.billing_api.fake_kubernetes import FakeKubernetes
from tests.services.billing_api.harness import Query
from tests.support.billing import BillingProcess, billing_process, replica_environment

_SIGNUPS = 200
#: Everybody signs up from here, and a signup that is repeated counts as a login, too.
_LIMITS = (
    "LOGIN_ATTEMPTS_PER_ADDRESS",
    "SIGNUPS_IN_ALL",
    "SIGNUPS_PER_ADDRESS",
    "UNVERIFIED_STACKS_PER_ADDRESS",
)


class Replicas:
    """Three of them on one database, each at an address that it keeps."""

    def __init__(self, stack: AsyncExitStack, environ: Mapping[str, str], folder: Path, ports: list[int]) -> None:
        self._stack = stack
        self._environ = environ
        self._folder = folder
        self._ports = ports
        self._running: dict[int, BillingProcess] = {}

    @property
    def urls(self) -> list[str]:
        """Where they serve."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    async def start(self, number: int) -> None:
        """Start one, and wait until it serves."""
        own = {"PORT": str(self._ports[number]), "DATA_DIR": str(self._folder / str(number))}
        process = await self._stack.enter_async_context(billing_process({**self._environ, **own}))
        await (await process.client()).aclose()
        self._running[number] = process

    async def restart(self, number: int, *, by: signal.Signals) -> int:
        """End one by a signal and start it again; return its exit status."""
        status = await self._running[number].end(by)
        await self.start(number)
        return status


@pytest.fixture
async def replicas(dsn: str, tmp_path: Path, kubernetes: FakeKubernetes) -> AsyncIterator[Replicas]:
    reservation = PortReservation(3)
    environ = {
        **replica_environment(dsn, tmp_path),
        "KUBECONFIG": str(kubernetes.write_kubeconfig(tmp_path / "kubeconfig")),
        "OUTBOX_LEASE": "3",
        **dict.fromkeys(_LIMITS, "1000"),
    }
    async with AsyncExitStack() as stack:
        stack.callback(reservation.release)
        started = Replicas(stack, environ, tmp_path, reservation.ports)
        await asyncio.gather(*map(started.start, range(3)))
        yield started


async def test_two_hundred_signups_while_two_of_three_replicas_restart_are_neither_lost_nor_doubled(
    replicas: Replicas, kubernetes: FakeKubernetes, query: Query
) -> None:
    answers: dict[str, Answer] = {}
    some_are_answered = asyncio.Event()

    async def sign_up(people: Customers, email: str) -> None:
        answers[email] = await people.insist(email, seconds=120)
        if len(answers) == _SIGNUPS // 5:
            some_are_answered.set()

    async with customers(replicas.urls, party="chaos") as people:
        signing_up = asyncio.gather(*(sign_up(people, people.address()) for _ in range(_SIGNUPS)))
        await some_are_answered.wait()
        statuses = await asyncio.gather(replicas.restart(0, by=signal.SIGTERM), replicas.restart(1, by=signal.SIGKILL))
        await signing_up
    assert statuses == [0, -signal.SIGKILL]
    assert {answer.status for answer in answers.values()} == {201}
    promises = [Promise.of(email, answer) for email, answer in answers.items()]
    names = {promise.instance for promise in promises}
    await kubernetes.wait_for(lambda: names <= set(kubernetes.objects))
    await _outbox_done(query)
    found = [(row["email"], row["customer_id"]) for row in query("SELECT email, customer_id FROM customers")]
    assert sorted(found) == sorted((promise.email, promise.customer_id) for promise in promises)
    assert set(kubernetes.applies) == names
    customer = {name: item["spec"]["customer"] for name, item in kubernetes.objects.items()}
    assert sorted((name, one["email"], one["id"]) for name, one in customer.items()) == sorted(
        promise.order for promise in promises
    )
    # An apply that is repeated, because its record was lost with the replica, changes nothing.
    assert {item["metadata"]["generation"] for item in kubernetes.objects.values()} == {1}


async def _outbox_done(query: Query) -> None:
    """Wait until nothing waits: what is applied a second time has been by then."""
    async with asyncio.timeout(60):
        while True:
            if not query("SELECT 1 FROM outbox WHERE state = 'pending'"):
                return
            await asyncio.sleep(0.05)
