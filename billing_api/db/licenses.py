"""Licenses as rows, with the history of why each was made."""

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
        kid: the key that signed it.
        plan: trial, starter, professional or enterprise.
        jwt: the compact form.
        issued_at, expires_at: whole seconds, as the claims are.
    """

    jti: UUID
    kid: str
    plan: str
    jwt: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime


async def insert_license(connection: Connection, license: License, *, customer_id: str, reason: str) -> None:
    """Store a license and the audit row that says why it was made."""
    await connection.execute(
        """
        INSERT INTO licenses (jti, customer_id, kid, plan, jwt, issued_at, expires_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        [
            license.jti,
            customer_id,
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
            SELECT jti, kid, plan, jwt, issued_at, expires_at FROM licenses
            WHERE customer_id = %s ORDER BY issued_at DESC LIMIT 1
            """,
            [customer_id],
        )
        return await cursor.fetchone()
