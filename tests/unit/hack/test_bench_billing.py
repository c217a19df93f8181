"""The benchmark of the billing API counts what it says: against a server of the test's own, and on made-up outcomes."""

import asyncio
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from aiohttp import web

from hack.bench.billing_report import SUBJECTS, Figures, Measured, table
from hack.bench.disturbed import Damage, Promise, count_damage
from hack.bench.signups import Load, customers, percentile
from hack.ports import PortReservation

ADA = Promise(email="ada@x.example", customer_id="cust-1", instance="c1")
BOB = Promise(email="bob@x.example", customer_id="cust-2", instance="c2")
ACCOUNTS = [(ADA.email, ADA.customer_id), (BOB.email, BOB.customer_id)]


class Desk:
    """Takes signups one after another; `answers` are given first, `keys` are those it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.seconds = 0.0
        self.answers: list[tuple[int, dict[str, Any]]] = []
        self.keys: list[str] = []
        self._free = asyncio.Lock()

    async def sign_up(self, request: web.Request) -> web.Response:
        """Answer as the billing API does, after the time that each takes."""
        self.keys.append(request.headers["Idempotency-Key"])
        async with self._free:
            await asyncio.sleep(self.seconds)
        status, content = self.answers.pop(0) if self.answers else (201, {})
        return web.json_response(content, status=status, headers={"Retry-After": "0"})


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made, app = Desk(), web.Application()
    app.router.add_post("/api/customers/signup", made.sign_up)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def _instance(promise: Promise, **changes: str) -> dict[str, Any]:
    name, email, customer_id = promise.order
    customer = {"id": customer_id, "email": email, **changes}
    return {"metadata": {"name": name}, "spec": {"customer": customer}}


def _count(accounts: list[tuple[str, str]], instances: list[dict[str, Any]]) -> tuple[int, int, int, int]:
    found = count_damage([ADA, BOB], accounts=accounts, instances=instances, signups=2, recovery_s=0)
    return found.lost_accounts, found.lost_instances, found.doubled_accounts, found.doubled_instances


def test_when_all_is_there_once_nothing_is_lost_or_doubled() -> None:
    assert _count(ACCOUNTS, [_instance(ADA), _instance(BOB)]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("accounts", "instances", "found"),
    [
        (ACCOUNTS[:1], [_instance(ADA), _instance(BOB)], (1, 0, 0, 0)),
        ([ACCOUNTS[0], (BOB.email, "cust-3")], [_instance(ADA), _instance(BOB)], (1, 0, 0, 0)),
        (ACCOUNTS, [_instance(ADA)], (0, 1, 0, 0)),
        (ACCOUNTS, [_instance(ADA), _instance(BOB, id="cust-1")], (0, 1, 0, 0)),
        ([*ACCOUNTS, (ADA.email, "cust-3")], [_instance(ADA), _instance(BOB)], (0, 0, 1, 0)),
        (
            ACCOUNTS,
            [_instance(ADA), _instance(BOB), _instance(Promise(email=ADA.email, customer_id="cust-3", instance="c3"))],
            (0, 0, 0, 1),
        ),
    ],
)
def test_what_is_missing_belongs_to_another_or_is_there_twice_is_counted(
    accounts: list[tuple[str, str]], instances: list[dict[str, Any]], found: tuple[int, int, int, int]
) -> None:
    assert _count(accounts, instances) == found


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_the_value_that_so_many_are_not_above(percent: float, value: float) -> None:
    assert percentile(Random(0).sample(range(1, 101), 100), percent) == value


async def test_at_a_steady_rate_a_server_that_falls_behind_cannot_hide_it(desk: Desk) -> None:
    desk.seconds = 0.05
    async with customers([desk.url], party="x") as people:
        load = await people.at_rate(40, seconds=1, random=Random(0))
    # Twice as many come as it can take: the last has waited for about half of all, though each takes 50 ms.
    assert len(load.latencies) == len(desk.keys) > 25
    assert max(load.latencies) > 0.3
    assert len(set(desk.keys)) == len(desk.keys)


async def test_at_saturation_every_client_sends_its_next_signup_when_the_last_is_answered(desk: Desk) -> None:
    desk.seconds = 0.02
    desk.answers = [(503, {})]
    async with customers([desk.url], party="x") as people:
        load = await people.saturating(3, seconds=0.5)
    assert load.failures == 1
    assert len(load.latencies) > 3
    assert load.per_second == len(load.latencies) / 0.5


async def test_who_insists_tries_the_next_replica_with_the_same_key_until_it_is_taken(desk: Desk) -> None:
    in_progress = {"type": "urn:iotistic:problem:request-in-progress"}
    desk.answers = [(503, {}), (429, {}), (409, in_progress)]
    reservation = PortReservation(1)
    async with customers([f"http://127.0.0.1:{reservation.ports[0]}", desk.url], party="x") as people:
        answer = await people.insist("ada@x.example", key="k", seconds=60)
    reservation.release()
    assert answer.taken
    assert desk.keys == ["k"] * 4


async def test_who_is_refused_for_good_does_not_insist(desk: Desk) -> None:
    desk.answers = [(409, {"type": "urn:iotistic:problem:email-taken"})]
    async with customers([desk.url], party="x") as people:
        answer = await people.insist("ada@x.example", key="k", seconds=60)
    assert (answer.status, answer.taken, len(desk.keys)) == (409, False, 1)


def test_the_last_line_has_the_figures_that_are_promised_and_the_table_every_subject() -> None:
    load = Load(seconds=2, latencies=[0.1] * 20)
    figures = Figures(rate=5, clients=16, processors=2, bcrypt=load, bcrypt_one_at_a_time=load)
    figures.signups = {subject: Measured(steady=load, saturated=Load(seconds=2)) for subject in SUBJECTS}
    figures.damage = Damage(
        signups=200,
        refused=0,
        lost_accounts=1,
        lost_instances=2,
        doubled_accounts=3,
        doubled_instances=4,
        recovery_s=1,
    )
    shown = json.loads(json.dumps(figures.as_json(), allow_nan=False))
    promised = {"signup_p95_ms": 100.0, "signup_without_hash_p95_ms": 100.0, "signups_per_s": 0.0}
    assert shown.items() >= {**promised, "lost": 3, "doubled": 7, "bcrypt_per_s": 10.0}.items()
    assert all(str(subject) in table(figures) for subject in SUBJECTS)
