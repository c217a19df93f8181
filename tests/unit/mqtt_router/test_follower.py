"""Following the ConfigMaps: an API server in this process that fails in every way."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from mqtt_router import cluster, routes
from mqtt_router.follower import Follower
from mqtt_router.metrics import Metrics
from mqtt_router.routes import Route
from mqtt_router.settings import PRIVATE
from mqtt_router.table import RouteTable
from tests.support.listwatch import begin, line
from tests.support.shards import NAMESPACE, shard
from tests.support.waiting import eventually

PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
ACME = Route("mqtt.acme.example.com", "10.96.0.7", 8883)
SHARD = routes.shard_of(ACME.host)
Answer = bytes | int  # what is streamed, or the status of a refusal


def config_map(text: str, *, version: int, number: int = SHARD) -> dict[str, object]:
    made = shard(number, text)
    return {**made, "metadata": {**made["metadata"], "resourceVersion": str(version)}}


def event(kind: str, text: str, *, version: int) -> bytes:
    return line({"type": kind, "object": config_map(text, version=version)})


class Api:
    """Answers lists with what there is, and watches with what comes next; then it stays silent."""

    def __init__(self) -> None:
        self.items: list[dict[str, object]] = []
        self.version = 1
        self.lists: deque[Answer] = deque()
        self.watches: deque[Answer] = deque()
        self.queries: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        watched = "watch" in request.query
        faults = self.watches if watched else self.lists
        if not faults and not watched:
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": self.items})
        fault = faults.popleft() if faults else None
        if isinstance(fault, int):
            return web.json_response({"message": "not now"}, status=fault)
        response = await begin(request)
        if fault is None:
            await asyncio.Event().wait()
        else:
            await response.write(fault)
        return response

    @property
    def lists_asked(self) -> int:
        return sum("watch" not in query for query in self.queries)


class Following:
    """A follower and what it fills."""

    def __init__(self, follower: Follower, table: RouteTable, registry: CollectorRegistry) -> None:
        self.follower, self.table, self.registry = follower, table, registry
        self.told = 0

    def failures(self, what: str) -> float:
        return self.registry.get_sample_value("mqtt_router_errors_total", {"what": what}) or 0.0


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
async def following(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Following]:
    monkeypatch.setattr("mqtt_router.follower._BACKOFF", (0.01, 0.02))
    app = web.Application()
    app.router.add_get(PATH, api.answer)
    async with TestServer(app, shutdown_timeout=0.1) as server:
        kubeconfig = tmp_path / "kubeconfig"
        content = {
            "clusters": [{"name": "x", "cluster": {"server": str(server.make_url("")).rstrip("/")}}],
            "users": [{"name": "x", "user": {"token": "secret"}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        }
        kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "x", **content}))
        registry, table = CollectorRegistry(), RouteTable(ranges=PRIVATE)

        def tell() -> None:
            made.told += 1

        async with cluster.connect(kubeconfig=kubeconfig, namespace=NAMESPACE) as access:
            follower = Follower(access, table=table, metrics=Metrics(registry), on_change=tell)
            made = Following(follower, table, registry)
            running = asyncio.create_task(follower.run())
            yield made
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_the_list_and_then_every_change_reach_the_table(api: Api, following: Following) -> None:
    api.items = [config_map("", version=1)]
    api.watches.append(event("MODIFIED", f"{ACME}\n", version=7) + line({"type": "BOOKMARK", "object": bookmark(9)}))

    await eventually(lambda: following.table.routes == {ACME.host: ACME})
    await eventually(lambda: len(api.queries) == 3)

    assert api.queries[0] == {"labelSelector": "iotistic.cloud/mqtt-routes=true"}
    assert [query.get("resourceVersion") for query in api.queries] == [None, "1", "9"]
    assert following.told == 2


def bookmark(version: int) -> dict[str, object]:
    return {"kind": "ConfigMap", "metadata": {"resourceVersion": str(version)}}


EXPIRED = line({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}})


@pytest.mark.parametrize("expiry", [410, EXPIRED], ids=["refused", "told"])
async def test_a_watch_that_has_expired_begins_with_a_list(api: Api, following: Following, expiry: Answer) -> None:
    api.watches.append(expiry)

    await eventually(lambda: api.lists_asked == 2)
    api.items = [config_map(f"{ACME}\n", version=5)]
    api.watches.append(expiry)
    await eventually(lambda: following.follower.connected)


NO_LIST = {
    "refused": 503,
    "forbidden": 403,
    "not JSON": b"<html>",
    "another document": b'{"kind": "Status"}',
    "cut off": b'{"metadata": {"resourceVersion": "1"}, "items": [',
    "items of another form": b'{"metadata": {"resourceVersion": "1"}, "items": [7]}',
}


@pytest.mark.parametrize("answer", NO_LIST.values(), ids=NO_LIST)
async def test_a_list_that_fails_is_asked_for_again_and_says_nothing_meanwhile(
    api: Api, following: Following, answer: Answer
) -> None:
    following.table.restore([ACME])
    api.lists += [answer, answer]

    await eventually(lambda: following.failures("cluster") >= 2)
    assert following.table.routes == {ACME.host: ACME}
    await eventually(lambda: following.follower.connected)

    assert api.lists_asked == 3
    assert following.told == 1


NO_EVENT = {
    "refused": 500,
    "not JSON": b"<html>\n",
    "an object of another form": b'{"type": "MODIFIED", "object": 7}\n',
    "an error of its own": line({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "x"}}),
    "nothing at all": b"",
}


@pytest.mark.parametrize("answer", NO_EVENT.values(), ids=NO_EVENT)
async def test_a_watch_that_fails_begins_with_a_list(api: Api, following: Following, answer: Answer) -> None:
    api.lists += [listed(), listed(config_map(f"{ACME}\n", version=3))]
    api.watches.append(answer)

    await eventually(lambda: following.table.routes == {ACME.host: ACME})

    assert api.lists_asked == 2
    assert following.failures("cluster") == 1


def listed(*items: dict[str, object]) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": "1"}, "items": items}).encode()


async def test_the_largest_event_there_can_be_is_read(api: Api, following: Following) -> None:
    """Control characters are six times as large in JSON."""
    api.watches += [
        event("ADDED", "\x01" * 1024 * 1024, version=3),
        event("ADDED", f"{ACME}\n", version=4),
    ]

    await eventually(lambda: following.table.routes == {ACME.host: ACME})

    assert following.failures("cluster") == 0


async def test_a_shard_of_a_mebibyte_is_read(api: Api, following: Following) -> None:
    text = "".join(f"mqtt.x-{number:06d}.example.com 10.96.0.7:8883\n" for number in range(22_000))
    api.watches.append(event("ADDED", f"{text}{ACME}\n", version=3))

    await eventually(lambda: ACME.host in following.table.routes)


async def test_what_is_no_shard_is_not_used(api: Api, following: Following) -> None:
    stranger = config_map(f"{ACME}\n", version=1)
    stranger["metadata"] = {"name": "mqtt-routes-10", "resourceVersion": "1"}
    empty = {**config_map("", version=1), "data": {}}
    api.items = [stranger, empty, {**empty, "data": None}]

    await eventually(lambda: following.follower.connected)

    assert following.table.routes == {}
    assert following.failures("shard") == 3


async def test_a_shard_that_loses_its_text_keeps_its_routes(api: Api, following: Following) -> None:
    api.items = [config_map(f"{ACME}\n", version=1)]
    api.watches.append(line({"type": "MODIFIED", "object": {**config_map("", version=2), "data": {}}}))

    await eventually(lambda: following.failures("shard") == 1)

    assert following.table.routes == {ACME.host: ACME}


async def test_a_shard_that_is_deleted_keeps_its_routes(api: Api, following: Following) -> None:
    api.items = [config_map(f"{ACME}\n", version=1)]
    api.watches.append(event("DELETED", f"{ACME}\n", version=2))

    await eventually(lambda: following.failures("shard") == 1)

    assert following.table.routes == {ACME.host: ACME}
    assert following.registry.get_sample_value("mqtt_router_shards") == 0
