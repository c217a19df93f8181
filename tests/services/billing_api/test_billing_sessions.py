"""Login, and what a session opens and does not open."""

import unicodedata

import jwt
import pytest

from billing_api.settings import Settings
from tests.services.billing_api.harness import Billing, Query, Start, changed
from tests.support.billing import session_of
from tests.support.clocks import pass_time


async def test_a_login_gives_the_fields_of_the_documents_and_a_session(billing: Billing) -> None:
    signup = await billing.new_customer()
    response = await billing.log_in("JOHN@example.com")
    answer = response.json()
    assert response.status_code == 200
    assert answer == {
        "customer_id": signup["customer"]["customer_id"],
        "email": "john@example.com",
        "license": signup["license"]["jwt"],
        "session": answer["session"],
    }
    status = await billing.client.get(signup["deployment"]["check_status_url"], headers=session_of(answer))
    assert status.status_code == 200


async def test_a_wrong_password_and_an_unknown_account_get_the_same_answer(billing: Billing) -> None:
    await billing.new_customer()
    wrong, unknown = await billing.log_in(password="SecurePass124"), await billing.log_in("nobody@example.com")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    assert {**wrong.json(), "instance": ""} == {**unknown.json(), "instance": ""}
    assert set(wrong.headers) == set(unknown.headers)
    assert "set-cookie" not in wrong.headers


@pytest.mark.parametrize("email", ["john@example.com", "nobody@example.com"])
@pytest.mark.parametrize("password", ["SecurePass124", "x", "x" * 73])
async def test_a_wrong_password_takes_the_same_work_whatever_it_is_and_whether_there_is_an_account(
    billing: Billing, email: str, password: str, verified: list[bytes]
) -> None:
    await billing.new_customer()
    assert (await billing.log_in(email, password)).status_code == 401
    assert verified == [b"$2b$10$"]


async def test_too_many_tries_for_one_account_are_429_even_with_the_right_password(
    start: Start, settings: Settings
) -> None:
    async with start(changed(settings, login_attempts_per_account=3, limit_window=60)) as billing:
        await billing.new_customer()
        tries = [(await billing.log_in(password="wrong password")).status_code for _ in range(3)]
        blocked = await billing.log_in()
        assert tries == [401] * 3
        assert blocked.status_code == 429
        assert 1 <= int(blocked.headers["retry-after"]) <= 60
        assert [error["field"] for error in blocked.json()["errors"]] == ["email"]


async def test_unknown_accounts_are_throttled_alike(start: Start, settings: Settings) -> None:
    async with start(changed(settings, login_attempts_per_account=1)) as billing:
        assert (await billing.log_in("nobody@example.com")).status_code == 401
        assert (await billing.log_in("nobody@example.com")).status_code == 429
        assert (await billing.log_in("somebody@example.com")).status_code == 401


