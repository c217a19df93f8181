"""Throws away what has expired: sessions, idempotency keys, counted calls."""

import asyncio
import logging

from psycopg import sql

from billing_api.db.pool import Database
from billing_api.errors import DatabaseUnavailable

#: Expired rows are ignored by every query; they only take space.
_EVERY_SECONDS = 3600.0
_TABLES = ("sessions", "idempotency_keys", "limits")

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
    """Delete all expired rows; return how many."""
    deleted = 0
    async with database.transaction() as connection:
        for table in _TABLES:
            statement = sql.SQL("DELETE FROM {} WHERE expires_at < now()").format(sql.Identifier(table))
            deleted += (await connection.execute(statement)).rowcount
    return deleted
