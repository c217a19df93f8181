"""The life of the keys that sign licenses, as every replica sees it.

Made known, published to all readers, signing after the overlap, and perhaps revoked. Who holds its private part says so
again and again. Times are the database's, so that replicas whose clocks differ agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from billing_api.db.pool import Connection

#: A JSON Web Key (RFC 7517): every member of ours is text.
Jwk = dict[str, str]
#: Holders say so every ten seconds; one that has missed so many turns is gone, or cannot sign anyway.
_HELD_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class KeyLife:
    """What has become of a key.

    Attributes:
        created_at: when the first replica had it.
        published_at: when readers could get it; None before.
        signs_from: from when on it may sign; None before it is published.
        revoked_at: since when it may not, and no license by it counts; None for most.
        signing: whether it may sign now.
        held: whether somebody has its private part, as far as is known: one of the processes that live, or of those
            that lived last.
    """

    kid: str
    created_at: datetime
    published_at: datetime | None
    signs_from: datetime | None
    revoked_at: datetime | None
    signing: bool
    held: bool


async def register(connection: Connection, jwks: Sequence[Jwk]) -> list[str]:
    """Store the public keys that are not known, and return their identifiers.

    The first keys ever may sign at once: nobody reads older ones.
    """
    known = await _known(connection)
    new = [jwk for jwk in jwks if jwk["kid"] not in known]
    if not new:
        return []
    # Of two replicas with different first keys one is the first; those who sign or read meanwhile need not wait.
    await connection.execute("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE")
    cursor = await connection.execute(
        """
        INSERT INTO signing_keys (kid, jwk, signs_from)
        SELECT jwk ->> 'kid', jwk, CASE WHEN NOT EXISTS (SELECT FROM signing_keys) THEN now() END
        FROM unnest(%s::jsonb[]) AS jwk
        ON CONFLICT DO NOTHING RETURNING kid
        """,
        [[Jsonb(jwk) for jwk in new]],
    )
    return [str(row[0]) for row in await cursor.fetchall()]


async def _known(connection: Connection) -> set[str]:
    cursor = await connection.execute("SELECT kid FROM signing_keys")
    return {row[0] for row in await cursor.fetchall()}


async def hold(connection: Connection, kids: Sequence[str]) -> None:
    """Record that a process which lives has the private parts of these keys."""
    # Who has locked one of them just now is another holder, which says the same, or somebody who revokes.
    await connection.execute(
        """
        UPDATE signing_keys SET held_at = now()
        WHERE kid IN (SELECT kid FROM signing_keys WHERE kid = ANY(%s) FOR NO KEY UPDATE SKIP LOCKED)
        """,
        [list(kids)],
    )


async def trusted(connection: Connection) -> list[Jwk]:
    """Return all public keys that have not been revoked, oldest first."""
    cursor = await connection.execute("SELECT jwk FROM signing_keys WHERE revoked_at IS NULL ORDER BY created_at, kid")
    return [row[0] for row in await cursor.fetchall()]


async def mark_published(connection: Connection, kids: Sequence[str], *, overlap_seconds: float) -> int:
    """Record that readers can get these keys, which sets when they sign; return for how many that was news."""
    cursor = await connection.execute(
        """
        UPDATE signing_keys SET published_at = now(),
                                signs_from = coalesce(signs_from, now() + make_interval(secs => %s))
        WHERE kid = ANY(%s) AND published_at IS NULL
        """,
        [overlap_seconds, list(kids)],
    )
    return cursor.rowcount


async def choose(connection: Connection, kids: Sequence[str]) -> str | None:
    """Return which of these keys signs now, or None: the newest that may.

    It cannot be revoked before the transaction ends, so a license is either signed before its key is revoked, and then
    seen by who revokes it, or not at all.
    """
    # `revoke` locks out who locks any row. KEY SHARE is the one lock that does not make `hold` wait.
    cursor = await connection.execute(
        """
        SELECT kid FROM signing_keys
        WHERE kid = ANY(%s) AND revoked_at IS NULL AND signs_from <= statement_timestamp()
        ORDER BY signs_from DESC, kid LIMIT 1 FOR KEY SHARE
        """,
        [list(kids)],
    )
    row = await cursor.fetchone()
    return None if row is None else str(row[0])


async def seconds_until_one_signs(connection: Connection, kids: Sequence[str]) -> float | None:
    """Return in how many seconds the first of these keys signs; None when that is not known yet, or will never be."""
    cursor = await connection.execute(
        """
        SELECT greatest(extract(epoch FROM min(signs_from) - clock_timestamp()), 0)::float8 FROM signing_keys
        WHERE kid = ANY(%s) AND revoked_at IS NULL
        """,
        [list(kids)],
    )
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else float(row[0])


async def revoke(connection: Connection, kid: str) -> bool:
    """Take the right to sign from a key; waits for transactions that sign. False when it had been taken before."""
    # Share locks on a row let each other in past somebody who waits; for a table all queue, so this is soon our turn.
    await connection.execute("LOCK TABLE signing_keys IN EXCLUSIVE MODE")
    cursor = await connection.execute(
        "UPDATE signing_keys SET revoked_at = now() WHERE kid = %s AND revoked_at IS NULL", [kid]
    )
    return cursor.rowcount == 1


async def lives(connection: Connection) -> list[KeyLife]:
    """Return every key there ever was, oldest first."""
    # Compared with the newest sign of life, not with now: while all processes are stopped, no key is lost by that.
    async with connection.cursor(row_factory=class_row(KeyLife)) as cursor:
        await cursor.execute(
            """
            SELECT kid, created_at, published_at, signs_from, revoked_at,
                   revoked_at IS NULL AND coalesce(signs_from <= statement_timestamp(), false) AS signing,
                   last.held_at IS NULL
                       OR coalesce(keys.held_at > last.held_at - make_interval(secs => %s), false) AS held
            FROM signing_keys AS keys, (SELECT max(held_at) AS held_at FROM signing_keys) AS last
            ORDER BY created_at, kid
            """,
            [_HELD_SECONDS],
        )
        return await cursor.fetchall()
