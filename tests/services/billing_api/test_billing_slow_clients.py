"""Clients that take their time, or too much of anything: they are ended, and all others are served."""

import asyncio
import itertools
import json
import re
import socket
import sys
import time
from pathlib import Path
from statistics import quantiles

import httpx
import pytest

from tests.support.billing import billing_process, replica_environment, signup_body
from tests.support.raw_http import PATIENCE, READY, RawClient, connections, post

_HEAD = b"POST /api/customers/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_WRONG_LOGIN = b'{"email": "nobody@example.com", "password": "NoPassword1"}'
_SPACES = itertools.repeat(ord(" "))
# Many times what an answer takes on an idle machine, and a small part of what the slow ones are given.
_PROMPT_SECONDS = 5.0


@pytest.fixture
def environ(dsn: str, tmp_path: Path) -> dict[str, str]:
    return replica_environment(dsn, tmp_path)


async def _timed(client: httpx.AsyncClient, number: int) -> list[float]:
    """Ask for readiness on new connections; return how long each answer took, in seconds."""
    seconds = []
    for _ in range(number):
        started = time.monotonic()
        response = await client.get("/health/ready", headers={"Connection": "close"})
        seconds.append(time.monotonic() - started)
        assert response.status_code == 200
    return seconds


def _show(what: str, seconds: list[float]) -> None:
    cuts = [1000 * cut for cut in quantiles(seconds, n=20)]
    figures = f"p50 {cuts[9]:.1f} ms, p95 {cuts[18]:.1f} ms, longest {1000 * max(seconds):.1f} ms"
    sys.stdout.write(f"\n{what}: {figures}\n")


