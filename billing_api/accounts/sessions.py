"""Session tokens: signed (HS256), short-lived, and revocable, because each also has a row."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import jwt
from starlette.requests import Request

from billing_api.db import sessions as rows
from billing_api.db.pool import Connection, Database
from billing_api.db.sessions import Holder
from billing_api.errors import FieldError, Unauthenticated

COOKIE = "billing_session"
_PARTY = "billing-api"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A session that has just begun."""

    token: str = field(repr=False)
    expires_at: datetime


class Sessions:
    """Begins, checks and ends sessions."""

    def __init__(self, database: Database, *, secret: bytes, lifetime: timedelta) -> None:
        self._database = database
        self._secret = secret
        self._lifetime = lifetime

    async def begin(self, connection: Connection, *, customer_id: str, now: datetime) -> Session:
        """Store a new session as part of the caller's transaction and return its token."""
        jti, expires_at = uuid4(), now + self._lifetime
        await rows.insert(connection, jti=jti, customer_id=customer_id, created_at=now, expires_at=expires_at)
        payload = {
            "iss": _PARTY,
            "aud": _PARTY,
            "sub": customer_id,
            "jti": str(jti),
            "iat": int(now.timestamp()),
            "exp": int(expires_at.timestamp()),
        }
        return Session(token=jwt.encode(payload, self._secret, algorithm="HS256"), expires_at=expires_at)

    async def holder_of(self, request: Request) -> Holder:
        """Return who sends the request, with the rights they have at this moment.

        Raises:
            Unauthenticated: no token, or one that is not ours, expired or revoked.
        """
        jti = self._verified(request)
        async with self._database.transaction() as connection:
            holder = await rows.holder_of(connection, jti)
        if holder is None:
            raise _unauthenticated("the session has ended")
        return holder

    async def end(self, request: Request) -> None:
        """Revoke the session whose token the request carries.

        Raises:
            Unauthenticated: no token, or one that is not ours or has expired.
        """
        jti = self._verified(request)
        async with self._database.transaction() as connection:
            await rows.revoke(connection, jti)

    def _verified(self, request: Request) -> UUID:
        token = _token(request)
        if token is None:
            raise _unauthenticated("no session token; log in first")
        try:
            payload = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                audience=_PARTY,
                issuer=_PARTY,
                options={"require": ["exp", "iat", "jti", "sub"]},
            )
            return UUID(payload["jti"])
        except jwt.ExpiredSignatureError:
            raise _unauthenticated("the session has ended") from None
        except (jwt.InvalidTokenError, ValueError):
            raise _unauthenticated("the session token is not valid") from None


def _token(request: Request) -> str | None:
    """The Authorization header decides when there is one; browsers send the cookie."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        return request.cookies.get(COOKIE)
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _unauthenticated(why: str) -> Unauthenticated:
    detail = f"Authorization: {why}. Send the token of a signup or login as Authorization: Bearer, or as the cookie"
    # RFC 9110 section 11.6.1: a 401 names the scheme to use.
    return Unauthenticated(
        detail, errors=[FieldError("Authorization", why)], headers={"WWW-Authenticate": 'Bearer realm="billing"'}
    )
