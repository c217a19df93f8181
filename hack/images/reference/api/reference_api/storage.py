"""Readings into the database: a batch is one transaction, and what is stored already is not stored again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg

from reference_api import usage
from reference_api.readings import Reading

# Locked against a deletion at the same time, which would break the whole batch by the foreign key.
_KNOWN: Final = "SELECT name FROM devices WHERE name = ANY(%s) ORDER BY name FOR KEY SHARE"

_STORE: Final = """
    INSERT INTO readings
    SELECT * FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::float8[])
        ON CONFLICT DO NOTHING
"""
# In one order, so that the pods before and after an update do not wait for each other in a circle.
_LATEST: Final = """
    INSERT INTO latest_readings AS known
    SELECT DISTINCT ON (device, name) *
      FROM unnest(%s::text[], %s::text[], %s::timestamptz[], %s::float8[]) AS given (device, name, time, value)
     ORDER BY device, name, time DESC
        ON CONFLICT (device, name) DO UPDATE SET time = excluded.time, value = excluded.value
     WHERE known.time < excluded.time
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of a batch: readings stored, known before, of unknown devices, and beyond the day's amount."""

    new: int = 0
    repeated: int = 0
    unknown: int = 0
    over_limit: int = 0


def store(connection: psycopg.Connection, batch: Sequence[Reading], *, messages_per_day: int | None) -> Stored:
    """Store a batch and commit it. Raises psycopg.Error, and then nothing of it is stored."""
    with connection.transaction():
        names = list({reading.device for reading in batch})
        known = {row[0] for row in connection.execute(_KNOWN, [names])}
        readings = [reading for reading in batch if reading.device in known]
        allowed = readings[: _allowed(connection, len(readings), messages_per_day)]
        new = _insert(connection, allowed) if allowed else 0
    return Stored(
        new=new,
        repeated=len(allowed) - new,
        unknown=len(batch) - len(readings),
        over_limit=len(readings) - len(allowed),
    )


def _allowed(connection: psycopg.Connection, count: int, limit: int | None) -> int:
    if limit is None or not count:
        return count
    row = connection.execute(usage.ADD, [usage.MESSAGES, count]).fetchone()
    return usage.within(limit, added=count, total=row[0] if row else count)


def _insert(connection: psycopg.Connection, readings: Sequence[Reading]) -> int:
    columns = [[getattr(reading, name) for reading in readings] for name in ("device", "name", "time", "value")]
    new = connection.execute(_STORE, columns).rowcount
    connection.execute(_LATEST, columns)
    return new
