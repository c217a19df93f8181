"""The client's address behind proxies: whose word counts, and how it is spelled."""

import ipaddress
import logging
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from billing_api.http.addresses import ClientAddress, TrustedProxies, parse

_PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        (" 203.0.113.9 ", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0::0001", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
    ],
)
def test_an_entry_is_an_address_with_or_without_a_port(entry: str, address: str) -> None:
    assert str(parse(entry)) == address


@pytest.mark.parametrize(
    "entry",
    ["", "unknown", "_hidden", "example.com", "203.0.113", "203.0.113.9:x", "203.0.113.9:4711:1", "[2001:db8::1",
     "2001:db8::1]:443", "fe80::1%eth0", "256.1.1.1", "203.0.113.9/32", "1" * 5000, "203.0.113.9\x00", "\uff12.2.2.2"],
)  # fmt: skip
def test_everything_else_is_none(entry: str) -> None:
    assert parse(entry) is None


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # What the client wrote itself is left of what our proxies have added.
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2, 192.0.2.7:443"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::5]:1234"], "2001:db8::5"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # A request that began at one of our own.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, , ,"], "198.51.100.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        # Left of what cannot be read, nobody's word counts.
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, garbage, 10.0.0.2"], "10.0.0.2"),
    ],
)
def test_the_client_is_the_rightmost_that_is_no_proxy_of_ours(peer: str, forwarded_for: list[str], client: str) -> None:
    address = parse(peer)
    assert address is not None
    assert _PROXIES.client(address, forwarded_for) == ipaddress.ip_address(client)


async def _ask(peer: str, *headers: tuple[str, str], networks: tuple[str, ...] = ("10.0.0.0/8",)) -> str:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope)
        assert request.client is not None
        response: Response = PlainTextResponse(f"{request.url.scheme} {request.client.host}:{request.client.port}")
        await response(scope, receive, send)

    transport = httpx.ASGITransport(ClientAddress(app, networks), client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://billing.test") as client:
        return (await client.get("/", headers=list(headers))).text


@pytest.mark.parametrize(
    ("peer", "headers", "seen"),
    [
        ("203.0.113.9", [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "https")], "http 203.0.113.9:4711"),
        ("10.0.0.1", [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "https")], "https 1.1.1.1:0"),
        ("10.0.0.1", [("X-Forwarded-For", "2.2.2.2"), ("X-Forwarded-For", "1.1.1.1")], "http 1.1.1.1:0"),
        ("10.0.0.1", [("X-Forwarded-Proto", "http, HTTPS")], "https 10.0.0.1:4711"),
        ("10.0.0.1", [("X-Forwarded-Proto", "javascript")], "http 10.0.0.1:4711"),
        ("::ffff:203.0.113.9", [], "http 203.0.113.9:4711"),
    ],
)
async def test_address_and_scheme_come_from_trusted_peers_only(
    peer: str, headers: list[tuple[str, str]], seen: str
) -> None:
    assert await _ask(peer, *headers) == seen


async def test_a_forwarded_for_of_a_stranger_is_warned_about_once(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("")(scope, receive, send)

    middleware = ClientAddress(app, ())
    transport = httpx.ASGITransport(middleware, client=("203.0.113.9", 4711))
    with caplog.at_level(logging.WARNING):
        async with httpx.AsyncClient(transport=transport, base_url="http://billing.test") as client:
            await client.get("/")
            assert not caplog.messages
            for _ in range(3):
                await client.get("/", headers={"X-Forwarded-For": "198.51.100.1"})
    [message] = caplog.messages
    assert "203.0.113.9" in message
    assert "set TRUSTED_PROXIES" in message
    assert "198.51.100.1" not in message
