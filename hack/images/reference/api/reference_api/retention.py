"""What the license does not let the instance keep: readings older than dataRetentionDays go, once an hour."""

import asyncio
import logging
from typing import Final, LiteralString

import psycopg

from reference_api.database import Database
from reference_api.errors import Unavailable

_EVERY_SECONDS: Final = 3600
_AT_ONCE: Final = 5000  # so that no statement takes long, whatever has gathered
_TABLES: Final[tuple[LiteralString, ...]] = ("readings", "latest_readings")
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
    for table in _TABLES if days is not None else ():
        deleted = _AT_ONCE
        while deleted == _AT_ONCE:
            async with database.transaction() as connection:
                deleted = (await connection.execute(_OLD.format(table=table), [days, _AT_ONCE])).rowcount
