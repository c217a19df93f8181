"""Counted calls: one row for each bucket, so that all replicas count together. A bucket's name is a keyed hash, so
that no address of a person is stored.

A window begins with the first call of a bucket and ends LIMIT_WINDOW later; the next call then begins another.
All times are PostgreSQL's.
"""

from collections.abc import Sequence

from billing_api.db.pool import Connection


async def forgive_crashes(connection: Connection) -> None:
    """Let this transaction's commit not wait for the disk: a crash of the server may forget the last calls counted."""
    await connection.execute("SET LOCAL synchronous_commit = off")


async def count(connection: Connection, bucket: bytes, *, most: int, window_seconds: int) -> bool:
    """Count one more call, unless the bucket is full; return whether it was counted.

    The row stays locked to the end of the transaction, so that many at once cannot slip by.
    """
    cursor = await connection.execute(
        """
        INSERT INTO limits AS known (bucket, calls, expires_at)
        VALUES (%(bucket)s, 1, now() + make_interval(secs => %(window)s))
        ON CONFLICT (bucket) DO UPDATE SET
            calls = CASE WHEN known.expires_at <= now() THEN 1 ELSE known.calls + 1 END,
            expires_at = CASE WHEN known.expires_at <= now() THEN excluded.expires_at ELSE known.expires_at END
        WHERE known.calls < %(most)s OR known.expires_at <= now()
        """,
        {"bucket": bucket, "most": most, "window": window_seconds},
    )
    return cursor.rowcount == 1


async def full(connection: Connection, buckets: Sequence[tuple[bytes, int]]) -> dict[bytes, int]:
    """Return those that are full, each with the seconds after which it is not.

    Args:
        connection: a transaction.
        buckets: each with the number of calls that fills it.
    """
    cursor = await connection.execute(
        """
        SELECT bucket, ceil(extract(epoch FROM expires_at - now()))::integer
        FROM limits JOIN unnest(%s::bytea[], %s::integer[]) AS wanted (bucket, most) USING (bucket)
        WHERE calls >= most AND expires_at > now()
        """,
        [[name for name, _ in buckets], [most for _, most in buckets]],
    )
    return {bytes(bucket): int(seconds) for bucket, seconds in await cursor.fetchall()}


async def take_back(connection: Connection, bucket: bytes) -> None:
    """Make one call not count."""
    await connection.execute("UPDATE limits SET calls = calls - 1 WHERE bucket = %s AND calls > 0", [bucket])


async def forget(connection: Connection, bucket: bytes) -> None:
    """Make no call count."""
    await connection.execute("DELETE FROM limits WHERE bucket = %s", [bucket])


async def remember(connection: Connection, bucket: bytes, *, days: int) -> None:
    """Note something for some days, from now; it counts nothing."""
    await connection.execute(
        """
        INSERT INTO limits (bucket, calls, expires_at) VALUES (%s, 0, now() + make_interval(days => %s))
        ON CONFLICT (bucket) DO UPDATE SET expires_at = excluded.expires_at
        """,
        [bucket, days],
    )


async def remembers(connection: Connection, bucket: bytes) -> bool:
    """Tell whether something was noted and still holds."""
    cursor = await connection.execute("SELECT 1 FROM limits WHERE bucket = %s AND expires_at > now()", [bucket])
    return await cursor.fetchone() is not None
