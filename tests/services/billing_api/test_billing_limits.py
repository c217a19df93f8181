"""How often accounts may be tried and made, counted by all replicas together."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable

import httpx
import pytest

from billing_api.accounts import passwords
from billing_api.db import limits as rows
from billing_api.db.pool import Database
from billing_api.settings import Settings
from tests.services.billing_api.harness import Billing, Query, Start, changed
from tests.support.clocks import pass_time

HOME, ELSEWHERE, FAR = "203.0.113.7", "198.51.100.9", "192.0.2.1"
WRONG = "wrong password"


def _statuses(responses: Iterable[httpx.Response]) -> list[int]:
    return [response.status_code for response in responses]


async def test_replicas_count_together(start: Start, settings: Settings) -> None:
    few = changed(settings, login_attempts_per_account=3)
    async with start(few) as one, start(few) as other:
        await one.new_customer()
        tries = [await replica.log_in(password=WRONG) for replica in (one, other, one)]
        assert _statuses(tries) == [401] * 3
        assert _statuses([await one.log_in(), await other.log_in()]) == [429, 429]


async def test_of_many_tries_at_once_no_more_than_the_limit_are_looked_at(start: Start, settings: Settings) -> None:
    few = changed(settings, login_attempts_per_account=3)
    async with start(few) as one, start(few) as other:
        await one.new_customer()
        # Each from a place of its own: they meet at the account.
        strangers = [replica.at(f"10.{number}.0.1") for number, replica in enumerate((one, other) * 10)]
        tries = await asyncio.gather(*(stranger.log_in(password=WRONG) for stranger in strangers))
        assert Counter(_statuses(tries)) == {401: 3, 429: 17}


async def test_a_stranger_cannot_lock_the_owner_out_but_other_strangers(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_account=2)) as billing:
        home, elsewhere, far = billing.at(HOME), billing.at(ELSEWHERE), billing.at(FAR)
        await home.new_customer()
        assert _statuses([await elsewhere.log_in(password=WRONG) for _ in range(3)]) == [401, 401, 429]
        assert (await far.log_in()).status_code == 429
        assert (await home.log_in()).status_code == 200
        # Where the owner is known, tries are bounded too.
        assert _statuses([await home.log_in(password=WRONG) for _ in range(3)]) == [401, 401, 429]


async def test_a_place_is_known_after_a_login_from_there(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_account=2)) as billing:
        home, elsewhere, far = billing.at(HOME), billing.at(ELSEWHERE), billing.at(FAR)
        await home.new_customer()
        assert (await elsewhere.log_in()).status_code == 200
        assert _statuses([await far.log_in(password=WRONG) for _ in range(3)]) == [401, 401, 429]
        assert (await elsewhere.log_in()).status_code == 200


async def test_hosts_of_one_ipv6_network_count_as_one_address(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_address=1)) as billing:
        tries = [
            await billing.at(address).log_in(f"{number}@example.com")
            for number, address in enumerate(("2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"))
        ]
        assert _statuses(tries) == [401, 429, 401]
        assert [error["field"] for error in tries[1].json()["errors"]] == ["client"]
        assert "from your address" in tries[1].json()["detail"]


async def test_a_network_may_do_ten_times_what_an_address_may(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_address=1)) as billing:
        tries = [await billing.at(f"2001:db8:0:{number:x}::1").log_in(f"{number}@example.com") for number in range(11)]
        other = await billing.at("2001:db8:1::1").log_in("other@example.com")
        assert _statuses([*tries, other]) == [*[401] * 10, 429, 401]
        assert "from your network" in tries[10].json()["detail"]


async def test_signups_are_bounded_by_address_and_in_all_and_who_is_refused_uses_up_nothing(
    start: Start, settings: Settings
) -> None:
    async with start(changed(settings, signups_per_address=1, signups_in_all=2)) as billing:
        home, elsewhere, far = billing.at(HOME), billing.at(ELSEWHERE), billing.at(FAR)
        at_home = [await home.sign_up(f"{number}@example.com") for number in range(4)]
        assert _statuses(at_home) == [201, 429, 429, 429]
        assert (await elsewhere.sign_up("jane@example.com")).status_code == 201
        in_all = await far.sign_up("jim@example.com")
        assert in_all.status_code == 429
        assert in_all.json()["type"] == "urn:iotistic:problem:too-many-attempts"
        assert "at the moment" in in_all.json()["detail"]
        assert "from your address" in (await home.sign_up("jill@example.com")).json()["detail"]


async def test_who_has_tried_too_often_from_one_address_cannot_use_up_the_tries_of_an_account(
    start: Start, settings: Settings
) -> None:
    async with start(changed(settings, login_attempts_per_address=1, login_attempts_per_account=2)) as billing:
        elsewhere, far = billing.at(ELSEWHERE), billing.at(FAR)
        await billing.at(HOME).new_customer()
        assert _statuses([await elsewhere.log_in(password=WRONG) for _ in range(5)]) == [401, *[429] * 4]
        assert (await far.log_in()).status_code == 200


async def test_calls_that_an_account_refuses_do_not_use_up_the_tries_of_the_address(
    start: Start, settings: Settings
) -> None:
    async with start(changed(settings, login_attempts_per_address=2, login_attempts_per_account=1)) as billing:
        tries = [await billing.log_in("one@example.com") for _ in range(4)]
        assert _statuses(tries) == [401, 429, 429, 429]
        assert {error["field"] for response in tries[1:] for error in response.json()["errors"]} == {"email"}
        assert (await billing.log_in("other@example.com")).status_code == 401


async def test_logins_that_succeed_use_up_nothing(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_address=1, login_attempts_per_account=1)) as billing:
        await billing.new_customer()
        assert _statuses([await billing.log_in() for _ in range(4)]) == [200] * 4
        assert _statuses([await billing.log_in(password=WRONG) for _ in range(2)]) == [401, 429]


async def test_retry_after_is_when_no_limit_refuses_any_more(
    start: Start, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(changed(settings, login_attempts_per_address=1, login_attempts_per_account=1)) as billing:
        assert (await billing.log_in()).status_code == 401
        waits = []
        for [bucket] in (row.values() for row in query("SELECT bucket FROM limits")):
            query("UPDATE limits SET expires_at = now() + interval '1000 seconds'")
            query("UPDATE limits SET expires_at = now() + interval '5000 seconds' WHERE bucket = %s", bucket)
            # What was full a moment ago is not looked at.
            pass_time(monkeypatch, 5)
            waits.append(int((await billing.log_in()).headers["retry-after"]))
    # Address and account are full; the network has room for nine more.
    shorter, *longer = sorted(waits)
    assert 900 < shorter <= 1000
    assert len(longer) == 2
    assert all(4900 < seconds <= 5000 for seconds in longer)


async def test_a_window_ends_to_the_moment_and_retry_after_comes_right_after_it(database: Database) -> None:
    # Within a transaction PostgreSQL's clock stands still.
    async with database.transaction() as connection:

        async def tries(number: int) -> list[bool]:
            return [await rows.count(connection, b"x", most=2, window_seconds=900) for _ in range(number)]

        async def ends_in(interval: str) -> None:
            await connection.execute("UPDATE limits SET expires_at = now() + %s::interval", [interval])

        assert await tries(1) == [True]
        assert await rows.full(connection, [(b"x", 2)]) == {}
        assert await tries(2) == [True, False]
        assert await rows.full(connection, [(b"x", 2)]) == {b"x": 900}
        for interval, seconds in (("899.999 s", 900), ("1 s", 1), ("0.000001 s", 1)):
            await ends_in(interval)
            assert await tries(1) == [False]
            assert await rows.full(connection, [(b"x", 2)]) == {b"x": seconds}
        await ends_in("0 s")
        assert await rows.full(connection, [(b"x", 2)]) == {}
        assert await tries(3) == [True, True, False]
        assert await rows.full(connection, [(b"x", 2), (b"y", 2)]) == {b"x": 900}


async def test_of_one_call_taken_back_the_others_stay_counted(database: Database) -> None:
    async with database.transaction() as connection:
        for _ in range(2):
            assert await rows.count(connection, b"x", most=2, window_seconds=900)
        await rows.take_back(connection, b"x")
        counted = [await rows.count(connection, b"x", most=2, window_seconds=900) for _ in range(2)]
        assert counted == [True, False]


async def test_what_was_full_a_moment_ago_is_refused_without_the_database(
    start: Start, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(changed(settings, login_attempts_per_address=1)) as billing:
        assert _statuses([await billing.log_in(), await billing.log_in()]) == [401, 429]
        query("BEGIN")
        query("LOCK TABLE limits IN ACCESS EXCLUSIVE MODE")
        refused = [await billing.log_in(f"{number}@example.com") for number in range(5)]
        assert _statuses(refused) == [429] * 5
        assert all(880 < int(answer.headers["retry-after"]) <= 900 for answer in refused)
        # Other replicas may have made room meanwhile.
        pass_time(monkeypatch, 5)
        assert (await billing.log_in()).status_code == 503
        query("ROLLBACK")
        query("DELETE FROM limits")
        assert (await billing.log_in()).status_code == 401


async def test_a_flood_of_one_address_leaves_connections_to_all_others(
    start: Start, settings: Settings, query: Query
) -> None:
    async with start(changed(settings, login_attempts_per_address=1000)) as billing:
        flooding = billing.at(ELSEWHERE)
        assert (await flooding.log_in(password=WRONG)).status_code == 401
        # Its row is locked, so that whoever gets there stays as long as a statement may.
        query("BEGIN")
        query("SELECT * FROM limits FOR UPDATE")
        flood = [asyncio.create_task(_again_and_again(flooding)) for _ in range(60)]
        async with asyncio.timeout(30):
            while not query("SELECT 1 FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - nothing announces it
                await asyncio.sleep(0.005)
        others = [await billing.at(f"10.{number}.0.1").log_in(f"{number}@example.com") for number in range(10)]
        query("ROLLBACK")
        for task in flood:
            task.cancel()
        await asyncio.wait(flood)
    # On a busy machine one or the other may be told to come back; without any bound nearly all are.
    assert _statuses(others).count(401) >= 6


async def _again_and_again(billing: Billing) -> None:
    while True:
        await billing.log_in(password=WRONG)


async def test_who_gets_a_password_right_makes_room_at_once(
    start: Start, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted, full, verify = threading.Event(), threading.Event(), passwords.verify_password

    def verify_later(password: str, password_hash: str | None) -> bool:
        counted.set()
        full.wait(30)
        return verify(password, password_hash)

    async with start(changed(settings, login_attempts_per_address=1)) as billing:
        await billing.new_customer()
        monkeypatch.setattr(passwords, "verify_password", verify_later)
        first = asyncio.create_task(billing.log_in())
        assert await asyncio.to_thread(counted.wait, 30)
        assert (await billing.log_in("jane@example.com")).status_code == 429
        full.set()
        assert (await first).status_code == 200
        assert (await billing.log_in()).status_code == 200


async def test_nobody_s_address_is_stored_or_logged(
    billing: Billing, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    await billing.at(HOME).new_customer()
    for _ in range(12):
        await billing.at(HOME).log_in(password=WRONG)
    stored = f"{query('SELECT * FROM limits')}{query('SELECT signup_address, signup_network FROM customers')}"
    for part in (HOME, "203.0.113", "john"):
        assert part not in stored
        assert part not in "\n".join(record.getMessage() for record in caplog.records if record.name != "httpx")
    assert len(query("SELECT * FROM customers WHERE length(signup_address) = 32 AND length(signup_network) = 32")) == 1


async def test_what_was_refused_is_counted(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_account=1, signups_per_address=1)) as billing:
        await billing.new_customer()
        await billing.sign_up("jane@example.com")
        for _ in range(3):
            await billing.log_in(password=WRONG)
        text = (await billing.client.get("/metrics")).text
    assert 'billing_limited_total{name="login",per="account"} 2.0' in text
    assert 'billing_limited_total{name="signup",per="address"} 1.0' in text


async def test_a_signup_gets_through_a_flood_of_logins_that_are_too_many(start: Start, settings: Settings) -> None:
    async with start(changed(settings, password_queue=1, login_attempts_per_address=1000)) as billing:
        logins = [billing.log_in(f"{number}@example.com", WRONG) for number in range(60)]
        answers = await asyncio.gather(*logins[:30], billing.sign_up(), *logins[30:])
        signup = answers.pop(30)
    assert signup.status_code == 201
    assert set(_statuses(answers)) == {401, 503}
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.json()["type"] for answer in refused} == {"urn:iotistic:problem:service-unavailable"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
