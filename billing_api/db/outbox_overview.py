"""The outbox as those see it who look after it: what waits, what was refused, and another try for it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from billing_api.db.outbox import State, notify
from billing_api.db.pool import Connection
from billing_api.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row as it is shown; its payload stays where it is."""

    id: int
    kind: str
    subject: str
    state: State
    attempts: int
    leased: bool
    next_attempt_at: datetime
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How much of a kind is not done, and for how many seconds the oldest row has been waiting."""

    kind: str
    pending: int
    refused: int
    oldest_seconds: float


async def retry(connection: Connection, ids: Collection[int]) -> set[int]:
    """Make these rows due now, refused ones as if they were new; return those there were to try again.

    Rows that are done or in work right now are left alone.

    Raises:
        SettingsError: this is no database of this version of the billing API.
    """
    with _our_schema():
        cursor = await connection.execute(
            """
            UPDATE outbox SET state = 'pending', next_attempt_at = now(), finished_at = NULL,
                              attempts = CASE state WHEN 'refused' THEN 0 ELSE attempts END
            WHERE id = ANY(%s) AND state <> 'done' AND (leased_until IS NULL OR leased_until <= now())
            RETURNING id
            """,
            [list(ids)],
        )
    found = {int(row[0]) for row in await cursor.fetchall()}
    await notify(connection)
    return found


async def find(
    connection: Connection,
    *,
    states: Collection[State],
    kind: str | None = None,
    subject: str | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Return rows, refused ones first, then by age.

    Raises:
        SettingsError: this is no database of this version of the billing API.
    """
    with _our_schema():
        return await _find(connection, states=states, kind=kind, subject=subject, limit=limit)


async def _find(
    connection: Connection, *, states: Collection[State], kind: str | None, subject: str | None, limit: int | None
) -> list[Row]:
    async with connection.cursor(row_factory=class_row(Row)) as cursor:
        await cursor.execute(
            """
            SELECT id, kind, subject, state, attempts, coalesce(leased_until > now(), false) AS leased,
                   next_attempt_at, last_error, created_at, finished_at
            FROM outbox
            WHERE state = ANY(%(states)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
              AND (%(subject)s::text IS NULL OR subject = %(subject)s)
            ORDER BY state <> 'refused', id LIMIT %(limit)s
            """,
            {"states": list(states), "kind": kind, "subject": subject, "limit": limit},
        )
        return await cursor.fetchall()


async def count(connection: Connection) -> list[Counts]:
    """Return how much is not done, for every kind of which something is not."""
    async with connection.cursor(row_factory=class_row(Counts)) as cursor:
        await cursor.execute(
            """
            SELECT kind, count(*) FILTER (WHERE state = 'pending') AS pending,
                   count(*) FILTER (WHERE state = 'refused') AS refused,
                   coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'pending')), 0)::float8
                       AS oldest_seconds
            FROM (SELECT kind, state, created_at FROM outbox WHERE state = 'pending'
                  UNION ALL
                  SELECT kind, state, created_at FROM outbox WHERE state = 'refused') AS not_done
            GROUP BY kind
            """
        )
        return await cursor.fetchall()


async def count_refused(connection: Connection) -> int:
    """Return how many rows of any kind were refused, and not retried since."""
    cursor = await connection.execute("SELECT count(*) FROM outbox WHERE state = 'refused'")
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


@contextmanager
def _our_schema() -> Iterator[None]:
    try:
        yield
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise SettingsError(
            "DATABASE_URL: the database has no outbox of this version; the billing API makes one when it starts"
        ) from error
