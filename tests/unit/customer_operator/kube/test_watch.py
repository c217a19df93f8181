"""Lists in chunks and watches, as the client hands them on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from aiohttp import web

from customer_operator.errors import ClusterError, ClusterUnreachable, PermissionMissing, VersionExpired
from customer_operator.kube import client as client_module
from customer_operator.kube.client import KubeClient
from customer_operator.naming import Manifest
from tests.support.listwatch import Changes, Fault, ListWatchServer, error, line, refuse, send, serving

FORBIDDEN = 'services is forbidden: User "system:serviceaccount:a:b" cannot list resource "services"'
ADDED: Manifest = {"type": "ADDED", "object": {"metadata": {"uid": "x", "resourceVersion": "7"}}}


@pytest.fixture
def server() -> ListWatchServer:
    return ListWatchServer(Changes())


@pytest.fixture
async def client(server: ListWatchServer) -> AsyncIterator[KubeClient]:
    async with serving(server) as client:
        yield client


async def listed(client: KubeClient, selector: str = "") -> list[Manifest]:
    return [item async for page in client.pages("Service", selector=selector) for item in page.items]


async def watched(client: KubeClient, *, count: int = 1, selector: str = "") -> list[Manifest]:
    """Return the first events of a watch; fewer when it ends before."""
    events = client.watch("Service", selector=selector, version="100", seconds=7)
    found: list[Manifest] = []
    async with aclosing(events):  # type: ignore[type-var]
        async for event in events:
            found.append(event)
            if len(found) == count:
                return found
    return found


async def test_a_long_list_comes_in_chunks_of_one_version_each_item_with_its_kind(
    server: ListWatchServer, client: KubeClient
) -> None:
    for number in range(501):
        server.put(f"s{number}")

    pages = [page async for page in client.pages("Service", selector="app=x")]

    assert [len(page.items) for page in pages] == [250, 250, 1]
    assert {page.version for page in pages} == {str(server.version)}
    assert [item["metadata"]["uid"] for page in pages for item in page.items] == list(server.objects)
    assert all((item["apiVersion"], item["kind"]) == ("v1", "Service") for page in pages for item in page.items)
    assert [query.get("continue") for query in server.queries] == [
        None,
        f"{server.version}/250",
        f"{server.version}/500",
    ]
    assert {query["labelSelector"] for query in server.queries} == {"app=x"}


async def test_a_list_without_a_selector_sends_none(server: ListWatchServer, client: KubeClient) -> None:
    assert await listed(client) == []
    assert "labelSelector" not in server.queries[0]


async def test_a_list_that_takes_too_long_has_expired(server: ListWatchServer, client: KubeClient) -> None:
    for number in range(251):
        server.put(f"s{number}")
    server.lists += [ListWatchServer.list, refuse(410, "Expired")]

    with pytest.raises(VersionExpired):
        await listed(client)


async def test_a_watch_names_where_it_begins_what_it_wants_and_how_long(
    server: ListWatchServer, client: KubeClient
) -> None:
    server.put("a")

    events = await watched(client, selector="app=x")

    assert events == [{"type": "ADDED", "object": server.objects["a"]}]
    assert server.queries == [
        {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": "100",
            "timeoutSeconds": "7",
            "labelSelector": "app=x",
        }
    ]


async def test_a_line_may_be_longer_than_any_buffer_and_come_in_pieces(
    server: ListWatchServer, client: KubeClient
) -> None:
    large = {**ADDED, "object": {**ADDED["object"], "spec": {"text": "x" * 700_000}}}
    whole = line(large) + line(ADDED)
    server.watches.append(send(*(whole[begin : begin + 65_537] for begin in range(0, len(whole), 65_537))))

    assert await watched(client, count=3) == [large, ADDED]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (send(line(error(410, "Expired"))), VersionExpired),
        (send(line(error(500, "InternalError"))), ClusterError),
        (send(line({"type": "ERROR", "object": {}})), ClusterUnreachable),
        (refuse(410, "Expired"), VersionExpired),
        (refuse(500), ClusterUnreachable),
        (refuse(429, "TooManyRequests"), ClusterUnreachable),
        (send(b"<html>a proxy</html>\n"), ClusterUnreachable),
        (send(line(ADDED)[:20], abort=True), ClusterUnreachable),
    ],
    ids=["expired", "error", "bare error", "refused as expired", "500", "starting", "no JSON", "cut in a line"],
)
async def test_a_watch_that_cannot_go_on_says_why(
    server: ListWatchServer, client: KubeClient, fault: Fault, expected: type[ClusterError]
) -> None:
    server.watches.append(fault)

    with pytest.raises(ClusterError) as caught:
        await watched(client)
    assert type(caught.value) is expected


async def test_a_missing_right_to_watch_is_one(server: ListWatchServer, client: KubeClient) -> None:
    async def forbid(_: ListWatchServer, __: web.Request) -> web.StreamResponse:
        return web.json_response({"reason": "Forbidden", "message": FORBIDDEN}, status=403)

    server.watches.append(forbid)

    with pytest.raises(PermissionMissing):
        await watched(client)


async def test_a_watch_that_ends_in_order_in_the_middle_of_a_line_drops_the_rest(
    server: ListWatchServer, client: KubeClient
) -> None:
    server.watches.append(send(line(ADDED) + line(ADDED)[:20]))

    assert await watched(client, count=2) == [ADDED]


async def test_silence_is_the_end_of_a_watch(
    server: ListWatchServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_SILENCE", 0.05)
    server.watches.append(send(line(ADDED), hold=True))

    async with asyncio.timeout(10):
        with pytest.raises(ClusterUnreachable, match="WATCH Service: the stream broke"):
            await watched(client, count=2)
