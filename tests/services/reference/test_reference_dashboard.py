"""The reference dashboard in front of the reference API, as a browser and as somebody who means harm see it."""

import signal
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.services.conftest import Tenant
from tests.services.reference.conftest import Database, MakeApi, rows
from tests.services.reference.test_reference_readings import publish
from tests.support.pods import new_root
from tests.support.reference import OpenBroker, ReferenceApi, ReferenceDashboard
from tests.support.waiting import eventually

MARKUP = "<script>alert(1)</script>"


def test_a_visitor_without_a_token_is_asked_for_it(dashboard: ReferenceDashboard) -> None:
    answer = dashboard.request("GET", "/")

    assert answer.status_code == 200
    assert 'action="/sign-in"' in answer.text


def test_the_token_lets_in_and_stays_in_a_cookie_that_no_script_reads(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    answer = dashboard.submit("/sign-in", token=reference_api.token)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"access={reference_api.token};")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Devices" in dashboard.visit("/", reference_api.token).text


def test_behind_tls_the_cookie_belongs_to_this_host_alone(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    headers = {"Origin": dashboard.url.replace("http:", "https:"), "X-Forwarded-Proto": "https"}

    answer = dashboard.request("POST", "/sign-in", data={"token": reference_api.token}, headers=headers)

    assert answer.headers["Set-Cookie"].startswith("__Host-access=")
    assert "Secure" in answer.headers["Set-Cookie"]


@pytest.mark.parametrize("token", ["", "wrong", "\r\nX: y", "ä"])
def test_a_wrong_token_does_not_let_in(dashboard: ReferenceDashboard, reference_api: ReferenceApi, token: str) -> None:
    answer = dashboard.submit("/sign-in", token=token)

    assert answer.status_code == 401
    assert "This is not the access token" in answer.text


def test_a_cookie_that_is_no_token_leads_to_the_way_in(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    reference_api.register("meter")

    for path in ("/", "/live", "/devices/meter"):
        answer = dashboard.visit(path, "wrong")
        assert (answer.status_code, "meter" in answer.text) == (401, False)


@pytest.mark.parametrize("origin", ["", "null", "https://neighbor.iot.example.com", "http://127.0.0.1:1"])
def test_forms_of_other_pages_do_nothing(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi, origin: str
) -> None:
    reference_api.register("meter")
    token = reference_api.token

    answers = [
        dashboard.submit("/sign-in", origin=origin, token=token),
        dashboard.submit("/sign-out", token, origin=origin),
        dashboard.submit("/devices", token, origin=origin, name="other"),
        dashboard.submit("/devices/meter/delete", token, origin=origin),
    ]

    assert [answer.status_code for answer in answers] == [403] * 4
    assert [answer.headers.get("Set-Cookie") for answer in answers] == [None] * 4
    devices = reference_api.call("GET", "/api/devices").json()["devices"]
    assert [device["name"] for device in devices] == ["meter"]


async def test_a_reading_is_on_the_page_and_its_name_is_no_markup(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi, shared_broker: OpenBroker, shared_database: Database
) -> None:
    reference_api.register("meter")
    publish(shared_broker, (f"t/meter/{MARKUP}", "21.5"))
    await eventually(lambda: len(rows(shared_database, "meter")) == 1)

    for path in ("/", "/live", "/devices/meter"):
        page = dashboard.visit(path, reference_api.token).text
        assert "21.5" in page
        assert MARKUP not in page
        assert "&lt;script&gt;alert(1)" in page


def test_a_device_is_registered_and_its_password_shown(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    answer = dashboard.submit("/devices", reference_api.token, name="meter")

    assert answer.status_code == 200
    assert "meter is registered" in answer.text
    assert 'id="password"' in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert 'id="password"' not in dashboard.visit("/", reference_api.token).text


def test_what_the_api_refuses_is_told_on_the_page(dashboard: ReferenceDashboard, reference_api: ReferenceApi) -> None:
    answer = dashboard.submit("/devices", reference_api.token, name=MARKUP)

    assert answer.status_code == 400
    assert "name must have 1 to 64 letters" in answer.text
    assert MARKUP not in answer.text


def test_a_device_is_deleted(dashboard: ReferenceDashboard, reference_api: ReferenceApi) -> None:
    reference_api.register("meter")

    assert dashboard.submit("/devices/meter/delete", reference_api.token).status_code == 303

    assert reference_api.call("GET", "/api/devices").json()["devices"] == []
    assert dashboard.visit("/devices/meter", reference_api.token).status_code == 404


def test_many_devices_are_shown_page_by_page(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi, shared_database: Database
) -> None:
    shared_database.execute(
        "INSERT INTO public.devices SELECT 'd' || lpad(i::text, 3, '0') FROM generate_series(1, 60) i"
    )

    first, second = (dashboard.visit(path, reference_api.token).text for path in ("/", "/?after=d050"))

    assert ("d050" in first, "d051" in first, '"/?after=d050"' in first) == (True, False, True)
    assert ("d051" in second, "d060" in second, "Next page" in second) == (True, True, False)


def test_every_page_tells_the_browser_to_run_and_load_nothing_of_others(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    for path in ("/", "/live", "/devices/none"):
        policy = dashboard.visit(path, reference_api.token).headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


def test_the_api_is_reached_through_the_dashboard_with_its_own_answers(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    headers = {"Authorization": f"Bearer {reference_api.token}"}

    created = dashboard.request("POST", "/api/devices", headers=headers, json={"name": "meter"})
    again = dashboard.request("POST", "/api/devices", headers=headers, json={"name": "meter"})
    gone = dashboard.request("DELETE", "/api/devices/meter", headers=headers)

    assert [answer.status_code for answer in (created, again, gone)] == [201, 409, 204]
    assert again.headers["Content-Type"] == "application/problem+json"
    assert dashboard.request("GET", "/api/health").json()["database"] == "ok"


def test_the_cookie_of_the_page_is_no_key_to_the_api(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi
) -> None:
    """Otherwise any page that a browser takes for ours could use it there."""
    assert dashboard.visit("/api/devices", reference_api.token).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/api/../metrics",
        "/api/%2e%2e/metrics",
        "/api/..%2fmetrics",
        "/api//../../metrics",
        "/api/%3f/../../metrics",
        "/api/%23/../../metrics",
    ],
)
def test_nothing_but_the_api_is_reached_through_the_dashboard(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi, path: str
) -> None:
    assert "api_devices" in reference_api.request("GET", "/metrics").text

    answer = raw_request(dashboard, path)

    assert b"api_devices" not in answer
    assert not answer.startswith(b"HTTP/1.1 200")


def test_without_the_api_there_is_a_page_and_the_probe_is_content(
    tenant: Tenant, folder: Path, make_api: MakeApi, broker: OpenBroker
) -> None:
    api = make_api(broker)
    api.listen()
    dashboard = ReferenceDashboard(tenant.manifests, api_url=api.url, root=new_root(folder))
    try:
        dashboard.listen()
        api.kill()

        page, probe = dashboard.visit("/", api.token), dashboard.request("GET", "/")
        through = dashboard.request("GET", "/api/health")

        assert (page.status_code, "The API does not answer" in page.text) == (503, True)
        assert probe.status_code == 200
        assert (through.status_code, through.headers["Content-Type"]) == (502, "application/problem+json")
        api.listen()
        assert dashboard.request("GET", "/api/health").status_code in (200, 503)
        assert dashboard.server.stop(signal.SIGTERM) == 0
    finally:
        dashboard.close()


def raw_request(dashboard: ReferenceDashboard, path: str) -> bytes:
    """Return the answer to a path that no well-behaved client sends."""
    with socket.create_connection(("127.0.0.1", dashboard.port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("path", ["/sign-in", "/devices", "/api/devices"])
def test_bodies_that_never_end_take_neither_the_page_nor_the_api_from_others(
    dashboard: ReferenceDashboard, reference_api: ReferenceApi, path: str
) -> None:
    """More than there may be connections, to the dashboard as to the API."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n".encode()
    with ExitStack() as cleanup:
        slow = []
        for _ in range(250):
            slow.append(cleanup.enter_context(socket.create_connection(("127.0.0.1", dashboard.port), timeout=30)))
            slow[-1].sendall(head)

        # Who comes last is answered, so all have been looked at.
        assert slow[-1].recv(12) == b"HTTP/1.1 503"
        assert dashboard.request("GET", "/").status_code == 200
        assert dashboard.visit("/", reference_api.token).status_code == 200
        # And whoever was listened to is told in the end.
        assert slow[0].recv(12) == b"HTTP/1.1 408"
    assert dashboard.submit("/sign-in", token=reference_api.token).status_code == 303


def test_a_body_that_nobody_would_send_is_not_passed_on(dashboard: ReferenceDashboard) -> None:
    body = b" " * 1_000_001
    for content in (body, iter([body])):  # with its length, and in chunks
        answer = httpx.post(f"{dashboard.url}/api/devices", content=content, trust_env=False, timeout=30)
        assert answer.status_code == 413
