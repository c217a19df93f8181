"""Idempotency keys: which request made which customer. No answer and no password is kept, only what leads to them."""

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from billing_api.db.pool import Connection
from billing_api.errors import FieldError, RequestInProgress

#: As long as a client may reasonably retry (Stripe keeps its keys as long).
_KEPT_HOURS = 24


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An idempotency key and the request it stands for.

    Attributes:
        operation: what was asked for, such as ``signup``.
        fingerprint: keyed hash of the request.
        customer_id: whom the first request with the key created.
    """

    operation: str
    key: str
    fingerprint: bytes
    customer_id: str


async def find(connection: Connection, *, operation: str, key: str) -> Claim | None:
    """Return who claimed the key within the last 24 hours, or None."""
    async with connection.cursor(row_factory=class_row(Claim)) as cursor:
        await cursor.execute(
            """
            SELECT operation, key, fingerprint, customer_id FROM idempotency_keys
            WHERE operation = %s AND key = %s AND expires_at > now()
            """,
            [operation, key],
        )
        return await cursor.fetchone()


async def claim(connection: Connection, wanted: Claim) -> bool:
    """Take the key for this transaction's work; it counts once the transaction commits.

    Waits while another transaction holds the same key, so that of two requests at once one does the work.

    Returns:
        False when the key was taken by a committed transaction.

    Raises:
        RequestInProgress: the other one took longer than the session's lock_timeout.
    """
    try:
        cursor = await connection.execute(
            """
            INSERT INTO idempotency_keys AS existing (operation, key, fingerprint, customer_id, expires_at)
            VALUES (%s, %s, %s, %s, now() + make_interval(hours => %s))
            ON CONFLICT (operation, key) DO UPDATE
                SET fingerprint = excluded.fingerprint, customer_id = excluded.customer_id,
                    expires_at = excluded.expires_at
                WHERE existing.expires_at <= now()
            """,
            [wanted.operation, wanted.key, wanted.fingerprint, wanted.customer_id, _KEPT_HOURS],
        )
    except psycopg.errors.LockNotAvailable:
        detail = "Idempotency-Key belongs to a request that is still being processed; send it again in a moment"
        raise RequestInProgress(
            detail, errors=[FieldError("Idempotency-Key", detail)], headers={"Retry-After": "1"}
        ) from None
    return cursor.rowcount == 1
