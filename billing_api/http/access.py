"""Who calls, and whether they may: decided from the route table, before a body is read."""

from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from starlette.requests import Request

from billing_api.errors import Forbidden, NotFound, Unauthenticated, of_field
from billing_api.http.cookies import Cookies
from billing_api.http.route import Access, Route


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A session token as it was sent, and whether a browser sent it by itself, as a cookie."""

    token: str = field(repr=False)
    by_cookie: bool


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose session it is.

    Attributes:
        admin: whether it is an administrator's.
        session_id: identifies the session; it is no secret that opens anything.
        by_cookie: whether the session came as a cookie.
        csrf_token: what an unsafe request must carry besides the cookie.
    """

    customer_id: str
    admin: bool
    session_id: UUID
    by_cookie: bool
    csrf_token: str = field(repr=False)


class Authenticator(Protocol):
    """Knows the sessions."""

    async def authenticate(self, credential: Credential, *, revoked: bool) -> Caller:
        """Return whose token it is; raises Unauthenticated when it is expired, not ours, or revoked unless allowed."""


def credential_of(request: Request, cookies: Cookies) -> Credential | None:
    """Return the session token of a request: the Authorization header decides when there is one."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        token = cookies.session_of(request)
        return None if token is None else Credential(token=token, by_cookie=True)
    scheme, _, token = authorization.partition(" ")
    return Credential(token=token.strip(), by_cookie=False) if scheme.lower() == "bearer" else None


async def admit(request: Request, route: Route, *, authenticator: Authenticator, cookies: Cookies) -> Caller | None:
    """Return who calls a row, None for a public one, for which nobody is asked.

    Raises:
        Unauthenticated: there is no valid session.
        NotFound: the thing is another customer's; nothing tells that there is one.
        Forbidden: only administrators may.
    """
    if route.access is Access.PUBLIC:
        return None
    credential = credential_of(request, cookies)
    if credential is None:
        raise unauthenticated("no session token; log in first")
    caller = await authenticator.authenticate(credential, revoked=route.revoked_sessions)
    if route.access is Access.ADMIN and not caller.admin:
        raise of_field(Forbidden, "Authorization", "only administrators may do this")
    if route.access is Access.OWNER and not caller.admin and request.path_params["customer_id"] != caller.customer_id:
        raise unknown_customer()
    return caller


def unauthenticated(why: str) -> Unauthenticated:
    """Return the problem for a session that is none."""
    detail = f"Authorization: {why}. Send the token of a signup or login as Authorization: Bearer, or as the cookie"
    # RFC 9110 section 11.6.1: a 401 names the scheme to use.
    headers = {"WWW-Authenticate": 'Bearer realm="billing"'}
    return of_field(Unauthenticated, "Authorization", why, detail=detail, headers=headers)


def unknown_customer() -> NotFound:
    """Return the problem for a customer that is not there, or not the caller's."""
    return of_field(NotFound, "customer_id", "customer_id is not known, or not yours to see")
