"""Bodies and headers as they come over HTTP, read by an app that does nothing else."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from billing_api.http.middleware import Observe
from billing_api.http.problems import HANDLERS
from billing_api.http.requests import MAX_BODY_BYTES, idempotency_key, read_object
from billing_api.metrics import Metrics

JSON = {"Content-Type": "application/json"}


async def _echo(request: Request) -> JSONResponse:
    key = idempotency_key(request)
    return JSONResponse({"key": key, "document": await read_object(request)})


async def _post(content: bytes | AsyncIterator[bytes], headers: Mapping[str, str] = JSON) -> httpx.Response:
    app = Starlette(
        routes=[Route("/", _echo, methods=["POST"])],
        middleware=[Middleware(Observe, metrics=Metrics(CollectorRegistry()))],
        exception_handlers=dict(HANDLERS),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
        return await client.post("/", content=content, headers=dict(headers))


def _only_error(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    [error] = response.json()["errors"]
    return dict(error)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'])
async def test_a_json_object_is_read(content_type: str) -> None:
    response = await _post(b'{"a": "\\u00fc"}', {"Content-Type": content_type})
    assert response.json()["document"] == {"a": "ü"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/jsonp"},
    ],
)
async def test_any_other_content_type_is_415(headers: dict[str, str]) -> None:
    response = await _post(b"{}", headers)
    assert response.status_code == 415
    assert _only_error(response)["field"] == "Content-Type"
    assert response.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": "\xff"}',
        b"[]",
        b'"text"',
        b"null",
        b"[" * 30_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
)
async def test_what_is_not_one_json_object_is_400(body: bytes) -> None:
    response = await _post(body)
    assert response.status_code == 400
    assert _only_error(response)["field"] == "body"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "body is empty; it must be a JSON object, such as {...}"),
        (b" \n", "body is empty; it must be a JSON object, such as {...}"),
        (b'{"a": 1,\n "b" "hunter2"}', "body is not valid JSON: look at line 2, column 6"),
        (b'{"a": "\\hunter2"}', "body is not valid JSON: look at line 1, column 8"),
        (b'{"a": NaN}', "body must be JSON in UTF-8"),
        (b"[]", "body must be a JSON object, such as {...}"),
    ],
)
async def test_where_a_body_is_broken_is_told_and_nothing_of_it_is_shown(body: bytes, told: str) -> None:
    assert _only_error(await _post(body)) == {"field": "body", "detail": told}


async def test_a_member_given_twice_is_400() -> None:
    response = await _post(b'{"email": "a@example.com", "email": "b@example.com"}')
    assert response.status_code == 400
    assert _only_error(response) == {"field": "email", "detail": "email must be given only once"}


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    body = json.dumps({"a": "x" * (MAX_BODY_BYTES - 9)}).encode()
    assert len(body) == MAX_BODY_BYTES
    assert (await _post(body)).status_code == 200


class _Sent:
    """A body of ten times the limit that counts what is taken of it."""

    def __init__(self) -> None:
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.size < 10 * MAX_BODY_BYTES:
            self.size += 1024
            yield b" " * 1024


async def test_a_longer_body_is_413_by_its_declared_length_and_nothing_of_it_is_read() -> None:
    body = _Sent()
    response = await _post(aiter(body), {**JSON, "Content-Length": str(10 * MAX_BODY_BYTES)})
    assert response.status_code == 413
    assert _only_error(response)["field"] == "body"
    assert body.size == 0


async def test_a_longer_body_without_declared_length_is_413_before_it_is_read_whole() -> None:
    body = _Sent()
    response = await _post(aiter(body))
    assert response.status_code == 413
    assert body.size <= MAX_BODY_BYTES + 2 * 1024


@pytest.mark.parametrize(
    ("given", "read"),
    [("8e03978e-40d5", "8e03978e-40d5"), ('"8e03978e-40d5"', "8e03978e-40d5"), ("!", "!"), ("x" * 255, "x" * 255)],
)
async def test_an_idempotency_key_is_read_with_or_without_quotes(given: str, read: str) -> None:
    response = await _post(b"{}", {**JSON, "Idempotency-Key": given})
    assert response.json()["key"] == read


@pytest.mark.parametrize("given", ["", '""', "x" * 256, "two words", "tab\tbed"])
async def test_a_bad_idempotency_key_is_400(given: str) -> None:
    response = await _post(b"{}", {**JSON, "Idempotency-Key": given})
    assert response.status_code == 400
    assert _only_error(response)["field"] == "Idempotency-Key"
