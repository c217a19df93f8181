"""Replicas as processes that are restarted while people sign up."""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hack.bench.disturbed import Promise
from hack.bench.signups import Answer, customers
from hack.ports import PortReservation
from tests.services.billing_api.fake_kubernetes import FakeKubernetes
from tests.services.billing_api.harness import Query
from tests.support.billing import BillingProcess, billing_process, replica_environment

_SIGNUPS = 200
_BATCH = 10
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

    async def end(self, number: int, *, by: signal.Signals) -> int:
        """End one by a signal; return its exit status."""
        return await self._running[number].end(by)


@pytest.fixture
async def replicas(dsn: str, tmp_path: Path, kubernetes: FakeKubernetes) -> AsyncIterator[Replicas]:
    reservation = PortReservation(3)
    environ = {
        **replica_environment(dsn, tmp_path),
        "KUBECONFIG": str(kubernetes.write_kubeconfig(tmp_path / "kubeconfig")),
        "OUTBOX_LEASE": "3",
        "OUTBOX_BATCH_SIZE": str(_BATCH),
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
    async with customers(replicas.urls, party="chaos") as people:

        async def sign_up(number: int) -> None:
            email, tries = people.address(), 1 if number % 10 else 2
            # Some do not wait for the answer, and send the same again, to another replica.
            found = await asyncio.gather(*(people.insist(email, key=email, seconds=120) for _ in range(tries)))
            assert len({str(answer.content["customer"]) for answer in found}) == 1
            answers[email] = found[0]

        # Nothing is applied until all have their hands full: who is killed then leaves work undone.
        kubernetes.gate.clear()
        signing_up = asyncio.gather(*map(sign_up, range(_SIGNUPS)))
        await kubernetes.wait_for(lambda: len(kubernetes.requests) == 3 * _BATCH)
        assert len(answers) < _SIGNUPS / 2
        ending = asyncio.create_task(replicas.end(0, by=signal.SIGTERM))
        killed = await replicas.end(1, by=signal.SIGKILL)
        kubernetes.gate.set()
        assert (await ending, killed) == (0, -signal.SIGKILL)
        await asyncio.gather(replicas.start(0), replicas.start(1))
        await signing_up
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
