"""From the route table to the server: every check of a row, in one order, then its handler."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send

from billing_api.errors import MethodNotAllowed, of_field
from billing_api.http import csrf, requests
from billing_api.http.access import Authenticator, Caller, admit
from billing_api.http.call import Call, Services
from billing_api.http.cookies import Cookies
from billing_api.http.limits import Limiter
from billing_api.http.models import QueryModel, RequestModel, parse, parse_query
from billing_api.http.route import IDENTIFIER, Route


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What the checks of a row need.

    Attributes:
        limiter: may be None only while no row has limits.
    """

    authenticator: Authenticator
    cookies: Cookies
    limiter: Limiter | None = None


def routes(table: Sequence[Route]) -> list[StarletteRoute]:
    """Return the routes of a table for Starlette; the app keeps its Services, with a Gate, in ``app.state.services``.

    Raises:
        ValueError: a method of a path has two rows.
    """
    by_path: dict[str, list[Route]] = {}
    for row in table:
        by_path.setdefault(row.path, []).append(row)
    return [StarletteRoute(path, _Path(rows), name=path) for path, rows in by_path.items()]


class _Path:
    """ASGI app of one path, with all its methods."""

    def __init__(self, rows: Iterable[Route]) -> None:
        self._rows: dict[str, Route] = {}
        for row in rows:
            for method in row.methods:
                if method in self._rows:
                    raise ValueError(f"{method} {row.path} is in the table twice")
                self._rows[method] = row

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if not all(IDENTIFIER.fullmatch(value) for value in request.path_params.values()):
            # As if no row had the path.
            raise HTTPException(HTTPStatus.NOT_FOUND)
        row = self._rows.get(request.method)
        if row is None:
            raise self._not_allowed()
        response = await serve(request, row)
        await response(scope, receive, send)

    def _not_allowed(self) -> MethodNotAllowed:
        allowed = ", ".join(sorted(self._rows))
        # The path itself is not repeated: it is the caller's own text, and part of a URL whose host may be none.
        detail = f"this path answers {allowed}"
        return of_field(MethodNotAllowed, "method", detail, headers={"Allow": allowed})


async def serve(request: Request, row: Route) -> Response:
    """Answer a request to a row; raises Problem. What costs least, and tells least, is checked first."""
    services: Services = request.app.state.services
    gate = services.get(Gate)
    caller = await admit(request, row, authenticator=gate.authenticator, cookies=gate.cookies)
    if not csrf.is_form(request, row):
        csrf.require_token(request, row, caller, cookie=gate.cookies.csrf)
    key = requests.idempotency_key(request) if row.idempotent else None
    query = _query(request, row)
    body = await _body(request, row, caller, cookie=gate.cookies.csrf)
    call = Call(
        request=request, route=row, services=services, caller=caller, body=body, query=query, idempotency_key=key
    )
    await _count(call, gate.limiter)
    return await row.handler(call)


def _query(request: Request, row: Route) -> Any:
    """Return the query parameters as the row's model. A page may be called with what its links are counted by."""
    given = request.query_params.multi_items()
    if row.query is not None:
        return parse_query(row.query, given)
    if row.takes_no_query:
        parse_query(QueryModel, given)
    return None


async def _count(call: Call, limiter: Limiter | None) -> None:
    if not call.route.limits:
        return
    if limiter is None:
        raise LookupError(f"{call.route.path} has limits, but the app was made without a limiter")
    about = call.body.account if isinstance(call.body, RequestModel) else None
    account = call.caller.customer_id if call.caller else about
    await limiter.count(call.route.limits, account=account, client=call.client)


async def _body(request: Request, row: Route, caller: Caller | None, *, cookie: str) -> Any:
    if row.body is None:
        return None
    if isinstance(row.body, type):
        return parse(row.body, await requests.read_object(request))
    content = await requests.read_raw(request, media_types=row.body.media_types, max_bytes=row.body.max_bytes)
    if csrf.is_form(request, row):
        csrf.require_token(request, row, caller, cookie=cookie, form=content)
    return content
