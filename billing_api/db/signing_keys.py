"""Public keys that have signed licenses, kept so that licenses survive a change of the signing key.

To withdraw a key that leaked: UPDATE signing_keys SET revoked_at = now() WHERE kid = '...'.
"""

from psycopg.types.json import Jsonb

from billing_api.db.pool import Connection

#: A JSON Web Key (RFC 7517): every member of ours is text.
Jwk = dict[str, str]


async def remember(connection: Connection, jwk: Jwk) -> None:
    """Store a public key unless it is known."""
    await connection.execute(
        "INSERT INTO signing_keys (kid, jwk) VALUES (%s, %s) ON CONFLICT DO NOTHING", [jwk["kid"], Jsonb(jwk)]
    )


async def trusted(connection: Connection) -> list[Jwk]:
    """Return all public keys that have not been revoked, oldest first."""
    cursor = await connection.execute("SELECT jwk FROM signing_keys WHERE revoked_at IS NULL ORDER BY created_at, kid")
    return [row[0] for row in await cursor.fetchall()]
