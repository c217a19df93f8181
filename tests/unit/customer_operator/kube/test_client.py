"""An API server that has just come back answers before it has read the roles, and before it knows its own ranges."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry

from customer_operator.errors import ClusterError, ClusterUnreachable, PermissionMissing
from customer_operator.kube.client import KubeClient
from customer_operator.kube.fence import Fence
from customer_operator.metrics import Metrics

MESSAGE = 'namespaces "x" is forbidden: User "system:serviceaccount:a:b" cannot get resource "namespaces"'
Answer = Callable[[web.Request], web.Response]


def refusal(_: web.Request) -> web.Response:
    return web.json_response({"kind": "Status", "reason": "Forbidden", "message": MESSAGE}, status=403)


def full(_: web.Request) -> web.Response:
    """What the allocator of addresses says before it has seen its ranges; and when they are full."""
    message = 'Internal error occurred: failed to allocate a serviceIP for Service "postgres": range is full'
    return web.json_response({"kind": "Status", "reason": "InternalError", "message": message}, status=500)


def starting(_: web.Request) -> web.Response:
    return web.json_response({"kind": "Status", "reason": "TooManyRequests", "message": "starting"}, status=429)


def silence(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def missing(_: web.Request) -> web.Response:
    return web.json_response({"kind": "Status", "reason": "NotFound"}, status=404)


class Script:
    """What the API server answers at the moment."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def reply(self, request: web.Request) -> web.Response:
        return self.answer(request)


@asynccontextmanager
async def connected(script: Script) -> AsyncIterator[KubeClient]:
    app = web.Application()
    app.router.add_get("/{path:.*}", script.reply)
    async with TestServer(app) as server, ApiClient(Configuration(host=str(server.make_url("")).rstrip("/"))) as client:
        yield KubeClient(client, metrics=Metrics(CollectorRegistry()), fence=Fence.always_open())


async def test_a_missing_right_is_one() -> None:
    async with connected(Script(refusal)) as cluster:
        with pytest.raises(PermissionMissing):
            await cluster.get("Namespace", "x")


async def test_a_failure_within_the_api_server_is_one() -> None:
    async with connected(Script(full)) as cluster:
        with pytest.raises(ClusterError, match="range is full") as refused:
            await cluster.get("Namespace", "x")
    assert not isinstance(refused.value, ClusterUnreachable)


@pytest.mark.parametrize(("answer", "status"), [(refusal, 403), (full, 500)])
@pytest.mark.parametrize("outage", [silence, starting])
async def test_a_refusal_just_after_an_outage_is_part_of_the_outage(
    outage: Answer, answer: Answer, status: int
) -> None:
    script = Script(outage)
    async with connected(script) as cluster:
        with pytest.raises(ClusterUnreachable):
            await cluster.get("Namespace", "x")
        script.answer = answer
        text = f"has just come back: GET /api/v1/namespaces/x: {status} "
        with pytest.raises(ClusterUnreachable, match=text) as refused:
            await cluster.get("Namespace", "x")
    assert refused.value.status == status


async def test_what_does_not_exist_just_after_an_outage_is_believed() -> None:
    script = Script(starting)
    async with connected(script) as cluster:
        with pytest.raises(ClusterUnreachable):
            await cluster.get("Namespace", "x")
        script.answer = missing
        assert await cluster.get("Namespace", "x") is None


class Torn(ApiClient):
    """A client in whose event loop something goes wrong while it connects."""

    def __init__(self, configuration: Configuration, *, text: str) -> None:
        super().__init__(configuration)
        self._text = text

    async def call_api(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError(self._text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("File descriptor 15 is used by transport <TCPTransport closed=False reading=True>", ClusterUnreachable),
        ("Session is closed", RuntimeError),
    ],
)
async def test_a_socket_that_the_event_loop_has_not_let_go_of_is_an_outage(text: str, error: type[Exception]) -> None:
    async with Torn(Configuration(host="http://127.0.0.1:1"), text=text) as client:
        cluster = KubeClient(client, metrics=Metrics(CollectorRegistry()), fence=Fence.always_open())
        with pytest.raises(error):
            await cluster.get("Namespace", "x")
