"""What a row of the route table promises, kept by an app with a table of its own."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import Field
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from billing_api.errors import TooManyAttempts
from billing_api.http import csrf, dispatch
from billing_api.http.access import Caller, Credential, unauthenticated
from billing_api.http.call import Call, Services
from billing_api.http.cookies import Cookies
from billing_api.http.dispatch import Gate
from billing_api.http.events import stream
from billing_api.http.limits import Limit
from billing_api.http.middleware import Observe
from billing_api.http.models import Answer, QueryModel, RequestModel
from billing_api.http.problems import HANDLERS
from billing_api.http.route import Access, EventStream, Html, RawBody, Redirect, Route
from billing_api.metrics import Metrics

SECRET = b"s" * 32
SESSIONS = {"john": UUID(int=1), "jane": UUID(int=2), "admin": UUID(int=3), "jim": UUID(int=4)}
REVOKED = {"jim"}


class KnownSessions:
    """A few sessions whose token is the customer's name."""

    async def authenticate(self, credential: Credential, *, revoked: bool) -> Caller:
        if credential.token not in SESSIONS or (credential.token in REVOKED and not revoked):
            raise unauthenticated("the session has ended")
        session_id = SESSIONS[credential.token]
        return Caller(
            customer_id=credential.token,
            admin=credential.token == "admin",
            session_id=session_id,
            by_cookie=credential.by_cookie,
            csrf_token=csrf.token_of(session_id, secret=SECRET),
        )


class Counter:
    """Lets two calls of an account pass."""

    def __init__(self) -> None:
        self.calls: list[tuple[str | None, str]] = []

    async def count(self, limits: Sequence[Limit], *, account: str | None, client: str) -> None:
        self.calls.append((account, client))
        if len(self.calls) > 2:
            raise TooManyAttempts(f"too many {limits[0].name}s", headers={"Retry-After": "7"})


class Note(RequestModel):
    text: str

    @property
    def account(self) -> str:
        return f"of {self.text}"


class Page(QueryModel):
    limit: int = Field(20, le=100)


class Told(Answer):
    what: str


class Other(Answer):
    what: str


async def tell(call: Call) -> Response:
    return call.answer(Told(what=f"{call.caller and call.caller.customer_id} {call.body!r} {call.query!r}"))


async def tell_raw(call: Call) -> Response:
    return call.answer(Told(what=call.body.decode("latin-1")))


async def tell_other(call: Call) -> Response:
    return call.answer(Other(what="not what the row says"))


async def go(call: Call) -> Response:
    return call.redirect("https://checkout.example/1")


async def show(call: Call) -> Response:
    return call.html("<p>page</p>")


async def follow(call: Call) -> Response:
    async def answers() -> AsyncGenerator[Told, None]:
        yield Told(what="one\ntwo")
        yield Told(what="three")

    return call.events(answers())


def row(method: str, path: str, handler: Any = tell, *, access: Access = Access.PUBLIC, **more: Any) -> Route:
    return Route(
        **{"method": method, "path": path, "handler": handler, "summary": "", "answer": Told} | more, access=access
    )


RAW = RawBody(media_types=("application/octet-stream",), max_bytes=1000)
FORM = RawBody(media_types=(csrf.FORM,), max_bytes=4000)
TABLE = (
    row("GET", "/notes", query=Page),
    row("POST", "/notes", body=Note, access=Access.CUSTOMER),
    row("DELETE", "/notes", access=Access.CUSTOMER),
    row("GET", "/customers/{customer_id}", access=Access.OWNER),
    row("GET", "/admin", access=Access.ADMIN),
    row("POST", "/end", access=Access.CUSTOMER, revoked_sessions=True),
    row("POST", "/raw", tell_raw, body=RAW),
    row("POST", "/form", tell_raw, body=FORM, access=Access.CUSTOMER),
    row(
        "POST",
        "/limited",
        body=Note,
        limits=(Limit(name="note", per="account", most=lambda settings: settings.password_queue),),
    ),
    row("GET", "/other", tell_other),
    row("GET", "/go", go, answer=Redirect(), status=303),
    row("GET", "/page", show, answer=Html()),
    row("GET", "/events", follow, answer=EventStream(of=Told)),
)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
async def client(counter: Counter) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(
        routes=dispatch.routes(TABLE),
        middleware=[Middleware(Observe, metrics=Metrics(CollectorRegistry()))],
        exception_handlers=dict(HANDLERS),
    )
    app.state.services = Services()
    app.state.services.add(
        Gate(authenticator=KnownSessions(), cookies=Cookies(secure=True), limiter=counter),
    )
    transport = httpx.ASGITransport(app=app, client=("203.0.113.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url="https://test") as opened:
        yield opened


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


def by_cookie(name: str) -> dict[str, str]:
    return {"Cookie": f"__Host-billing_session={name}"}


def token(name: str) -> str:
    return csrf.token_of(SESSIONS[name], secret=SECRET)


def test_a_row_that_does_not_say_who_may_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="access"):
        Route(method="GET", path="/", handler=tell, summary="", answer=None)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="access must be one of"):
        row("GET", "/", access=None)  # type: ignore[arg-type]


