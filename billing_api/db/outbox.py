"""The outbox: what must happen after a commit, as rows. Workers hold a row by a lease, never by a lock.

Rows of one subject are worked on one at a time, in the order they were added. What need not wait for a subject's other
rows gets a subject of its own. The order of transactions that add to one subject at the same time is nobody's to say,
unless they lock what the subject stands for.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID, uuid4

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from billing_api.db.pool import Connection

#: NOTIFY wakes the workers of all replicas.
CHANNEL = "outbox"
#: Claims of all replicas take turns, or two of them could each take a row of the same subject. Any number will do.
_CLAIM_LOCK = 0x6F757462  # "outb"
#: A replica that stands still in the middle of a claim is cut off after this time, for the others wait.
_CLAIM_TIMEOUT = "2s"

State = Literal["pending", "done", "refused"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A row as its handler gets it.

    Attributes:
        kind: which handler it is for.
        subject: what it is about; rows of one subject are kept in order.
        payload: what the handler needs to know beside the subject; may hold personal data, so it is never logged.
        attempts: how many tries were begun, this one included.
        lease: whoever knows it may record what became of the row, until somebody else has taken it.
    """

    id: int
    kind: str
    subject: str
    payload: Mapping[str, Any] = field(repr=False)
    attempts: int
    lease: UUID


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the newest row is that applies a customer's instance; ``attempts`` are those that have ended."""

    state: State
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    created_at: datetime
    applied_generation: int | None
    applied_resource_version: int | None


async def add(connection: Connection, *, kind: str, subject: str, payload: Mapping[str, Any] | None = None) -> None:
    """Have the handler of a kind do its work once the transaction commits.

    Args:
        kind: which handler; a row waits until some replica has it.
        subject: what it is about, such as a customer's identifier.
        payload: anything JSON can hold; no secrets.
    """
    await connection.execute(
        "INSERT INTO outbox (kind, subject, payload) VALUES (%s, %s, %s)", [kind, subject, Jsonb(dict(payload or {}))]
    )
    await notify(connection)


async def notify(connection: Connection) -> None:
    """Wake the workers of all replicas when the transaction commits."""
    await connection.execute("SELECT pg_notify(%s, '')", [CHANNEL])


#: A pending row nobody holds, before which nothing of its subject comes, and of whose subject nothing is in work.
_FREE: LiteralString = """
    mine.state = 'pending' AND (mine.leased_until IS NULL OR mine.leased_until <= statement_timestamp())
    AND NOT EXISTS (
        SELECT FROM outbox AS other
        WHERE other.subject = mine.subject AND other.state = 'pending' AND other.id <> mine.id
          AND (other.id < mine.id OR other.leased_until > statement_timestamp())
    )
"""


async def claim(connection: Connection, *, room: Mapping[str, int], seconds: float) -> list[Job]:
    """Take rows that are due, the longest due first, with a lease; commit before working on them.

    Args:
        room: how many rows to take at most, by kind; rows of other kinds are left alone.
        seconds: length of the lease.
    """
    await connection.execute(
        "SELECT set_config('idle_in_transaction_session_timeout', %s, true), pg_advisory_xact_lock(%s)",
        [_CLAIM_TIMEOUT, _CLAIM_LOCK],
    )
    async with connection.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(
            """
            WITH taken AS MATERIALIZED (
                SELECT due.id
                FROM unnest(%(kinds)s::text[], %(slots)s::int[]) AS room (kind, slots)
                CROSS JOIN LATERAL (
                    SELECT mine.id FROM outbox AS mine
                    WHERE mine.kind = room.kind AND mine.next_attempt_at <= statement_timestamp() AND """  # noqa: S608 - of constants only
            + _FREE
            + """
                    ORDER BY mine.next_attempt_at, mine.id LIMIT room.slots FOR UPDATE SKIP LOCKED
                ) AS due
            )
            UPDATE outbox SET lease = %(lease)s, leased_until = clock_timestamp() + make_interval(secs => %(seconds)s),
                              attempts = attempts + 1
            FROM taken WHERE outbox.id = taken.id
            RETURNING outbox.id, kind, subject, payload, attempts, lease
            """,
            {"kinds": list(room), "slots": list(room.values()), "lease": uuid4(), "seconds": seconds},
        )
        return await cursor.fetchall()


async def seconds_until_due(connection: Connection, *, kinds: Collection[str]) -> float | None:
    """Return in how many seconds a look may find something of these kinds (0: now); None when nothing waits.

    A lease of any replica counts too: when it runs out, its row has to be taken over.
    """
    cursor = await connection.execute(
        """
        SELECT greatest(extract(epoch FROM min(moment) - clock_timestamp()), 0)::float8 FROM (
            SELECT first.next_attempt_at FROM unnest(%(kinds)s::text[]) AS handled (kind)
            CROSS JOIN LATERAL (
                SELECT mine.next_attempt_at FROM outbox AS mine WHERE mine.kind = handled.kind AND """  # noqa: S608 - of constants only
        + _FREE
        + """
                ORDER BY mine.next_attempt_at LIMIT 1
            ) AS first
            UNION ALL
            SELECT min(leased_until) FROM outbox WHERE leased_until > statement_timestamp()
        ) AS moments (moment)
        HAVING min(moment) IS NOT NULL
        """,
        {"kinds": list(kinds)},
    )
    row = await cursor.fetchone()
    return None if row is None else float(row[0])


