"""Who is an administrator."""

import logging
from pathlib import Path

import pytest

from billing_api.accounts.commands import grant_admin, revoke_admin, verify
from billing_api.db import sessions
from billing_api.db.pool import Database
from billing_api.errors import CommandRefused
from tests.services.billing_api.harness import Billing, Query
from tests.support.billing import billing_process, replica_environment, session_of


async def _is_admin(database: Database, query: Query) -> bool:
    [row] = query("SELECT jti FROM sessions")
    async with database.transaction() as connection:
        holder = await sessions.holder_of(connection, row["jti"], revoked=False)
    assert holder is not None
    return holder.admin


async def test_a_right_granted_or_revoked_counts_at_once_in_sessions_that_exist(
    billing: Billing, database: Database, query: Query
) -> None:
    customer_id = (await billing.new_customer())["customer"]["customer_id"]
    assert not await _is_admin(database, query)
    assert await grant_admin(database, " John@EXAMPLE.com") == f"{customer_id} is an administrator now"
    assert await _is_admin(database, query)
    assert await revoke_admin(database, "john@example.com") == f"{customer_id} is no administrator any more"
    assert not await _is_admin(database, query)


async def test_an_administrator_sees_every_customer_and_nobody_else_does(billing: Billing, database: Database) -> None:
    john, jane = await billing.new_customer("john@example.com"), await billing.new_customer("jane@example.com")

    async def look() -> int:
        url = jane["deployment"]["check_status_url"]
        return (await billing.client.get(url, headers=session_of(john))).status_code

    assert await look() == 404
    await grant_admin(database, "john@example.com")
    assert await look() == 200
    await revoke_admin(database, "john@example.com")
    assert await look() == 404


@pytest.mark.parametrize(
    ("email", "why"), [("jane@example.com", "no account has this address"), ("jane", "must be an e-mail address")]
)
async def test_an_address_without_account_is_refused_with_the_cure(
    billing: Billing, database: Database, query: Query, email: str, why: str
) -> None:
    await billing.new_customer()
    with pytest.raises(CommandRefused, match=f"^EMAIL.*{why}"):
        await grant_admin(database, email)
    assert query("SELECT * FROM customers WHERE role = 'admin'") == []


async def test_the_log_has_the_customer_and_not_the_address(
    billing: Billing, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    customer_id = (await billing.new_customer())["customer"]["customer_id"]
    caplog.set_level(logging.INFO)
    await grant_admin(database, "john@example.com")
    assert f"Customer {customer_id} has the role admin" in caplog.text
    assert "john" not in caplog.text


async def test_a_customer_who_is_known_counts_as_verified_from_then_on(
    billing: Billing, database: Database, query: Query
) -> None:
    customer_id = (await billing.new_customer())["customer"]["customer_id"]
    assert await verify(database, " John@EXAMPLE.com") == f"The address of {customer_id} is verified"
    [first] = query("SELECT email_verified_at FROM customers")
    assert first["email_verified_at"] is not None
    await verify(database, "john@example.com")
    assert query("SELECT email_verified_at FROM customers") == [first]
    with pytest.raises(CommandRefused, match="no account has this address"):
        await verify(database, "jane@example.com")


async def test_a_pool_larger_than_the_database_allows_is_warned_of_at_the_start(dsn: str, tmp_path: Path) -> None:
    environ = replica_environment(dsn, tmp_path) | {"DATABASE_POOL_SIZE": "200"}
    async with billing_process(environ) as process:
        await process.until(
            "DATABASE_POOL_SIZE=200: each process needs 203 connections, and the database allows 97 in all"
        )
