"""Sessions: a row for every token given out, so that any of them can be revoked."""

from datetime import datetime
from uuid import UUID

from billing_api.db.pool import Connection


async def insert(
    connection: Connection, *, jti: UUID, customer_id: str, created_at: datetime, expires_at: datetime
) -> None:
    """Store a session that has begun."""
    await connection.execute(
        "INSERT INTO sessions (jti, customer_id, created_at, expires_at) VALUES (%s, %s, %s, %s)",
        [jti, customer_id, created_at, expires_at],
    )


async def customer_of(connection: Connection, jti: UUID) -> str | None:
    """Return whose session it is; None when it has expired, was revoked or never was."""
    cursor = await connection.execute(
        "SELECT customer_id FROM sessions WHERE jti = %s AND revoked_at IS NULL AND expires_at > now()", [jti]
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def revoke(connection: Connection, jti: UUID) -> None:
    """End a session; ending it twice is no error."""
    await connection.execute("UPDATE sessions SET revoked_at = now() WHERE jti = %s AND revoked_at IS NULL", [jti])