def test_a_row_for_an_owner_must_name_the_customer() -> None:
    with pytest.raises(ValueError, match="customer_id"):
        row("GET", "/mine", access=Access.OWNER)


@pytest.mark.parametrize("access", [Access.PUBLIC, Access.OWNER, Access.ADMIN])
def test_a_row_for_revoked_sessions_is_about_the_session_alone(access: Access) -> None:
    with pytest.raises(ValueError, match="a revoked session opens nothing of a customer"):
        row("GET", "/customers/{customer_id}", access=access, revoked_sessions=True)


async def test_a_revoked_session_opens_the_rows_that_say_so_and_no_other(client: httpx.AsyncClient) -> None:
    assert (await client.post("/end", headers=bearer("jim"))).status_code == 200
    assert (await client.post("/end", headers=by_cookie("jim"))).status_code == 403
    assert (await client.delete("/notes", headers=bearer("jim"))).status_code == 401
    assert (await client.post("/end")).status_code == 401


def test_a_method_of_a_path_has_one_row() -> None:
    with pytest.raises(ValueError, match="GET /notes is in the table twice"):
        dispatch.routes([*TABLE, row("GET", "/notes")])


async def test_a_wrong_method_is_405_and_allow_names_all_the_right_ones(client: httpx.AsyncClient) -> None:
    response = await client.put("/notes")
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, HEAD, POST")
    assert response.json()["errors"] == [{"field": "method", "detail": "this path answers DELETE, GET, HEAD, POST"}]
    assert "notes" not in response.text
    # A host that is none made a defect of it.
    assert (await client.put("/notes", headers={"Host": "["})).status_code == 405
    assert (await client.head("/events")).headers["allow"] == "GET"


@pytest.mark.parametrize("name", ["%00", "%ff", "a%0d%0aSet-Cookie:x", "x" * 65, "%3Cscript%3E", "j%C3%B6hn", "a%20b"])
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_cannot_be_an_identifier_is_not_found_whoever_asks(
    client: httpx.AsyncClient, method: str, name: str
) -> None:
    for headers in ({}, bearer("admin")):
        response = await client.request(method, f"/customers/{name}", headers=headers)
        assert response.status_code == 404
        assert response.json()["detail"] == "There is nothing at this path; /openapi.json lists what there is"
    assert (await client.get(f"/customers/{'x' * 64}", headers=bearer("admin"))).status_code == 200


