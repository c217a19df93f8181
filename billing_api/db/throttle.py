"""Counts tries to log in, per account and address. The bucket is a hash: no address of a person is stored."""

import hashlib

from billing_api.db.pool import Connection


def bucket(*, email_key: str, client: str) -> bytes:
    """Return the name under which tries for one account from one address are counted."""
    return hashlib.sha256(f"{email_key}\n{client}".encode()).digest()


async def count(connection: Connection, name: bytes, *, window_seconds: int) -> tuple[int, int]:
    """Count one more try, before its password is looked at, so that many at once cannot slip through.

    Returns:
        How many there were in the running window, and the seconds until the window ends.
    """
    cursor = await connection.execute(
        """
        INSERT INTO login_attempts AS known (bucket, attempts, expires_at)
        VALUES (%(bucket)s, 1, now() + make_interval(secs => %(window)s))
        ON CONFLICT (bucket) DO UPDATE SET
            attempts = CASE WHEN known.expires_at <= now() THEN 1 ELSE known.attempts + 1 END,
            expires_at = CASE WHEN known.expires_at <= now() THEN excluded.expires_at ELSE known.expires_at END
        RETURNING attempts, ceil(extract(epoch FROM expires_at - now()))::integer
        """,
        {"bucket": name, "window": window_seconds},
    )
    row = await cursor.fetchone()
    attempts, seconds = row if row else (1, window_seconds)
    return attempts, seconds


async def forget(connection: Connection, name: bytes) -> None:
    """Start counting anew, after a successful login."""
    await connection.execute("DELETE FROM login_attempts WHERE bucket = %s", [name])
