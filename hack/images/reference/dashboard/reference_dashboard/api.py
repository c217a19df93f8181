"""The API as the dashboard uses it: a few calls with the visitor's access token, and the plain way through for /api."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from reference_dashboard.bodies import Bodies, Refused

_TIMEOUT: Final = httpx.Timeout(10.0, connect=3.0)
_CONNECTIONS: Final = httpx.Limits(max_connections=50, max_keepalive_connections=10)
#: What is passed on. Never the cookie: the API knows access tokens only, so no page of another site can use one there.
_UP: Final = frozenset({"accept", "authorization", "content-type"})
_DOWN: Final = frozenset(
    {"cache-control", "content-type", "content-length", "location", "retry-after", "www-authenticate"}
)
_LONGEST_BODY: Final = 1_000_000


class ApiAway(Exception):
    """The API does not answer, or says that it cannot."""


class Api:
    """The connections to the API; closed by ``async with``."""

    def __init__(self, url: str, bodies: Bodies) -> None:
        self._bodies = bodies
        # Not from the environment: no proxy lies between two pods.
        self._client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, limits=_CONNECTIONS, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, token: str, **parameters: str) -> dict[str, Any]:
        """Return a JSON object. Raises ApiAway, Refused."""
        return await self._call("GET", path, token, params=parameters)

    async def register(self, name: str, token: str) -> dict[str, Any]:
        """Register a device; return it with its password. Raises ApiAway, Refused."""
        return await self._call("POST", "/api/devices", token, json={"name": name})

    async def delete(self, name: str, token: str) -> None:
        """Delete a device. Raises ApiAway, Refused."""
        await self._call("DELETE", f"/api/devices/{quote(name, safe='')}", token)

    async def _call(self, method: str, path: str, token: str, **content: Any) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **content)
            body = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise ApiAway from error
        if answer.is_success:
            return dict(body)
        if answer.status_code >= 500:
            raise ApiAway
        raise Refused(answer.status_code, str(body.get("detail", "")))

    async def pass_on(self, request: Request) -> Response:
        """Return the API's answer to a request, whatever it is."""
        if {".", ".."} & set(request.scope["path"].split("/")):
            # httpx would resolve these, and reach what is not below /api.
            return _problem(404, "There is nothing here")
        try:
            # Whole, before there is a connection to the API: whoever sends it slowly keeps none from others.
            body = await self._bodies.read(request, longest=_LONGEST_BODY)
            upstream = await self._client.send(
                self._client.build_request(
                    request.method,
                    # The path as it came: decoded and encoded again it could be another one.
                    httpx.URL(path=request.scope["raw_path"].decode("latin-1"), query=request.scope["query_string"]),
                    headers=_only(_UP, request.headers),
                    content=body or None,
                ),
                stream=True,
            )
        except Refused as refused:
            return _problem(refused.status, str(refused))
        except httpx.HTTPError:
            return _problem(502, "The API does not answer")
        return StreamingResponse(
            _body(upstream), status_code=upstream.status_code, headers=_only(_DOWN, upstream.headers)
        )


async def _body(upstream: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in upstream.aiter_raw():
            yield chunk
    finally:
        await upstream.aclose()


def _problem(status: int, title: str) -> Response:
    return JSONResponse({"title": title, "status": status}, status, media_type="application/problem+json")


def _only(names: frozenset[str], headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in names}
