"""Sessions: a row for every token given out, so that any of them can be revoked."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from billing_api.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Whose session it is, and what they may at this moment."""

    customer_id: str
    admin: bool


async def insert(
    connection: Connection, *, jti: UUID, customer_id: str, created_at: datetime, expires_at: datetime
) -> None:
    """Store a session that has begun."""
    await connection.execute(
        "INSERT INTO sessions (jti, customer_id, created_at, expires_at) VALUES (%s, %s, %s, %s)",
        [jti, customer_id, created_at, expires_at],
    )


async def holder_of(connection: Connection, jti: UUID, *, revoked: bool) -> Holder | None:
    """Return whose session it is; None when it has expired or never was, or was revoked unless that is allowed."""
    async with connection.cursor(row_factory=class_row(Holder)) as cursor:
        await cursor.execute(
            """
            SELECT customer_id, role = 'admin' AS admin FROM sessions JOIN customers USING (customer_id)
            WHERE jti = %s AND (revoked_at IS NULL OR %s) AND expires_at > now()
            """,
            [jti, revoked],
        )
        return await cursor.fetchone()


async def keep_newest(connection: Connection, customer_id: str, *, most: int) -> None:
    """End all but a customer's newest sessions; those that were revoked do not count."""
    await connection.execute(
        """
        DELETE FROM sessions WHERE jti IN (
            SELECT jti FROM sessions WHERE customer_id = %s AND revoked_at IS NULL
            ORDER BY created_at DESC, jti OFFSET %s)
        """,
        [customer_id, most],
    )


async def revoke(connection: Connection, jti: UUID) -> None:
    """End a session; ending it twice is no error."""
    await connection.execute("UPDATE sessions SET revoked_at = now() WHERE jti = %s AND revoked_at IS NULL", [jti])