async def renew(connection: Connection, jobs: Collection[Job], *, seconds: float) -> set[tuple[int, UUID]]:
    """Prolong leases; return id and lease of those that are still ours."""
    cursor = await connection.execute(
        """
        UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => %s)
        FROM unnest(%s::bigint[], %s::uuid[]) AS held (id, lease)
        WHERE outbox.id = held.id AND outbox.lease = held.lease
        RETURNING outbox.id, outbox.lease
        """,
        [seconds, [job.id for job in jobs], [job.lease for job in jobs]],
    )
    return {(row[0], row[1]) for row in await cursor.fetchall()}


async def release(connection: Connection, jobs: Collection[Job]) -> None:
    """Give rows back that will not be worked on any further, so that another replica takes them at once."""
    await connection.execute(
        """
        UPDATE outbox SET lease = NULL, leased_until = NULL
        FROM unnest(%s::bigint[], %s::uuid[]) AS held (id, lease)
        WHERE outbox.id = held.id AND outbox.lease = held.lease
        """,
        [[job.id for job in jobs], [job.lease for job in jobs]],
    )
    await notify(connection)


async def finish(connection: Connection, job: Job, *, result: str | None) -> bool:
    """Record that the work is done, with its result as JSON; return False when the row was no longer ours."""
    return await _end(
        connection,
        job,
        "state = 'done', last_error = NULL, finished_at = now(), result = %s::jsonb",
        [result],
    )


async def postpone(connection: Connection, job: Job, *, seconds: float, reason: str) -> bool:
    """Record a failure that may pass, and when to try again; return False when the row was no longer ours."""
    return await _end(
        connection, job, "last_error = %s, next_attempt_at = now() + make_interval(secs => %s)", [reason, seconds]
    )


async def refuse(connection: Connection, job: Job, *, reason: str) -> bool:
    """Record a failure that will not pass; return False when the row was no longer ours."""
    return await _end(connection, job, "state = 'refused', last_error = %s, finished_at = now()", [reason])


async def _end(connection: Connection, job: Job, changes: LiteralString, values: Sequence[object]) -> bool:
    """End a lease with these changes, and wake whoever can go on with the subject."""
    cursor = await connection.execute(
        "UPDATE outbox SET lease = NULL, leased_until = NULL, " + changes + " WHERE id = %s AND lease = %s",  # noqa: S608
        [*values, job.id, job.lease],
    )
    await connection.execute(
        """
        SELECT pg_notify(%s, '')
        WHERE EXISTS (SELECT FROM outbox WHERE subject = %s AND state = 'pending' AND id <> %s)
        """,
        [CHANNEL, job.subject, job.id],
    )
    return cursor.rowcount == 1


async def make_due(connection: Connection, *, kinds: Collection[str]) -> int:
    """Make every postponed row of these kinds due now; return how many."""
    cursor = await connection.execute(
        """
        UPDATE outbox SET next_attempt_at = now()
        WHERE id IN (SELECT id FROM outbox WHERE kind = ANY(%s) AND state = 'pending' AND next_attempt_at > now()
                     FOR UPDATE SKIP LOCKED)
        """,
        [list(kinds)],
    )
    return cursor.rowcount


async def forget_done(connection: Connection, *, days: int) -> int:
    """Delete rows done so many days ago, except the newest of each subject and kind; return how many."""
    cursor = await connection.execute(
        """
        DELETE FROM outbox AS old
        WHERE state = 'done' AND finished_at < now() - make_interval(days => %s)
          AND EXISTS (SELECT FROM outbox AS newer
                      WHERE newer.subject = old.subject AND newer.kind = old.kind AND newer.id > old.id)
        """,
        [days],
    )
    return cursor.rowcount


async def progress(connection: Connection, *, kind: str, subject: str) -> Progress | None:
    """Return how far the newest row of a kind and subject is, or None without one."""
    async with connection.cursor(row_factory=class_row(Progress)) as cursor:
        await cursor.execute(
            """
            SELECT state, attempts - (lease IS NOT NULL)::int AS attempts, next_attempt_at, last_error, created_at,
                   (result ->> 'generation')::bigint AS applied_generation,
                   (result ->> 'resourceVersion')::bigint AS applied_resource_version
            FROM outbox WHERE subject = %s AND kind = %s ORDER BY id DESC LIMIT 1
            """,
            [subject, kind],
        )
        return await cursor.fetchone()
