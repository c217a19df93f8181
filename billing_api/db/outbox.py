"""The outbox: instances that Kubernetes has to be told of. A row is written with the signup and only refers to it,
so that no license is stored twice and the newest one is sent.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from psycopg.rows import class_row

from billing_api.db.pool import Connection

#: NOTIFY wakes the workers of all replicas.
CHANNEL = "outbox"

State = Literal["pending", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A claimed row with all that the resource is made of."""

    id: int
    attempts: int
    customer_id: str
    email: str
    company_name: str
    instance_name: str
    license_plan: str
    license_jwt: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the newest row of a customer is."""

    state: State
    attempts: int
    next_attempt_at: datetime
    last_error: str | None
    created_at: datetime
    applied_generation: int | None
    applied_resource_version: int | None


async def add(connection: Connection, customer_id: str) -> None:
    """Have the customer's instance applied once the transaction commits."""
    await connection.execute("INSERT INTO outbox (customer_id) VALUES (%s)", [customer_id])
    await connection.execute("SELECT pg_notify(%s, '')", [CHANNEL])


async def claim(connection: Connection, *, limit: int) -> list[Job]:
    """Lock rows that are due, oldest first, passing over those another worker holds.

    They are free again when the transaction ends, also when this process dies.
    """
    async with connection.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(
            """
            SELECT outbox.id, outbox.attempts, customer_id, email, company_name, instance_name,
                   newest.plan AS license_plan, newest.jwt AS license_jwt
            FROM outbox
            JOIN customers USING (customer_id)
            JOIN LATERAL (SELECT plan, jwt FROM licenses WHERE licenses.customer_id = outbox.customer_id
                          ORDER BY issued_at DESC LIMIT 1) AS newest ON true
            WHERE state = 'pending' AND next_attempt_at <= now()
            ORDER BY next_attempt_at, outbox.id
            LIMIT %s
            FOR UPDATE OF outbox SKIP LOCKED
            """,
            [limit],
        )
        return await cursor.fetchall()


async def finish(connection: Connection, job: Job, *, generation: int, resource_version: int | None) -> None:
    """Record that Kubernetes has the instance."""
    await connection.execute(
        """
        UPDATE outbox SET state = 'done', attempts = attempts + 1, last_error = NULL, finished_at = now(),
                          applied_generation = %s, applied_resource_version = %s
        WHERE id = %s
        """,
        [generation, resource_version, job.id],
    )


async def postpone(connection: Connection, job: Job, *, seconds: float, reason: str) -> None:
    """Record a failure that may pass, and when to try again."""
    await connection.execute(
        """
        UPDATE outbox SET attempts = attempts + 1, last_error = %s,
                          next_attempt_at = now() + make_interval(secs => %s)
        WHERE id = %s
        """,
        [reason, seconds, job.id],
    )


async def give_up(connection: Connection, job: Job, *, reason: str) -> None:
    """Record a failure that will not pass."""
    await connection.execute(
        """
        UPDATE outbox SET state = 'failed', attempts = attempts + 1, last_error = %s, finished_at = now()
        WHERE id = %s
        """,
        [reason, job.id],
    )


async def make_due(connection: Connection) -> int:
    """Make every postponed row due now, except those in work; return how many."""
    cursor = await connection.execute(
        """
        UPDATE outbox SET next_attempt_at = now()
        WHERE id IN (SELECT id FROM outbox WHERE state = 'pending' AND next_attempt_at > now()
                     FOR UPDATE SKIP LOCKED)
        """
    )
    return cursor.rowcount


async def seconds_until_due(connection: Connection) -> float | None:
    """Return when the next row is due that nobody holds, in seconds (0 when it is); None when there is none."""
    cursor = await connection.execute(
        """
        SELECT greatest(extract(epoch FROM next_attempt_at - clock_timestamp()), 0)::float8 FROM outbox
        WHERE state = 'pending' ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
        """
    )
    row = await cursor.fetchone()
    return None if row is None else float(row[0])


async def count_pending(connection: Connection) -> int:
    """Return how many instances Kubernetes has not been told of, whoever works on them."""
    cursor = await connection.execute("SELECT count(*) FROM outbox WHERE state = 'pending'")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def progress(connection: Connection, customer_id: str) -> Progress | None:
    """Return how far the customer's newest row is, or None without one."""
    async with connection.cursor(row_factory=class_row(Progress)) as cursor:
        await cursor.execute(
            """
            SELECT state, attempts, next_attempt_at, last_error, created_at, applied_generation,
                   applied_resource_version
            FROM outbox WHERE customer_id = %s ORDER BY id DESC LIMIT 1
            """,
            [customer_id],
        )
        return await cursor.fetchone()
