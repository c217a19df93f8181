"""Licenses as rows, numbered for each customer, with the history of why each was made."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from billing_api.db.pool import Connection


@dataclass(frozen=True, kw_only=True)
class License:
    """A signed license as it is stored.

    Attributes:
        jti: its identifier, also a claim.
        sequence: 1 for a customer's first license, and so on; the newest has the highest. Also the claim ``seq``.
        kid: the key that signed it.
        plan: trial, starter, professional or enterprise.
        jwt: the compact form.
        issued_at, expires_at: whole seconds, as the claims are.
    """

    jti: UUID
    sequence: int
    kid: str
    plan: str
    jwt: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime


async def lock_holder(connection: Connection, customer_id: str) -> str | None:
    """Keep the customer's licenses as they are until the transaction ends, but for those it makes itself.

    Returns:
        The name of the customer's instance, or None when there is no such customer (any more).
    """
    cursor = await connection.execute(
        # Not FOR UPDATE: rows of others that refer to the customer need not wait.
        "SELECT instance_name FROM customers WHERE customer_id = %s FOR NO KEY UPDATE",
        [customer_id],
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def next_sequence(connection: Connection, customer_id: str) -> int:
    """Return the number of the license to be made; the transaction made the customer's row, or has locked it."""
    cursor = await connection.execute(
        "SELECT coalesce(max(sequence), 0) + 1 FROM licenses WHERE customer_id = %s", [customer_id]
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 1


async def insert_license(connection: Connection, license: License, *, customer_id: str, reason: str) -> None:
    """Store a license and the audit row that says why it was made."""
    await connection.execute(
        """
        INSERT INTO licenses (jti, customer_id, sequence, kid, plan, jwt, issued_at, expires_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
        """,
        [
            license.jti,
            customer_id,
            license.sequence,
            license.kid,
            license.plan,
            license.jwt,
            license.issued_at,
            license.expires_at,
        ],
    )
    await connection.execute(
        """
        INSERT INTO license_history (customer_id, license_jti, action, type, plan, expires_at)
        VALUES (%s, %s, 'generated', %s, %s, %s)
        """,
        [customer_id, license.jti, reason, license.plan, license.expires_at],
    )


async def newest_license(connection: Connection, customer_id: str) -> License | None:
    """Return the customer's newest license, or None."""
    async with connection.cursor(row_factory=class_row(License)) as cursor:
        await cursor.execute(
            """
            SELECT jti, sequence, kid, plan, jwt, issued_at, expires_at FROM licenses
            WHERE customer_id = %s ORDER BY sequence DESC LIMIT 1
            """,
            [customer_id],
        )
        return await cursor.fetchone()


async def holders(connection: Connection, *, kid: str, after: str, limit: int) -> list[str]:
    """Return customers whose newest license this key has signed, by their identifiers, from one on."""
    cursor = await connection.execute(
        """
        SELECT customer_id FROM licenses AS mine
        WHERE kid = %s AND customer_id > %s AND NOT EXISTS (
            SELECT FROM licenses AS newer
            WHERE newer.customer_id = mine.customer_id AND newer.sequence > mine.sequence
        )
        ORDER BY customer_id LIMIT %s
        """,
        [kid, after, limit],
    )
    return [str(row[0]) for row in await cursor.fetchall()]


async def count_holders(connection: Connection) -> dict[str, int]:
    """Return for every key how many customers' newest license it has signed; reads all licenses."""
    cursor = await connection.execute(
        """
        SELECT kid, count(*) FROM (
            SELECT DISTINCT ON (customer_id) kid FROM licenses ORDER BY customer_id, sequence DESC
        ) AS newest GROUP BY kid
        """
    )
    return {str(kid): int(number) for kid, number in await cursor.fetchall()}
