import asyncio
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import jwt
import psycopg
import pytest

from billing_api.accounts.signup import Signups
from billing_api.accounts.signup import instance_name as name_of
from billing_api.licensing.keys import SigningKey
from billing_api.settings import Settings
from tests.services.billing_api.harness import Billing, Query, Start
from tests.support.billing import PASSWORD, instance_name


async def test_the_answer_has_the_fields_of_the_documents(billing: Billing) -> None:
    response = await billing.sign_up(full_name="John Doe")
    answer = response.json()
    customer_id, name = answer["customer"]["customer_id"], instance_name(answer)
    ends = datetime.fromisoformat(answer["subscription"]["trial_ends_at"])
    assert response.status_code == 201
    assert answer["message"] == "Account created successfully! Your 14-day trial has started."
    assert answer["customer"] == {
        "customer_id": customer_id,
        "email": "john@example.com",
        "company_name": "Acme Corp",
    }
    assert answer["subscription"] == {
        "plan": "starter",
        "status": "trialing",
        "trial_ends_at": answer["license"]["expires_at"],
        "trial_days_remaining": 14,
    }
    assert timedelta(days=13, hours=23) < ends - datetime.now(UTC) <= timedelta(days=14)
    assert set(answer["license"]) == {"jwt", "expires_at", "features"}
    assert (
        answer["license"]["features"].items() >= {"maxDevices": 10, "dataRetentionDays": 90, "alerting": True}.items()
    )
    assert answer["deployment"] == {
        "status": "queued",
        "job_id": f"{name}-g1",
        "instance_url": f"https://{name}.iotistic.cloud",
        "estimated_time": "2-5 minutes",
        "check_status_url": f"/api/customers/{customer_id}/deployment/status",
    }
    assert response.headers["location"] == answer["deployment"]["check_status_url"]
    assert response.headers["cache-control"] == "no-store"


async def test_the_license_is_for_this_customers_instance(billing: Billing, signing_key: SigningKey) -> None:
    answer = (await billing.sign_up()).json()
    claims = jwt.decode(
        answer["license"]["jwt"],
        signing_key.private.public_key(),
        algorithms=["RS256"],
        audience=f"customer-instance:{instance_name(answer)}",
        issuer="https://billing.iotistic.cloud",
    )
    expires = datetime.fromtimestamp(claims["exp"], UTC)
    assert (claims["sub"], claims["plan"]) == (answer["customer"]["customer_id"], "trial")
    assert expires == datetime.fromisoformat(answer["license"]["expires_at"])


async def test_all_that_belongs_to_an_account_is_stored(billing: Billing, query: Query) -> None:
    answer = (await billing.sign_up(full_name="John Doe")).json()
    customer_id = answer["customer"]["customer_id"]
    [customer] = query("SELECT * FROM customers")
    [license] = query("SELECT * FROM licenses")
    assert (customer["customer_id"], customer["full_name"]) == (customer_id, "John Doe")
    assert customer["password_hash"].startswith("$2b$10$")
    assert license["jwt"] == answer["license"]["jwt"]
    assert [
        {"plan": "starter", "status": "trialing", "customer_id": customer_id},
    ] == query("SELECT plan, status, customer_id FROM subscriptions")
    assert [
        {"action": "generated", "type": "trial_signup", "customer_id": customer_id, "license_jti": license["jti"]},
    ] == query("SELECT action, type, customer_id, license_jti FROM license_history")
    assert [{"state": "pending", "subject": customer_id}] == query("SELECT state, subject FROM outbox")


async def test_the_password_is_neither_stored_nor_logged(
    billing: Billing, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = (await billing.sign_up(key="one")).json()
    tables = [row["tablename"] for row in query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    stored = "".join(str(query(f"SELECT * FROM {table}")) for table in tables)
    assert "john@example.com" in stored
    assert PASSWORD not in stored
    assert answer["session"]["token"] not in stored
    for secret in (PASSWORD, answer["license"]["jwt"], answer["session"]["token"]):
        assert secret not in caplog.text


async def test_an_address_can_sign_up_once_whatever_its_case(billing: Billing) -> None:
    await billing.sign_up("john@example.com")
    response = await billing.sign_up("John@EXAMPLE.com")
    assert response.status_code == 409
    assert response.json()["type"] == "urn:iotistic:problem:email-taken"
    assert [error["field"] for error in response.json()["errors"]] == ["email"]


async def test_of_twenty_signups_of_one_address_at_once_one_succeeds(billing: Billing, query: Query) -> None:
    addresses = ["john@example.com", "JOHN@example.com"] * 10
    responses = await asyncio.gather(*map(billing.sign_up, addresses))
    assert sorted(response.status_code for response in responses) == [201] + [409] * 19
    for table in ("customers", "subscriptions", "licenses", "license_history", "outbox"):
        assert query(f"SELECT count(*) FROM {table}") == [{"count": 1}]


async def test_postgresql_does_not_write_an_address_that_is_taken_to_its_log(
    start: Start, settings: Settings, dsn: str, query: Query
) -> None:
    # Whatever its own settings are, for this database it logs all it can.
    database = psycopg.conninfo.conninfo_to_dict(dsn)
    for setting in ("log_error_verbosity = verbose", "log_min_error_statement = error"):
        query(f"ALTER DATABASE {database['dbname']} SET {setting}")
    async with start(settings) as billing:
        await billing.sign_up("only-here@example.com")
        assert (await billing.sign_up("Only-here@example.com")).status_code == 409
        with psycopg.connect(dsn) as connection, pytest.raises(psycopg.Error):
            connection.execute("SELECT 1/0 AS a_statement_that_fails")
    text = (Path(str(database["host"])) / "log").read_text(errors="replace")
    assert "a_statement_that_fails" in text
    assert "only-here@example.com" not in text.lower()


async def test_a_bad_signup_names_every_field(billing: Billing) -> None:
    response = await billing.client.post("/api/customers/signup", json={"email": "john", "password": "short"})
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["email", "password", "company_name"]


async def test_a_name_that_is_taken_is_drawn_again(
    billing: Billing, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    first, twin, other = uuid4(), uuid4(), uuid4()
    twin = UUID(hex=first.hex[:12] + twin.hex[12:])
    drawn = iter([first, twin, other])
    billing.services.get(Signups)._new_id = lambda: next(drawn)
    answers = [(await billing.sign_up(email)).json() for email in ("a@example.com", "b@example.com")]
    assert [instance_name(answer) for answer in answers] == [name_of(first), name_of(other)]
    assert len(query("SELECT * FROM customers")) == 2
    assert f"Instance name {name_of(first)} is taken" in caplog.text


async def test_the_session_arrives_as_an_http_only_cookie_too(billing: Billing) -> None:
    response = await billing.sign_up()
    cookie = response.headers["set-cookie"]
    assert cookie.startswith(f"__Host-billing_session={response.json()['session']['token']}; ")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=lax", "secure", "path=/"} <= attributes


def test_instance_names_are_dns_labels_that_start_with_a_letter() -> None:
    assert name_of(UUID("b4c867f4-4a92-453a-ba8a-2fe3fe5d6e5e")) == "cb4c867f44a92"
