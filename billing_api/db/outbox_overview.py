"""The outbox as those see it who look after it: what waits, what was refused, and another try for it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from billing_api.db.outbox import State, notify
from billing_api.db.pool import Connection


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
    """
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
    """Return rows, refused ones first, then by age."""
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
