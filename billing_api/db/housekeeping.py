"""Throws away what has expired: sessions, idempotency keys, counted calls, rows of the outbox long done."""

import asyncio
import logging

from psycopg import sql

from billing_api.db import outbox
from billing_api.db.pool import Database
from billing_api.errors import DatabaseUnavailable

#: Expired rows are ignored by every query; they only take space.
_EVERY_SECONDS = 3600.0
_OUTBOX_DAYS = 30
#: Nobody waits for it.
_SECONDS = 30.0
_TABLES = ("sessions", "idempotency_keys", "limits")
#: Few enough to be deleted in the time a request may take, however many have expired.
_BATCH = 1000

log = logging.getLogger(__name__)


async def run(database: Database) -> None:
    """Sweep now and then once an hour, until cancelled. An outage of the database skips a sweep."""
    while True:
        try:
            await sweep(database)
        except DatabaseUnavailable as error:
            log.warning("Expired rows stay for another hour: %s", error)
        await asyncio.sleep(_EVERY_SECONDS)


async def sweep(database: Database) -> int:
    """Delete all expired rows, and rows of the outbox long done; return how many."""
    expired = sum([await _sweep_table(database, table) for table in _TABLES])
    async with database.transaction(seconds=_SECONDS) as connection:
        return expired + await outbox.forget_done(connection, days=_OUTBOX_DAYS)


async def _sweep_table(database: Database, table: str) -> int:
    deleted = 0
    while True:
        batch = await _delete_batch(database, table)
        deleted += batch
        if batch < _BATCH:
            return deleted


async def _delete_batch(database: Database, table: str) -> int:
    """Delete some expired rows; return how many. Those that another process deletes just now are left to it."""
    statement = sql.SQL("""
        DELETE FROM {table} WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM {table} WHERE expires_at < now() LIMIT {batch} FOR UPDATE SKIP LOCKED))
    """).format(table=sql.Identifier(table), batch=sql.Literal(_BATCH))
    async with database.transaction(seconds=_SECONDS) as connection:
        return (await connection.execute(statement)).rowcount
