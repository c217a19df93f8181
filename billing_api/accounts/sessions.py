"""Session tokens: signed (HS256), short-lived, and revocable, because each also has a row."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import jwt

from billing_api.db import sessions as rows
from billing_api.db.pool import Connection, Database
from billing_api.http import csrf
from billing_api.http.access import Caller, Credential, unauthenticated

_PARTY = "billing-api"
#: Of one customer; more than one has browsers and scripts, and few enough to store for whoever logs in in a loop.
_MOST = 50


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session that has just begun; ``csrf_token`` is what a browser must send besides it."""

    token: str = field(repr=False)
    csrf_token: str = field(repr=False)
    expires_at: datetime


class Sessions:
    """Begins, checks and ends sessions."""

    def __init__(self, database: Database, *, secret: bytes, lifetime: timedelta) -> None:
        self._database = database
        self._secret = secret
        self._lifetime = lifetime

    async def begin(self, connection: Connection, *, customer_id: str, now: datetime) -> Session:
        """Store a new session as part of the caller's transaction and return its token; the oldest may end for it."""
        jti, expires_at = uuid4(), now + self._lifetime
        await rows.insert(connection, jti=jti, customer_id=customer_id, created_at=now, expires_at=expires_at)
        await rows.keep_newest(connection, customer_id, most=_MOST)
        payload = {
            "iss": _PARTY,
            "aud": _PARTY,
            "sub": customer_id,
            "jti": str(jti),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        return Session(
            token=jwt.encode(payload, self._secret, algorithm="HS256"),
            csrf_token=csrf.token_of(jti, secret=self._secret),
            expires_at=expires_at,
        )

    async def authenticate(self, credential: Credential, *, revoked: bool) -> Caller:
        """Return whose session it is, with the rights they have at this moment; with `revoked` also one that was ended.

        Raises:
            Unauthenticated: the token is not ours, expired, or revoked where that matters.
        """
        jti = self._verified(credential.token)
        async with self._database.transaction() as connection:
            holder = await rows.holder_of(connection, jti, revoked=revoked)
        if holder is None:
            raise unauthenticated("the session has ended")
        return Caller(
            customer_id=holder.customer_id,
            admin=holder.admin,
            session_id=jti,
            by_cookie=credential.by_cookie,
            csrf_token=csrf.token_of(jti, secret=self._secret),
        )

    async def end(self, session_id: UUID) -> None:
        """Revoke a session; its token is worth nothing from now on."""
        async with self._database.transaction() as connection:
            await rows.revoke(connection, session_id)

    def _verified(self, token: str) -> UUID:
        try:
            payload = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                audience=_PARTY,
                issuer=_PARTY,
                # A replica whose clock is ahead may have issued it a moment in our future; its row decides anyway.
                options={"require": ["exp", "iat", "jti", "sub"], "verify_iat": False},
            )
            return UUID(payload["jti"])
        except jwt.ExpiredSignatureError:
            raise unauthenticated("the session has ended") from None
        except (jwt.InvalidTokenError, ValueError):
            raise unauthenticated("the session token is not valid") from None
