import asyncio
from typing import Any

import httpx
import psycopg
import pytest

from billing_api.db.pool import ANSWER_SECONDS
from billing_api.settings import Settings
from tests.services.billing_api.harness import Billing, Query, Start, changed
from tests.support.billing import session_of


def _without_session(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "session"}


async def test_the_same_request_with_the_same_key_gives_the_same_answer_and_creates_nothing(
    billing: Billing, query: Query
) -> None:
    first, second = await billing.sign_up(key="k"), await billing.sign_up(key="k")
    assert (first.status_code, second.status_code) == (201, 201)
    assert _without_session(first.json()) == _without_session(second.json())
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(query("SELECT * FROM customers")) == len(query("SELECT * FROM outbox")) == 1


async def test_a_replayed_answer_brings_a_session_that_works(billing: Billing) -> None:
    await billing.sign_up(key="k")
    replayed = (await billing.sign_up(key="k")).json()
    billing.client.cookies.clear()
    response = await billing.client.get(replayed["deployment"]["check_status_url"], headers=session_of(replayed))
    assert response.status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"email": "jane@example.com"},
        {"email": "John@example.com"},
        {"password": "AnotherPass123"},
        {"company_name": "Other Corp"},
        {"full_name": "John Doe"},
    ],
)
async def test_another_request_with_the_same_key_is_422(billing: Billing, query: Query, change: dict[str, str]) -> None:
    await billing.sign_up(key="k")
    response = await billing.sign_up(**{"email": "john@example.com", "key": "k", **change})
    assert response.status_code == 422
    assert response.json()["type"] == "urn:iotistic:problem:idempotency-key-reused"
    assert [error["field"] for error in response.json()["errors"]] == ["Idempotency-Key"]
    assert len(query("SELECT * FROM customers")) == 1


async def test_of_ten_same_requests_at_once_one_does_the_work_and_all_get_its_answer(
    billing: Billing, query: Query
) -> None:
    responses = await asyncio.gather(*(billing.sign_up(key="k") for _ in range(10)))
    answers = [_without_session(response.json()) for response in responses]
    assert [response.status_code for response in responses] == [201] * 10
    assert all(answer == answers[0] for answer in answers)
    assert len(query("SELECT * FROM customers")) == 1


async def test_of_different_requests_with_one_key_at_once_one_does_the_work_and_the_others_are_422(
    start: Start, settings: Settings, query: Query
) -> None:
    async with start(settings) as one, start(settings) as other:
        replicas = enumerate((one, other) * 4)
        responses = await asyncio.gather(
            *(replica.sign_up(f"{number}@example.com", key="k") for number, replica in replicas)
        )
    assert sorted(response.status_code for response in responses) == [201] + [422] * 7
    [first] = [response.json() for response in responses if response.status_code == 201]
    for table in ("customers", "licenses", "outbox", "idempotency_keys"):
        assert len(query(f"SELECT * FROM {table}")) == 1
    assert query("SELECT email FROM customers") == [{"email": first["customer"]["email"]}]


async def test_a_replay_with_a_wrong_password_counts_like_a_login(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_account=3)) as billing:
        await billing.sign_up(key="k")
        tries = [await billing.sign_up(key="k", password="wrong password") for _ in range(3)]
        assert [response.status_code for response in tries] == [422] * 3
        for blocked in (await billing.sign_up(key="k"), await billing.log_in()):
            assert blocked.status_code == 429
            assert 1 <= int(blocked.headers["retry-after"]) <= 900
        # And the other way round, for all that has to do with this account.
        assert (await billing.sign_up("jane@example.com", key="j")).status_code == 201
        assert [(await billing.log_in("jane@example.com", "wrong")).status_code for _ in range(3)] == [401] * 3
        assert (await billing.sign_up("jane@example.com", key="j")).status_code == 429


async def test_of_many_wrong_replays_at_once_no_more_than_the_limit_are_looked_at(
    start: Start, settings: Settings
) -> None:
    async with start(changed(settings, login_attempts_per_account=3)) as billing:
        await billing.sign_up(key="k")
        tries = await asyncio.gather(*(billing.sign_up(key="k", password="wrong password") for _ in range(9)))
        assert sorted(response.status_code for response in tries) == [422] * 3 + [429] * 6


async def test_a_right_replay_uses_up_no_try(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_account=1, login_attempts_per_address=1)) as billing:
        replays = [(await billing.sign_up(key="k")).status_code for _ in range(4)]
        assert replays == [201] * 4


async def test_a_replay_does_not_tell_whether_the_password_or_the_rest_is_wrong(
    billing: Billing, verified: list[bytes]
) -> None:
    await billing.sign_up(key="k")
    password = await billing.sign_up(key="k", password="wrong password")
    company = await billing.sign_up(key="k", company_name="Other Corp")
    assert {**password.json(), "instance": ""} == {**company.json(), "instance": ""}
    assert set(password.headers) == set(company.headers)
    assert (password.status_code, company.status_code) == (422, 422)
    # The same work, and so the same time.
    assert verified == [b"$2b$10$"] * 2


@pytest.mark.parametrize("answer_seconds", [ANSWER_SECONDS])
async def test_a_request_behind_one_that_takes_long_is_409(billing: Billing, dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as other:
        await other.execute(
            "INSERT INTO idempotency_keys VALUES ('signup', 'k', '', 'cust-of-the-other', now() + interval '1 hour')"
        )
        # With the time limit that callers meet, for a shorter one would hide that they wait too long.
        async with asyncio.timeout(10):
            response = await billing.sign_up(key="k")
        await other.rollback()
        assert response.status_code == 409
        assert response.json()["type"] == "urn:iotistic:problem:request-in-progress"
        assert response.headers["retry-after"] == "1"
        assert (await billing.sign_up(key="k")).status_code == 201


async def test_of_two_bodies_at_once_under_one_key_one_is_taken_and_the_other_refused(
    billing: Billing, query: Query
) -> None:
    bodies = [{"email": f"user{number % 2}@example.com", "key": "k"} for number in range(10)]
    responses = await asyncio.gather(*(billing.sign_up(**body) for body in bodies))
    answered = {(response.status_code, body["email"]) for response, body in zip(responses, bodies, strict=True)}
    [customer] = query("SELECT email FROM customers")
    refused = "user0@example.com" if customer["email"] == "user1@example.com" else "user1@example.com"
    assert answered == {(201, customer["email"]), (422, refused)}
    assert len(query("SELECT * FROM outbox")) == 1


async def test_a_key_counts_for_a_day(billing: Billing, query: Query) -> None:
    await billing.sign_up(key="k")

    async def after(time: str) -> httpx.Response:
        query("UPDATE idempotency_keys SET expires_at = expires_at - %s::interval", time)
        return await billing.sign_up("jane@example.com", key="k")

    assert (await after("23 hours 58 minutes")).status_code == 422
    response = await after("2 minutes")
    assert response.status_code == 201
    assert "idempotency-replayed" not in response.headers


async def test_a_failed_request_leaves_its_key_free(billing: Billing) -> None:
    await billing.new_customer("john@example.com")
    assert (await billing.sign_up("john@example.com", key="k")).status_code == 409
    assert (await billing.sign_up("jane@example.com", key="k")).status_code == 201


async def test_only_a_keyed_fingerprint_of_the_request_is_kept(billing: Billing, query: Query) -> None:
    await billing.sign_up(key="k")
    [row] = query("SELECT * FROM idempotency_keys")
    assert set(row) == {"operation", "key", "fingerprint", "customer_id", "expires_at"}
    assert len(row["fingerprint"]) == 32
