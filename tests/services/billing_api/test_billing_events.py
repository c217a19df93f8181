"""The event stream as a browser opens it; what it tells, and when, is tested beside the watch."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator
from starlette.types import Message

from billing_api.http.docs import OpenApi
from billing_api.kube.followers import Follower, Followers
from tests.services.billing_api.harness import Billing
from tests.support.billing import session_of

#: More than a customer may have open at a time.
_MANY = 10


async def _first_event(billing: Billing, url: str, headers: dict[str, str]) -> tuple[dict[str, str], str]:
    """Open a stream, and go away at its first event; return headers and event. httpx would wait for its end."""
    arrived: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    begun: list[Message] = []
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": urlsplit(url).path,
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("203.0.113.7", 1),
        "server": ("billing.test", 443),
    }

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            begun.append(message)
        elif message["body"] and not arrived.done():
            arrived.set_result(message["body"])

    async def receive() -> Message:
        await asyncio.shield(arrived)
        return {"type": "http.disconnect"}

    async with asyncio.timeout(30):
        await billing.app(scope, receive, send)
    [start] = begun
    assert start["status"] == 200
    return {name.decode(): value.decode() for name, value in start["headers"]}, (await arrived).decode()


async def test_a_stream_begins_with_the_deployment_status_as_it_is_documented(billing: Billing) -> None:
    john = await billing.new_customer()
    url = john["deployment"]["check_status_url"].replace("/status", "/events")
    headers, event = await _first_event(billing, url, session_of(john))
    assert headers["content-type"].startswith("text/event-stream")
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
    assert event.startswith("data: ")
    assert event.endswith("\n\n")
    told = json.loads(event.removeprefix("data: "))
    assert told == await billing.status(john)
    document = billing.services.get(OpenApi).document
    operation = document["paths"]["/api/customers/{customer_id}/deployment/events"]["get"]
    schema = operation["responses"]["200"]["content"]["text/event-stream"]["schema"]["properties"]["data"]
    with_components = {**schema["contentSchema"], "components": document["components"]}
    assert list(Draft202012Validator(with_components).iter_errors(told)) == []


async def test_a_stream_whose_reader_is_gone_does_not_count_any_more(
    billing: Billing, monkeypatch: pytest.MonkeyPatch
) -> None:
    followers = billing.services.get(Followers)
    opened: list[Follower] = []
    usual = followers.open

    def keep(customer_id: str, *, network: str) -> Follower:
        # Else one that nobody has closed would not count either, as soon as nobody refers to it.
        opened.append(usual(customer_id, network=network))
        return opened[-1]

    monkeypatch.setattr(followers, "open", keep)
    john = await billing.new_customer()
    url = john["deployment"]["check_status_url"].replace("/status", "/events")
    for _ in range(_MANY):
        _, event = await _first_event(billing, url, session_of(john))
        assert event.startswith("data: ")
    assert [each.network for each in opened] == ["203.0.113.0/24"] * _MANY
    assert await billing.count("billing_event_streams") == 0
