"""What the license does not let the instance keep: readings older than dataRetentionDays go, once an hour."""

import asyncio
import logging
from typing import Final, LiteralString

import psycopg

from reference_api.database import Database
from reference_api.errors import Unavailable
from reference_api.migrations import READING_TABLES

_EVERY_SECONDS: Final = 3600
_OLD: Final[LiteralString] = """
    DELETE FROM {table} WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM {table} WHERE time < now() - make_interval(days => %s) LIMIT %s))
"""
_USAGE: Final = "DELETE FROM daily_usage WHERE day < current_date - 7"

log = logging.getLogger(__name__)


async def keep_tidy(database: Database, *, days: int | None) -> None:
    """Delete what is too old, again and again; None keeps readings for ever."""
    while True:
        try:
            await _tidy(database, days)
        except (Unavailable, psycopg.Error) as error:
            log.warning("old readings stay for now: %s", type(error).__name__)
        await asyncio.sleep(_EVERY_SECONDS)


async def _tidy(database: Database, days: int | None) -> None:
    async with database.transaction() as connection:
        await connection.execute(_USAGE)
    for table in READING_TABLES if days is not None else ():
        await database.delete_in_parts(_OLD.format(table=table), days)
