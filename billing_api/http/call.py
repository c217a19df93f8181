"""One call of a row: what its handler works with, and how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from billing_api.http.access import Caller
from billing_api.http.events import Answers, EventResponse
from billing_api.http.models import Answer
from billing_api.http.route import Document, EventStream, Html, Redirect, Route, Text, media_type_of

T = TypeVar("T")

#: What is answered is about one caller, unless a handler says otherwise.
_PRIVATE = {"Cache-Control": "no-store"}


class Services:
    """What handlers work with, each found by its type; filled once, when the app starts."""

    def __init__(self) -> None:
        self._things: dict[type, Any] = {}

    def add(self, thing: T) -> T:
        """Take in a service under its own type, and return it; raises ValueError when there is one already."""
        if type(thing) in self._things:
            raise ValueError(f"{type(thing).__name__} is there already")
        self._things[type(thing)] = thing
        return thing

    def get(self, kind: type[T]) -> T:
        """Return the service of a type; raises LookupError when the app was made without."""
        found = self.find(kind)
        if found is None:
            raise LookupError(f"the app was made without {kind.__name__}")
        return found

    def find(self, kind: type[T]) -> T | None:
        """Return the service of a type, or None when the app was made without."""
        found: T | None = self._things.get(kind)
        return found


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that has passed all checks of its row.

    Attributes:
        caller: whose session it is; None in a public row.
        body: the validated model, or the bytes of a RawBody; None without body.
        query: the validated model; None when the row has none.
        idempotency_key: as it was sent; None without.
    """

    request: Request
    route: Route
    services: Services
    caller: Caller | None = None
    body: Any = field(default=None, repr=False)
    query: Any = None
    idempotency_key: str | None = None

    def get(self, kind: type[T]) -> T:
        """Return the service of a type."""
        return self.services.get(kind)

    @property
    def session(self) -> Caller:
        """The caller of a row that is not public; raises LookupError in one that is."""
        if self.caller is None:
            raise LookupError(f"{self.route.path} is public and knows no caller")
        return self.caller

    @property
    def client(self) -> str:
        """The caller's address; empty when the server does not know it."""
        return self.request.client.host if self.request.client else ""

    def path(self, name: str) -> str:
        """Return a parameter of the path."""
        return str(self.request.path_params[name])

    def answer(self, body: Answer, headers: Mapping[str, str] | None = None) -> Response:
        """Return a success with the row's model as JSON."""
        self._require(isinstance(self.route.answer, type) and isinstance(body, self.route.answer))
        return self._response(body.model_dump_json().encode(), headers)

    def empty(self, headers: Mapping[str, str] | None = None) -> Response:
        """Return a success without content."""
        self._require(self.route.answer is None)
        return Response(status_code=self.route.status, headers={**_PRIVATE, **(headers or {})})

    def text(self, content: str | bytes, headers: Mapping[str, str] | None = None) -> Response:
        """Return a success of text, or of a JSON document that is ready."""
        self._require(isinstance(self.route.answer, Text | Document))
        return self._response(content, headers)

    def html(self, content: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return a page, which no other site may show in a frame."""
        self._require(isinstance(self.route.answer, Html))
        safe = {**_PRIVATE, "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"}
        return HTMLResponse(content, status_code=self.route.status, headers={**safe, **(headers or {})})

    def redirect(self, url: str) -> Response:
        """Return the way to another page."""
        self._require(isinstance(self.route.answer, Redirect))
        return RedirectResponse(url, status_code=self.route.status, headers=_PRIVATE)

    def events(self, answers: Answers) -> Response:
        """Return a stream of server-sent events, one for each model, until there are no more."""
        self._require(isinstance(self.route.answer, EventStream))
        # nginx holds back what it proxies, unless it is told not to.
        headers = {**_PRIVATE, "X-Accel-Buffering": "no"}
        return EventResponse(answers, headers=headers)

    def _response(self, content: str | bytes, headers: Mapping[str, str] | None) -> Response:
        response = Response(content, status_code=self.route.status, headers={**_PRIVATE, **(headers or {})})
        MutableHeaders(raw=response.raw_headers)["Content-Type"] = str(media_type_of(self.route.answer))
        return response

    def _require(self, fits: bool) -> None:
        if not fits:
            raise TypeError(f"{self.route.method} {self.route.path} answers with something else than its row says")
