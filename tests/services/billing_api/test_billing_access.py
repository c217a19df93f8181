"""Who may call what: every row of the real table that is not public, and what browsers are given."""

import httpx
import jwt
import pytest

from billing_api.http.route import Access, Route
from billing_api.routes import ROUTES
from billing_api.settings import Settings
from tests.services.billing_api.harness import Billing, Query, Start, changed
from tests.support.billing import session_of

_GUARDED = [route for route in ROUTES if route.access is not Access.PUBLIC]
_guarded = pytest.mark.parametrize("route", _GUARDED, ids=lambda route: f"{route.method} {route.path}")

#: What strangers may call, written down by hand: a row that becomes public by mistake is found here.
_PUBLIC = {
    "POST /api/customers/signup",
    "POST /api/customers/login",
    "GET /health/live",
    "GET /health/ready",
    "GET /metrics",
    "GET /openapi.json",
    "GET /docs",
    "GET /.well-known/jwks.json",
}


#: What a session may call that a logout has ended; by hand as well.
_TO_REPEAT = {"POST /api/customers/logout"}


async def _call(billing: Billing, route: Route, customer_id: str, headers: dict[str, str]) -> httpx.Response:
    return await billing.client.request(route.method, route.path.format(customer_id=customer_id), headers=headers)


def test_only_what_is_meant_for_everybody_is_public() -> None:
    assert {f"{route.method} {route.path}" for route in ROUTES if route.access is Access.PUBLIC} == _PUBLIC


@_guarded
async def test_without_a_session_nothing_opens(billing: Billing, route: Route) -> None:
    john = (await billing.new_customer())["customer"]["customer_id"]
    response = await _call(billing, route, john, {})
    assert (response.status_code, response.json()["type"]) == (401, "urn:iotistic:problem:unauthenticated")


@_guarded
async def test_with_an_expired_session_nothing_opens(billing: Billing, route: Route, query: Query) -> None:
    john = await billing.new_customer()
    query("UPDATE sessions SET expires_at = now()")
    response = await _call(billing, route, john["customer"]["customer_id"], session_of(john))
    assert (response.status_code, response.json()["errors"][0]["detail"]) == (401, "the session has ended")


@_guarded
async def test_with_a_session_that_was_ended_nothing_opens_but_to_end_it_again(billing: Billing, route: Route) -> None:
    john = await billing.new_customer()
    ended = await billing.client.post("/api/customers/logout", headers=session_of(john))
    again = await _call(billing, route, john["customer"]["customer_id"], session_of(john))
    assert (ended.status_code, again.status_code) == (204, 204 if f"{route.method} {route.path}" in _TO_REPEAT else 401)


@_guarded
async def test_with_a_foreign_session_nothing_of_a_customer_opens(billing: Billing, route: Route) -> None:
    john, jane = await billing.new_customer("john@example.com"), await billing.new_customer("jane@example.com")
    response = await _call(billing, route, john["customer"]["customer_id"], session_of(jane))
    # A row for any customer is about the caller alone, so another's session opens nothing of John's.
    expected = {Access.OWNER: 404, Access.ADMIN: 403, Access.CUSTOMER: route.status}
    assert response.status_code == expected[route.access]
    assert (await billing.client.get(john["deployment"]["check_status_url"], headers=session_of(john))).is_success


@_guarded
async def test_with_a_session_of_another_service_nothing_opens(billing: Billing, route: Route) -> None:
    john = await billing.new_customer()
    payload = jwt.decode(john["session"]["token"], options={"verify_signature": False})
    forged = jwt.encode(payload, b"x" * 32, algorithm="HS256")
    customer_id = john["customer"]["customer_id"]
    response = await _call(billing, route, customer_id, {"Authorization": f"Bearer {forged}"})
    assert response.status_code == 401


def _cookies(response: httpx.Response) -> dict[str, tuple[str, set[str]]]:
    """Return value and attributes of every cookie that is set."""
    found = {}
    for header in response.headers.get_list("set-cookie"):
        first, *attributes = header.split(";")
        name, _, value = first.partition("=")
        found[name] = value, {attribute.strip().lower().partition("=")[0] for attribute in attributes}
    return found


async def test_where_tls_is_the_cookies_belong_to_this_very_host(billing: Billing) -> None:
    response = await billing.sign_up()
    cookies = _cookies(response)
    assert set(cookies) == {"__Host-billing_session", "__Host-billing_csrf"}
    token, attributes = cookies["__Host-billing_session"]
    assert token == response.json()["session"]["token"]
    # RFC 6265bis section 4.1.3.2: Secure, Path=/ and no Domain, or browsers drop it.
    assert attributes == {"httponly", "secure", "samesite", "path", "max-age"}
    assert cookies["__Host-billing_csrf"][1] == {"secure", "samesite", "path", "max-age"}


async def test_on_localhost_the_cookies_work_without_tls(start: Start, settings: Settings) -> None:
    async with start(changed(settings, base_domain="localhost")) as billing:
        cookies = _cookies(await billing.sign_up())
        assert set(cookies) == {"billing_session", "billing_csrf"}
        assert not any("secure" in attributes for _, attributes in cookies.values())


async def test_where_tls_is_browsers_are_told_never_to_try_without(
    billing: Billing, start: Start, settings: Settings
) -> None:
    paths = ("/health/live", "/docs", "/nothing", "/api/customers/cust-1/deployment/status")
    for path in paths:
        answer = await billing.client.get(path)
        assert answer.headers["strict-transport-security"] == "max-age=31536000", answer.status_code
    async with start(changed(settings, base_domain="localhost")) as local:
        for path in paths:
            assert "strict-transport-security" not in (await local.client.get(path)).headers


async def test_a_browser_logs_out_with_the_csrf_token_of_its_cookie_and_not_without(billing: Billing) -> None:
    cookies = _cookies(await billing.sign_up())
    customer_id = (await billing.log_in()).json()["customer_id"]
    url = f"/api/customers/{customer_id}/deployment/status"
    cookie = {"Cookie": f"__Host-billing_session={cookies['__Host-billing_session'][0]}"}
    forged = await billing.client.post("/api/customers/logout", headers=cookie)
    assert (forged.status_code, forged.json()["errors"][0]["field"]) == (403, "X-CSRF-Token")
    assert (await billing.client.get(url, headers=cookie)).status_code == 200
    with_token = {**cookie, "X-CSRF-Token": cookies["__Host-billing_csrf"][0]}
    ended = await billing.client.post("/api/customers/logout", headers=with_token)
    assert ended.status_code == 204
    assert {name: value for name, (value, _) in _cookies(ended).items()} == {
        "__Host-billing_session": '""',
        "__Host-billing_csrf": '""',
    }
    assert (await billing.client.get(url, headers=cookie)).status_code == 401
