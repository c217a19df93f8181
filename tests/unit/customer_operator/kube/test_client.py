"""An API server that has just come back answers before its authorizer has read the roles."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry

from customer_operator.errors import ClusterUnreachable, PermissionMissing
from customer_operator.kube.client import KubeClient
from customer_operator.kube.fence import Fence
from customer_operator.metrics import Metrics

MESSAGE = 'namespaces "x" is forbidden: User "system:serviceaccount:a:b" cannot get resource "namespaces"'
Answer = Callable[[web.Request], web.Response]


def refusal(_: web.Request) -> web.Response:
    return web.json_response({"kind": "Status", "reason": "Forbidden", "message": MESSAGE}, status=403)


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


@pytest.mark.parametrize("outage", [silence, starting])
async def test_a_missing_right_just_after_an_outage_is_part_of_the_outage(outage: Answer) -> None:
    script = Script(outage)
    async with connected(script) as cluster:
        with pytest.raises(ClusterUnreachable):
            await cluster.get("Namespace", "x")
        script.answer = refusal
        with pytest.raises(ClusterUnreachable, match="has just come back: GET /api/v1/namespaces/x: 403 ") as refused:
            await cluster.get("Namespace", "x")
    assert refused.value.status == 403


async def test_what_does_not_exist_just_after_an_outage_is_believed() -> None:
    script = Script(starting)
    async with connected(script) as cluster:
        with pytest.raises(ClusterUnreachable):
            await cluster.get("Namespace", "x")
        script.answer = missing
        assert await cluster.get("Namespace", "x") is None