@pytest.mark.parametrize("headers", [{}, bearer("nobody"), {"Authorization": "Basic am9obg=="}, by_cookie("nobody")])
async def test_who_has_no_session_is_refused_before_anything_of_the_body_is_read(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    read = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read = True
        yield b"not even JSON"

    response = await client.post("/notes", content=body(), headers=headers)
    assert (response.status_code, read) == (401, False)
    assert response.headers["www-authenticate"] == 'Bearer realm="billing"'


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        ("/customers/john", "john", 200),
        ("/customers/john", "jane", 404),
        ("/customers/john", "admin", 200),
        ("/admin", "john", 403),
        ("/admin", "admin", 200),
    ],
)
async def test_a_row_opens_only_to_whom_it_says(client: httpx.AsyncClient, path: str, who: str, status: int) -> None:
    assert (await client.get(path, headers=bearer(who))).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (by_cookie("john"), 403),
        ({**by_cookie("john"), "X-CSRF-Token": ""}, 403),
        ({**by_cookie("john"), "X-CSRF-Token": token("jane")}, 403),
        ({**by_cookie("john"), "X-CSRF-Token": "ü"}, 403),
        ({**by_cookie("john"), "X-CSRF-Token": token("john")}, 200),
        (bearer("john"), 200),
    ],
)
async def test_what_a_browsers_session_changes_needs_the_sessions_own_csrf_token(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    response = await client.request("DELETE", "/notes", headers=encoded)
    assert response.status_code == status
    if status == 403:
        assert response.json()["type"] == "urn:iotistic:problem:csrf-token-missing"
        assert "the cookie __Host-billing_csrf;" in response.json()["detail"]  # as it is called where TLS is


async def test_reading_needs_no_csrf_token(client: httpx.AsyncClient) -> None:
    assert (await client.get("/customers/john", headers=by_cookie("john"))).status_code == 200


@pytest.mark.parametrize(("field", "status"), [("", 403), (token("jane"), 403), (token("john"), 200)])
async def test_a_form_without_a_script_carries_the_token_as_a_field(
    client: httpx.AsyncClient, field: str, status: int
) -> None:
    response = await client.post("/form", data={"csrf_token": field, "a": "1"}, headers=by_cookie("john"))
    assert response.status_code == status


async def test_a_form_of_too_many_fields_has_no_token(client: httpx.AsyncClient) -> None:
    crowded = f"csrf_token={token('john')}{'&a' * 1000}"
    headers = {**by_cookie("john"), "Content-Type": csrf.FORM}
    assert (await client.post("/form", content=crowded, headers=headers)).status_code == 403


async def test_query_parameters_are_checked_and_typed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/notes?limit=7")).json() == {"what": "None None Page(limit=7)"}
    response = await client.get("/notes?limit=700&sort=asc")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == ["sort", "limit"]


async def test_a_parameter_that_a_row_does_not_know_is_refused_with_what_was_meant(client: httpx.AsyncClient) -> None:
    response = await client.get("/notes?limt=7")
    assert [error["detail"] for error in response.json()["errors"]] == [
        "limt is not a known field; did you mean limit?"
    ]
    response = await client.post("/raw?x=1", content=b"1", headers={"Content-Type": "application/octet-stream"})
    assert response.status_code == 400
    assert [error["detail"] for error in response.json()["errors"]] == ["x is not a known field; known are none here"]
    # Links to a page are counted by such.
    assert (await client.get("/page?utm_source=letter")).status_code == 200


async def test_a_raw_body_arrives_as_it_was_sent_within_its_own_limit(client: httpx.AsyncClient) -> None:
    binary = {"Content-Type": "application/octet-stream"}
    assert (await client.post("/raw", content=b'\x00{"a": 1, "a": 2}\xff', headers=binary)).json() == {
        "what": '\x00{"a": 1, "a": 2}ÿ'
    }
    assert (await client.post("/raw", content=b"x" * 1000, headers=binary)).status_code == 200
    assert (await client.post("/raw", content=b"x" * 1001, headers=binary)).status_code == 413
    response = await client.post("/raw", content=b"{}", headers={"Content-Type": "application/json"})
    assert (response.status_code, response.headers["accept"]) == (415, "application/octet-stream")


async def test_calls_of_a_limited_row_are_counted_by_account_and_address_once_they_are_valid(
    client: httpx.AsyncClient, counter: Counter
) -> None:
    assert (await client.post("/limited", json={})).status_code == 400
    statuses = [(await client.post("/limited", json={"text": "x"})).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert counter.calls == [("of x", "203.0.113.7")] * 3


async def test_an_answer_that_is_not_of_the_rows_kind_is_a_defect(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    response = await client.get("/other")
    assert response.status_code == 500
    assert "GET /other answers with something else than its row says" in caplog.text


async def test_redirects_and_pages(client: httpx.AsyncClient) -> None:
    away, page = await client.get("/go"), await client.get("/page")
    assert (away.status_code, away.headers["location"]) == (303, "https://checkout.example/1")
    assert (page.headers["content-type"], page.text) == ("text/html; charset=utf-8", "<p>page</p>")
    assert page.headers["x-frame-options"] == "DENY"


async def test_events_are_sent_one_by_one(client: httpx.AsyncClient) -> None:
    response = await client.get("/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text == 'data: {"what":"one\\ntwo"}\n\ndata: {"what":"three"}\n\n'


class Slow:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.closed = False

    async def __anext__(self) -> Told:
        await self.go.wait()
        self.go.clear()
        return Told(what="late")

    async def aclose(self) -> None:
        self.closed = True


async def test_silence_is_filled_with_comments_and_loses_no_event() -> None:
    slow = Slow()
    chunks = stream(slow, keep_alive=0.01)
    assert [await anext(chunks) for _ in range(3)] == [b": keep-alive\n\n"] * 3
    slow.go.set()
    assert await anext(chunks) == b'data: {"what":"late"}\n\n'


@pytest.mark.parametrize("after", [0, 1])
async def test_a_stream_is_closed_when_the_client_is_gone_however_early(after: int) -> None:
    slow, sent = Slow(), asyncio.Event()
    call = Call(request=Request({"type": "http"}), route=TABLE[-1], services=Services())
    response = call.events(slow)
    if after:
        slow.go.set()

    async def send(message: Any) -> None:
        if message.get("body"):
            sent.set()

    async def receive() -> Any:
        if after:
            await sent.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(10):
        await response({"type": "http", "asgi": {"spec_version": "2.0"}}, receive, send)
    assert slow.closed