async def _metric(client: httpx.AsyncClient, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", (await client.get("/metrics")).text, re.MULTILINE)
    assert found, name
    return float(found[1])


async def test_500_half_open_requests_delay_nobody_and_are_ended(environ: dict[str, str]) -> None:
    async with (
        billing_process(environ | {"REQUEST_TIMEOUT": "6"}) as process,
        await process.client() as client,
        connections(client.base_url, 500) as slow,
    ):
        _show("alone", await _timed(client, 20))
        for one in slow:
            await one.send(_HEAD)
        seconds = await _timed(client, 100)
        _show("beside 500 half-open requests", seconds)
        assert max(seconds) < _PROMPT_SECONDS
        assert (await client.post("/api/customers/signup", json=signup_body())).status_code == 201
        answers = await asyncio.gather(*(one.answer() for one in slow))
        assert await _metric(client, 'billing_connections_ended_early_total{reason="slow_head"}') == 500
    assert {answer.status for answer in answers} == {408}
    assert answers[0].json["type"] == "urn:iotistic:problem:request-timeout"
    assert "500 slow_head" in process.log


async def test_headers_in_single_bytes_are_served_unless_they_take_too_long(environ: dict[str, str]) -> None:
    async with (
        billing_process(environ | {"REQUEST_TIMEOUT": "2"}) as process,
        await process.client() as client,
        connections(client.base_url, 3) as (quick, slow, silent),
    ):
        assert (await quick.drip(READY, every=0.001)).status == 200
        # Every byte is progress, and none wins any time.
        answer = await slow.drip(itertools.chain(_HEAD + b"X: ", _SPACES))
        assert answer.status == 408
        assert "2 s" in answer.json["detail"]
        # Browsers open connections in advance: who has asked for nothing is told nothing.
        assert await silent.is_ended()


async def test_a_body_has_to_arrive_in_time_however_steadily_it_comes(environ: dict[str, str]) -> None:
    login = post("/api/customers/login", _WRONG_LOGIN)
    async with (
        billing_process(environ | {"REQUEST_TIMEOUT": "2"}) as process,
        await process.client() as client,
        connections(client.base_url, 4) as (quick, silent, steady, chunked),
    ):
        assert (await quick.drip(login, every=0.002)).status == 401
        await silent.send(post("/api/customers/login", b"{", length=99))
        await steady.send(post("/api/customers/login", b"{", length=9999))
        await chunked.send(_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n")
        answers = [await silent.answer(), await steady.drip(_SPACES), await chunked.answer()]
        for answer in answers:
            assert answer.status == 408
            assert answer.json["errors"] == [{"field": "body", "detail": "body must arrive within 2 seconds"}]
            assert answer.json["instance"] == f"urn:uuid:{answer.headers['x-request-id']}"
            await process.logged(f"POST /api/customers/login 408 .* {answer.headers['x-request-id']}")
        assert await silent.is_ended()
    assert "Traceback" not in process.log


async def test_the_rest_of_a_body_nobody_asked_for_does_not_hold_the_connection(environ: dict[str, str]) -> None:
    async with (
        billing_process(environ | {"REQUEST_TIMEOUT": "2"}) as process,
        await process.client() as client,
        connections(client.base_url, 1) as (one,),
    ):
        await one.send(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{")
        assert (await one.answer()).status == 404
        dripping = asyncio.create_task(_drip_until_ended(one))
        async with asyncio.timeout(PATIENCE):
            await dripping
        assert await _metric(client, 'billing_connections_ended_early_total{reason="slow_body"}') == 1


async def _drip_until_ended(one: RawClient) -> None:
    ended = asyncio.create_task(one.is_ended())
    while not ended.done():
        one.writer.write(b" ")
        await asyncio.wait({ended}, timeout=0.05)
    assert await ended


async def test_pipelined_requests_are_answered_in_their_order(environ: dict[str, str]) -> None:
    login = post("/api/customers/login", b"[]")
    unknown = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        billing_process(environ) as process,
        await process.client() as client,
        connections(client.base_url, 1) as (one,),
    ):
        await one.send((READY + login + unknown) * 20 + READY[:10])
        statuses = [(await one.answer()).status for _ in range(60)]
        await one.send(READY[10:])
        assert [*statuses, (await one.answer()).status] == [200, 400, 404] * 20 + [200]


async def test_of_2000_idle_connections_the_oldest_make_room_and_all_requests_are_served(
    environ: dict[str, str],
) -> None:
    async with (
        billing_process(environ) as process,
        await process.client() as client,
        connections(client.base_url, 2000) as idle,
    ):
        # Each has been kept alive after a request, or was until there were more than MAX_CONNECTIONS=1000.
        for one in idle[1000:]:
            await one.send(READY)
            assert (await one.answer()).status == 200
        seconds = await _timed(client, 50)
        _show("beside 1,000 idle connections, another 1,000 evicted", seconds)
        assert max(seconds) < _PROMPT_SECONDS
        assert await _metric(client, "billing_connections") == 1000
        assert await _metric(client, 'billing_connections_ended_early_total{reason="evicted"}') >= 1000
        assert all(await asyncio.gather(*(_was_reset(one) for one in idle[:1000])))
        await idle[-1].send(READY)
        assert (await idle[-1].answer()).status == 200


async def _was_reset(one: RawClient) -> bool:
    try:
        return await one.is_ended()
    except ConnectionResetError:
        return True


async def test_past_max_connections_that_are_all_busy_the_answer_is_503() -> None:
    async with billing_process({"MAX_CONNECTIONS": "3"}, module="tests.support.served") as process:
        address = await process.address()
        async with connections(address, 3) as streams:
            for one in streams:
                await one.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await one.reader.readuntil(b"data: 1\n\n")
            async with connections(address, 100) as refused:
                answers = await asyncio.gather(*(one.answer() for one in refused[-50:]))
            assert {answer.status for answer in answers} == {503}
            assert answers[0].headers["retry-after"] == "5"
            assert answers[0].json["type"] == "urn:iotistic:problem:service-unavailable"
            # They still stream, and one that goes makes room.
            assert await streams[1].reader.readuntil(b"data: 3\n\n")
            streams[0].writer.close()
            assert await _until_served(address) == 200


async def _until_served(address: str) -> int:
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient() as client:
        while (response := await client.get(address)).status_code == 503:
            pass
        return response.status_code


async def test_an_early_answer_reaches_a_client_that_is_still_sending(environ: dict[str, str]) -> None:
    body = json.dumps({"email": "x" * 8_000_000}).encode()
    async with billing_process(environ) as process, await process.client() as client:
        # As a simple client does: first all is sent, then the answer is read.
        answer = await asyncio.to_thread(_send_all_then_read, client.base_url, post("/api/customers/signup", body))
    assert answer.startswith(b"HTTP/1.1 413 ")


def _send_all_then_read(url: httpx.URL, request: bytes) -> bytes:
    with socket.create_connection((url.host, url.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        return connection.recv(65536)


async def test_who_does_not_take_the_answers_is_ended(environ: dict[str, str]) -> None:
    async with billing_process(environ | {"REQUEST_TIMEOUT": "1"}) as process, await process.client() as client:
        ended = 'billing_connections_ended_early_total{reason="slow_reader"}'
        with socket.create_connection((client.base_url.host, client.base_url.port)) as greedy:
            greedy.setblocking(False)
            for _ in range(100):
                try:
                    greedy.send(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
                except BlockingIOError:
                    break
            async with asyncio.timeout(PATIENCE):
                while await _metric(client, ended) == 0:
                    pass
        assert await _metric(client, ended) == 1


async def test_a_body_that_is_mostly_framing_is_refused_before_it_costs_much(environ: dict[str, str]) -> None:
    chunked = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    storm = b"1\r\n \r\n" * 60_000
    unread = b"GET /health/live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    # As many chunks as a client that is only strange sends for the largest body.
    strange = b"".join(b"1e\r\n%30d\r\n" % 7 for _ in range(65_536 // 30 - 1)) + b"0\r\n\r\n"
    async with (
        billing_process(environ | {"REQUEST_TIMEOUT": "5"}) as process,
        await process.client() as client,
        connections(client.base_url, 3) as (malicious, ignored, usual),
    ):
        await malicious.send(chunked + storm)
        refused = await malicious.answer()
        await ignored.send(unread + storm)
        assert (await ignored.answer()).status == 200
        assert await ignored.is_ended()
        await usual.send(chunked + strange)
        answer = await usual.answer()
        assert (answer.status, answer.json["detail"]) == (400, "body is not valid JSON: look at line 1, column 60")
        assert await _metric(client, 'billing_connections_ended_early_total{reason="malformed"}') == 2
        assert await _metric(client, 'billing_connections_ended_early_total{reason="slow_body"}') == 0
    assert (refused.status, refused.json["errors"]) == (
        400,
        [{"field": "body", "detail": "body must be sent in larger chunks"}],
    )


async def test_what_is_not_http_is_told_so_and_nothing_of_it_is_repeated(environ: dict[str, str]) -> None:
    async with (
        billing_process(environ) as process,
        await process.client() as client,
        connections(client.base_url, 3) as (garbage, long, broken),
    ):
        await garbage.send(b"SECRET garbage\r\n\r\n")
        await long.send(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"SECRET" * 10_000)
        await broken.send(_HEAD + b"Transfer-Encoding: chunked\r\n\r\nSECRET\r\n")
        answers = [await one.answer() for one in (garbage, long, broken)]
        assert await process.end() == 0
    assert [answer.status for answer in answers] == [400, 431, 400]
    assert all(answer.json["type"].startswith("urn:iotistic:problem:") for answer in answers)
    assert not any(b"SECRET" in answer.body for answer in answers)
    assert "SECRET" not in process.log
    assert "Traceback" not in process.log


async def test_nobody_can_fill_the_log_with_what_is_no_request(environ: dict[str, str]) -> None:
    upgrade = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with billing_process(environ) as process, await process.client() as client:
        before = len(process.log.splitlines())
        async with connections(client.base_url, 20) as clients:
            for one in clients[:10]:
                await one.send(upgrade)
                assert (await one.answer()).status == 200
            for one in clients[10:]:
                await one.send(b"garbage\r\n\r\n")
                assert (await one.answer()).status == 400
        assert await _metric(client, 'billing_connections_ended_early_total{reason="malformed"}') == 10
        assert await process.end() == 0
    # At the end it is told in one line how many there were.
    assert "10 malformed" in process.log
    about_clients = [line for line in process.log.splitlines()[before:] if "WARNING" in line]
    assert len(about_clients) == 1, about_clients


async def test_more_connections_than_the_system_allows_are_refused_with_the_cure(environ: dict[str, str]) -> None:
    async with billing_process(environ | {"MAX_CONNECTIONS": "2000000000"}) as process:
        await process.until("MAX_CONNECTIONS: needs .* open files.* set MAX_CONNECTIONS to at most")
        assert await process.child.wait() == 78
