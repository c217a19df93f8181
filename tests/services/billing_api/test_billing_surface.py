"""What callers can ask for, written down here: the code's own table cannot confirm itself."""

from typing import Any

import pytest

from tests.services.billing_api.harness import Billing

#: Method and path to the status of success, and whether a session is needed.
SURFACE = {
    ("POST", "/api/customers/signup"): (201, False),
    ("POST", "/api/customers/login"): (200, False),
    ("POST", "/api/customers/logout"): (204, True),
    ("GET", "/api/customers/{customer_id}/deployment/status"): (200, True),
    ("GET", "/health/live"): (200, False),
    ("GET", "/health/ready"): (200, False),
    ("GET", "/metrics"): (200, False),
    ("GET", "/openapi.json"): (200, False),
    ("GET", "/.well-known/jwks.json"): (200, False),
}
_PUBLIC_READS = [path for (method, path), (_, session) in SURFACE.items() if method == "GET" and not session]


async def _documented(billing: Billing) -> dict[tuple[str, str], dict[str, Any]]:
    paths = (await billing.client.get("/openapi.json")).json()["paths"]
    return {(method.upper(), path): item for path, items in paths.items() for method, item in items.items()}


async def test_everything_on_the_list_is_documented_with_its_status_and_its_need_of_a_session(
    billing: Billing,
) -> None:
    documented = await _documented(billing)
    for route, (status, session) in SURFACE.items():
        assert str(status) in documented[route]["responses"], route
        assert bool(documented[route].get("security")) is session, route


@pytest.mark.parametrize("path", _PUBLIC_READS)
async def test_what_is_public_answers_without_a_session(billing: Billing, path: str) -> None:
    assert (await billing.client.get(path)).status_code == 200


async def test_whatever_is_documented_to_need_a_session_is_401_without_one(billing: Billing) -> None:
    documented = await _documented(billing)
    guarded = [route for route, item in documented.items() if item.get("security")]
    assert {route for route, (_, session) in SURFACE.items() if session} <= set(guarded)
    for method, path in guarded:
        response = await billing.client.request(method, path.replace("{customer_id}", "cust-0"))
        assert response.status_code == 401, (method, path)


async def test_whatever_is_documented_exists(billing: Billing) -> None:
    for method, path in await _documented(billing):
        other = "PUT" if method != "PUT" else "DELETE"
        response = await billing.client.request(other, path.replace("{customer_id}", "cust-0"))
        assert response.status_code == 405, (method, path)
        assert method in response.headers["allow"].split(", "), (method, path)