async def test_counting_ends_with_the_window_and_with_a_success(
    start: Start, settings: Settings, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(changed(settings, login_attempts_per_account=2)) as billing:
        await billing.new_customer()
        await billing.log_in(password="wrong password")
        assert (await billing.log_in()).status_code == 200
        assert [(await billing.log_in(password="wrong password")).status_code for _ in range(2)] == [401] * 2
        assert (await billing.log_in()).status_code == 429
        query("UPDATE limits SET expires_at = now() WHERE calls > 0")
        # For so long it is not looked at again.
        pass_time(monkeypatch, 5)
        assert (await billing.log_in()).status_code == 200


async def test_a_customer_cannot_see_another_or_learn_that_there_is_one(billing: Billing) -> None:
    john, jane = await billing.new_customer("john@example.com"), await billing.new_customer("jane@example.com")
    foreign = await billing.client.get(jane["deployment"]["check_status_url"], headers=session_of(john))
    missing = await billing.client.get("/api/customers/cust-0/deployment/status", headers=session_of(john))
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert {**foreign.json(), "instance": ""} == {**missing.json(), "instance": ""}


async def test_a_browser_may_send_the_session_as_a_cookie(billing: Billing) -> None:
    signup = (await billing.sign_up()).json()
    assert (await billing.client.get(signup["deployment"]["check_status_url"])).status_code == 200


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer nonsense", "Basic am9objpwYXNz", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."],
)
async def test_without_a_valid_token_the_answer_is_401(billing: Billing, header: str | None) -> None:
    signup = await billing.new_customer()
    headers = {} if header is None else {"Authorization": header}
    response = await billing.client.get(signup["deployment"]["check_status_url"], headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert [error["field"] for error in response.json()["errors"]] == ["Authorization"]


async def test_a_license_is_no_session_token(billing: Billing) -> None:
    signup = await billing.new_customer()
    headers = {"Authorization": f"Bearer {signup['license']['jwt']}"}
    response = await billing.client.get(signup["deployment"]["check_status_url"], headers=headers)
    assert response.status_code == 401


async def test_a_token_signed_with_another_key_is_401(billing: Billing) -> None:
    signup = await billing.new_customer()
    payload = jwt.decode(signup["session"]["token"], options={"verify_signature": False})
    forged = jwt.encode(payload, b"x" * 32, algorithm="HS256")
    headers = {"Authorization": f"Bearer {forged}"}
    response = await billing.client.get(signup["deployment"]["check_status_url"], headers=headers)
    assert response.status_code == 401


async def test_an_expired_session_is_401(billing: Billing, query: Query) -> None:
    signup = await billing.new_customer()
    query("UPDATE sessions SET expires_at = now()")
    response = await billing.client.get(signup["deployment"]["check_status_url"], headers=session_of(signup))
    assert response.status_code == 401


async def test_a_token_past_its_time_is_401_whatever_the_database_says(
    start: Start, settings: Settings, query: Query
) -> None:
    async with start(changed(settings, session_secret="s" * 32)) as billing:
        signup = await billing.new_customer()
        query("UPDATE sessions SET expires_at = 'infinity'")
        payload = jwt.decode(signup["session"]["token"], options={"verify_signature": False})
        answers = []
        for expires in (payload["exp"], payload["iat"] - 1):
            headers = {"Authorization": f"Bearer {jwt.encode({**payload, 'exp': expires}, 's' * 32)}"}
            answers.append(await billing.client.get(signup["deployment"]["check_status_url"], headers=headers))
    assert [answer.status_code for answer in answers] == [200, 401]
    assert answers[1].json()["errors"][0]["detail"] == "the session has ended"


async def test_after_logout_the_token_is_worth_nothing(billing: Billing) -> None:
    signup = await billing.new_customer()
    other = (await billing.log_in()).json()
    response = await billing.client.post("/api/customers/logout", headers=session_of(signup))
    assert response.status_code == 204
    assert 'billing_session=""' in response.headers["set-cookie"]
    url = signup["deployment"]["check_status_url"]
    assert (await billing.client.get(url, headers=session_of(signup))).status_code == 401
    assert (await billing.client.get(url, headers=session_of(other))).status_code == 200


async def test_a_logout_that_is_sent_again_is_answered_alike_until_the_token_expires(
    billing: Billing, query: Query
) -> None:
    session = session_of(await billing.new_customer())
    first, again = [await billing.client.post("/api/customers/logout", headers=session) for _ in range(2)]
    assert (first.status_code, again.status_code) == (204, 204)
    assert first.headers.get_list("set-cookie") == again.headers.get_list("set-cookie")
    query("UPDATE sessions SET expires_at = now()")
    assert (await billing.client.post("/api/customers/logout", headers=session)).status_code == 401


async def test_a_session_counts_in_every_replica(start: Start, settings: Settings) -> None:
    async with start(settings) as one, start(settings) as other:
        signup = await one.new_customer()
        response = await other.client.get(signup["deployment"]["check_status_url"], headers=session_of(signup))
        assert response.status_code == 200


async def test_sessions_end_when_the_secret_is_changed(start: Start, settings: Settings) -> None:
    async with start(settings) as one, start(changed(settings, session_secret="s" * 32)) as other:
        signup = await one.new_customer()
        response = await other.client.get(signup["deployment"]["check_status_url"], headers=session_of(signup))
        assert response.status_code == 401


async def test_a_session_begun_by_a_replica_whose_clock_is_ahead_is_valid(start: Start, settings: Settings) -> None:
    async with start(changed(settings, session_secret="s" * 32)) as billing:
        signup = await billing.new_customer()
        payload = jwt.decode(signup["session"]["token"], options={"verify_signature": False})
        ahead = jwt.encode({**payload, "iat": payload["iat"] + 60}, "s" * 32)
        headers = {"Authorization": f"Bearer {ahead}"}
        answer = await billing.client.get(signup["deployment"]["check_status_url"], headers=headers)
    assert answer.status_code == 200


async def test_a_password_is_the_same_however_its_letters_are_composed(billing: Billing) -> None:
    composed = unicodedata.normalize("NFC", "Schl\u00fcsselw\u00f6rter")
    decomposed = unicodedata.normalize("NFD", composed)
    assert (await billing.sign_up(password=composed)).status_code == 201
    assert (await billing.log_in(password=decomposed)).status_code == 200
    assert (await billing.sign_up("jane@example.com", password=decomposed)).status_code == 201
    assert (await billing.log_in("jane@example.com", password=composed)).status_code == 200


async def test_of_too_many_sessions_the_oldest_end(billing: Billing, query: Query) -> None:
    john, jane = await billing.new_customer(), await billing.new_customer("jane@example.com")
    customer, url = john["customer"]["customer_id"], john["deployment"]["check_status_url"]
    query("UPDATE sessions SET created_at = now() - interval '1 hour'")
    # One was ended by hand, and takes nobody's place.
    query(
        "INSERT INTO sessions SELECT gen_random_uuid(), %s, now() - interval '1 minute', now() + interval '1 hour', "
        "CASE WHEN number = 0 THEN now() END FROM generate_series(0, 48) AS number",
        customer,
    )
    newest = (await billing.log_in()).json()
    live = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL AND customer_id = %s"
    assert query(live, customer) == [{"count": 50}]
    assert (await billing.client.get(url, headers=session_of(john))).status_code == 200
    assert (await billing.log_in()).status_code == 200
    assert query(live, customer) == [{"count": 50}]
    assert (await billing.client.get(url, headers=session_of(john))).status_code == 401
    assert (await billing.client.get(url, headers=session_of(newest))).status_code == 200
    assert query(live, jane["customer"]["customer_id"]) == [{"count": 1}]
