"""One row of the route table: how it is reached, who may, what it takes, what it answers.

The same row is served (dispatch.py) and documented (openapi.py), so that the two cannot differ.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from billing_api.errors import (
    BodyTooLarge,
    CsrfTokenMissing,
    Forbidden,
    InternalError,
    InvalidRequest,
    NotFound,
    Problem,
    RequestTimeout,
    ServiceUnavailable,
    TooManyAttempts,
    Unauthenticated,
    UnsupportedMediaType,
)
from billing_api.http.limits import Limit
from billing_api.http.models import Answer, QueryModel, RequestModel

if TYPE_CHECKING:
    from billing_api.http.call import Call

#: RFC 9110 section 9.2.1: these change nothing, so a forged one does no harm.
SAFE_METHODS = frozenset({"GET", "HEAD"})
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_PARAMETER = re.compile(r"{([a-z_]+)}")
#: What a parameter of a path may be; all identifiers of ours are. PostgreSQL, for one, takes no NUL.
IDENTIFIER = re.compile(r"[A-Za-z0-9-]{1,64}")

Handler = Callable[["Call"], Awaitable[Response]]


class Access(enum.Enum):
    """Who may call a row."""

    PUBLIC = "public"
    CUSTOMER = "any customer with a session"
    OWNER = "the customer of the path, and administrators"
    ADMIN = "administrators"


@dataclass(frozen=True, kw_only=True)
class RawBody:
    """A body that the handler gets as bytes, as it was sent.

    Attributes:
        media_types: what Content-Type may be.
        max_bytes: a longer body is refused.
    """

    media_types: tuple[str, ...]
    max_bytes: int


@dataclass(frozen=True, kw_only=True)
class Document:
    """An answer in JSON that is made by no model, such as a document of another standard."""

    media_type: str = "application/json"


@dataclass(frozen=True, kw_only=True)
class Text:
    """An answer of plain text."""

    media_type: str = "text/plain"


@dataclass(frozen=True)
class Html:
    """A page for people."""

    media_type = "text/html"


@dataclass(frozen=True, kw_only=True)
class EventStream:
    """Server-sent events, each a model in JSON, until there are no more."""

    of: type[Answer]
    media_type = "text/event-stream"


@dataclass(frozen=True)
class Redirect:
    """Nothing but the way to another page."""


Body = type[RequestModel] | RawBody | None
Success = type[Answer] | Document | Text | Html | EventStream | Redirect | None


@dataclass(frozen=True, kw_only=True)
class Route:
    """One row.

    Attributes:
        access: who may call it; there is no default, so that nobody forgets to decide.
        answer: what a success is made of; None for an empty one.
        status: HTTP status of a success.
        headers: names of the response headers of a success, besides those that every answer has.
        problems: the problem types that the handler raises; what the row itself can raise is added.
        limits: how often it may be called.
        idempotent: whether Idempotency-Key is honored.
        revoked_sessions: whether a session that a logout has ended may still call it, until its token expires. For
            what is about the session alone: to end one again is no mistake.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    access: Access
    answer: Success
    description: str = ""
    body: Body = None
    query: type[QueryModel] | None = None
    status: int = 200
    headers: tuple[str, ...] = ()
    problems: tuple[type[Problem], ...] = ()
    limits: tuple[Limit, ...] = ()
    idempotent: bool = False
    revoked_sessions: bool = False

    def __post_init__(self) -> None:
        """Refuse a row that cannot be meant; raises ValueError."""
        where = f"{self.method} {self.path}"
        if self.method not in _METHODS:
            raise ValueError(f"{where}: the method must be one of {', '.join(sorted(_METHODS))}")
        if not isinstance(self.access, Access):
            raise ValueError(f"{where}: access must be one of {', '.join(map(str, Access))}")
        if self.access is Access.OWNER and "customer_id" not in self.parameters:
            raise ValueError(f"{where}: a row for the owner must have {{customer_id}} in its path")
        if self.revoked_sessions and self.access is not Access.CUSTOMER:
            raise ValueError(f"{where}: a revoked session opens nothing of a customer, and nothing of administrators")
        if self.method in SAFE_METHODS and self.body is not None:
            raise ValueError(f"{where}: a {self.method} has no body")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the parameters in the path."""
        return tuple(_PARAMETER.findall(self.path))

    @property
    def safe(self) -> bool:
        """Whether a call changes nothing."""
        return self.method in SAFE_METHODS

    @property
    def methods(self) -> tuple[str, ...]:
        """The HTTP methods it answers: HEAD goes with GET, except where the answer would not end."""
        return ("GET", "HEAD") if self.method == "GET" and not isinstance(self.answer, EventStream) else (self.method,)

    @property
    def takes_no_query(self) -> bool:
        """Whether a query parameter can only be a mistake."""
        return self.query is None and (self.body is not None or isinstance(self.answer, type | EventStream))

    @property
    def all_problems(self) -> tuple[type[Problem], ...]:
        """Every problem type a call can be answered with, by status."""
        reads = (InvalidRequest,) if self.body or self.query or self.idempotent or self.takes_no_query else ()
        body = (RequestTimeout, BodyTooLarge, UnsupportedMediaType) if self.body else ()
        limits = (TooManyAttempts,) if self.limits else ()
        path = (NotFound,) if self.parameters else ()
        kinds = {*self.problems, *reads, *body, *limits, *path, *_ACCESS_PROBLEMS[self.access], InternalError}
        if self.access is not Access.PUBLIC and not self.safe:
            kinds.add(CsrfTokenMissing)
        return tuple(sorted(kinds, key=lambda kind: (kind.status, kind.slug)))


_SESSION_PROBLEMS: tuple[type[Problem], ...] = (Unauthenticated, ServiceUnavailable)
_ACCESS_PROBLEMS: Mapping[Access, tuple[type[Problem], ...]] = {
    Access.PUBLIC: (),
    Access.CUSTOMER: _SESSION_PROBLEMS,
    Access.OWNER: (*_SESSION_PROBLEMS, NotFound),
    Access.ADMIN: (*_SESSION_PROBLEMS, Forbidden),
}


def media_type_of(answer: Success) -> str | None:
    """Return the Content-Type of a success, without parameters; None when it has no content."""
    found: Any = getattr(answer, "media_type", None)
    return "application/json" if isinstance(answer, type) else found
