"""How many stacks there may be of customers whose e-mail address nobody has verified."""

import asyncio
from collections import Counter

import pytest

from billing_api.settings import Settings
from tests.services.billing_api.harness import Billing, Query, Start, changed

HOME, ELSEWHERE = "203.0.113.7", "198.51.100.9"


@pytest.fixture
def two(settings: Settings) -> Settings:
    return changed(settings, unverified_stacks_per_address=2)


async def _sign_up(billing: Billing, number: int) -> int:
    return (await billing.sign_up(f"{number}@example.com")).status_code


async def test_past_the_bound_an_address_gets_no_stack_more(start: Start, two: Settings, query: Query) -> None:
    async with start(two) as billing:
        home = billing.at(HOME)
        assert [await _sign_up(home, number) for number in range(2)] == [201, 201]
        refused = await home.sign_up("3@example.com", key="k")
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:iotistic:problem:too-many-stacks"
        assert [error["field"] for error in refused.json()["errors"]] == ["client"]
        # The trials end in 14 days.
        assert 13.9 * 86400 < int(refused.headers["retry-after"]) <= 14 * 86400
        assert await _sign_up(billing.at(ELSEWHERE), 4) == 201
        assert len(query("SELECT * FROM outbox")) == 3


async def test_retry_after_is_when_the_first_of_those_that_are_too_many_ends(
    start: Start, two: Settings, query: Query
) -> None:
    async with start(two) as billing:
        home = billing.at(HOME)
        for number, hours in enumerate((3, 2)):
            await home.new_customer(f"{number}@example.com")
            query(
                "UPDATE subscriptions SET trial_ends_at = now() + make_interval(hours => %s) "
                "FROM customers WHERE customers.customer_id = subscriptions.customer_id AND email_key = %s",
                hours,
                f"{number}@example.com",
            )
        refused = await home.sign_up("3@example.com")
        assert 1.9 * 3600 < int(refused.headers["retry-after"]) <= 2 * 3600


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE customers SET email_verified_at = now()",
        "UPDATE subscriptions SET trial_ends_at = now()",
        "UPDATE subscriptions SET status = 'active'",
    ],
)
async def test_only_running_trials_of_unverified_customers_count(
    start: Start, two: Settings, query: Query, change: str
) -> None:
    async with start(two) as billing:
        home = billing.at(HOME)
        assert [await _sign_up(home, number) for number in range(3)] == [201, 201, 429]
        query(change)
        assert await _sign_up(home, 4) == 201


async def test_signups_at_once_do_not_pass_the_bound_together(start: Start, two: Settings, query: Query) -> None:
    async with start(two) as one, start(two) as other:
        replicas = [replica.at(HOME) for replica in (one, other)] * 4
        answers = await asyncio.gather(*(_sign_up(replica, number) for number, replica in enumerate(replicas)))
    assert Counter(answers) == {201: 2, 429: 6}
    assert len(query("SELECT * FROM customers")) == 2


async def test_a_network_has_ten_times_the_room_of_an_address(start: Start, settings: Settings) -> None:
    async with start(changed(settings, unverified_stacks_per_address=1)) as billing:
        answers = [await _sign_up(billing.at(f"2001:db8:0:{number:x}::1"), number) for number in range(11)]
        assert answers == [*[201] * 10, 429]
        assert await _sign_up(billing.at("2001:db8:1::1"), 11) == 201


async def test_in_all_there_is_room_for_so_many_and_who_runs_out_first_is_told(
    start: Start, settings: Settings, query: Query
) -> None:
    async with start(changed(settings, unverified_stacks_in_all=3, unverified_stacks_per_address=2)) as billing:
        home, elsewhere, far = billing.at(HOME), billing.at(ELSEWHERE), billing.at("192.0.2.1")
        assert [await _sign_up(home, number) for number in range(3)] == [201, 201, 429]
        assert await _sign_up(elsewhere, 4) == 201
        refused = await far.sign_up("5@example.com")
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:iotistic:problem:too-many-stacks")
        assert "too many trials run already, whose" in refused.json()["detail"]
        assert 13.9 * 86400 < int(refused.headers["retry-after"]) <= 14 * 86400
        metrics = (await billing.client.get("/metrics")).text
        for per in ("address", "all"):
            assert f'billing_limited_total{{name="stack",per="{per}"}} 1.0' in metrics
        query("UPDATE customers SET email_verified_at = now() WHERE email_key = '0@example.com'")
        assert await _sign_up(far, 6) == 201


async def test_a_refused_signup_leaves_its_key_free_and_an_earlier_one_is_answered_past_the_bound(
    start: Start, two: Settings, query: Query
) -> None:
    async with start(two) as billing:
        home = billing.at(HOME)
        assert [(await home.sign_up(f"{name}@example.com", key=name)).status_code for name in "abc"] == [201, 201, 429]
        replayed = await home.sign_up("a@example.com", key="a")
        assert (replayed.status_code, replayed.headers["idempotency-replayed"]) == (201, "true")
        query("UPDATE customers SET email_verified_at = now()")
        later = await home.sign_up("c@example.com", key="c")
        assert later.status_code == 201
        assert "idempotency-replayed" not in later.headers
