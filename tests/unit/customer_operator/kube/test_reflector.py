"""The reflector: whatever the API server does, the mirror ends equal to what it has."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from random import Random

import pytest
from aiohttp import web

from customer_operator.errors import ClusterUnreachable
from customer_operator.kube import client as client_module
from customer_operator.kube import reflector as reflector_module
from customer_operator.kube.reflector import Reflector, relist
from customer_operator.naming import Manifest
from hack.tasks import running
from tests.support.listwatch import Changes, Fault, ListWatchServer, error, line, refuse, send, serving


class RecordingMirror:
    """Holds what it is told, as any mirror would, and remembers the prunes."""

    def __init__(self, changes: Changes) -> None:
        self.objects: dict[str, Manifest] = {}
        self.prunes: list[tuple[set[str], int]] = []
        self._changes = changes

    def upsert(self, live: Manifest) -> None:
        self.objects[live["metadata"]["uid"]] = live
        self._changes.notify()

    def delete(self, live: Manifest) -> None:
        self.objects.pop(live["metadata"]["uid"], None)
        self._changes.notify()

    def prune(self, kind: str, *, uids: Collection[str], version: int) -> None:
        assert kind == "Service"
        self.prunes.append((set(uids), version))
        self.objects = {uid: live for uid, live in self.objects.items() if uid in uids}
        self._changes.notify()


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_module, "_BACKOFF", (0.001, 0.002))


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def server(changes: Changes) -> ListWatchServer:
    return ListWatchServer(changes)


@pytest.fixture
def mirror(changes: Changes) -> RecordingMirror:
    return RecordingMirror(changes)


@asynccontextmanager
async def following(server: ListWatchServer, mirror: RecordingMirror) -> AsyncIterator[Reflector]:
    async with serving(server) as client:
        reflector = Reflector(client, "Service", selector="iotistic.cloud/instance", mirror=mirror)
        async with running(reflector.run()) as task:
            try:
                yield reflector
            finally:
                assert not task.done(), "it goes on whatever happens"


def equal(server: ListWatchServer, mirror: RecordingMirror) -> bool:
    return server.objects == mirror.objects


async def test_what_is_there_is_listed_and_what_happens_is_followed(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes
) -> None:
    for number in range(260):
        server.put(f"s{number}")
    version = server.version

    async with following(server, mirror) as reflector:
        await asyncio.wait_for(reflector.synced.wait(), 10)
        assert equal(server, mirror)
        server.put("new")
        server.put("s1", changed=True)
        server.delete("s2")
        await changes.until(lambda: equal(server, mirror))

    assert mirror.prunes == [({f"s{number}" for number in range(260)}, version)]
    assert (server.list_count, server.watched_from) == (1, [version])
    assert {query["labelSelector"] for query in server.queries} == {"iotistic.cloud/instance"}


async def test_before_the_first_list_nothing_counts_as_known(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes
) -> None:
    """A slow start: the API server refuses for a while."""
    server.put("a")
    server.lists += [refuse(503, "ServiceUnavailable")] * 5

    async with following(server, mirror) as reflector:
        await changes.until(lambda: server.list_count == 5)
        assert not reflector.synced.is_set()
        await asyncio.wait_for(reflector.synced.wait(), 10)

    assert equal(server, mirror)
    assert len(mirror.prunes) == 1


@pytest.mark.parametrize(
    "fault",
    [
        send(b'{"type": "ADDED", "object": {"metada', abort=True),
        send(b'{"type": "ADDED", "object": {"metada'),
        send(),
        refuse(500),
        refuse(429, "TooManyRequests"),
        send(line(error(500, "InternalError"))),
    ],
    ids=["cut in a line", "ended in a line", "ended in order", "500", "starting", "error event"],
)
async def test_after_a_break_it_goes_on_from_where_it_was_without_a_list(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes, fault: Fault
) -> None:
    server.put("a")
    server.watches += [fault] * 3

    async with following(server, mirror):
        await changes.until(lambda: len(server.watched_from) == 2)
        server.put("b")
        server.delete("a")
        await changes.until(lambda: equal(server, mirror))

    assert server.list_count == 1


async def test_it_goes_on_from_the_last_event_it_has_seen_bookmarks_included(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes
) -> None:
    server.put("a")
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Service", "metadata": {"resourceVersion": "150"}}}
    server.watches += [send(line(bookmark), abort=True)]
    before = server.version

    async with following(server, mirror):
        await changes.until(lambda: len(server.watched_from) == 2)

    assert server.watched_from == [before, 150]
    assert equal(server, mirror), "a bookmark is no object"
    assert server.list_count == 1


@pytest.mark.parametrize("fault", [refuse(410, "Expired"), send(line(error(410, "Expired")))], ids=["answer", "event"])
async def test_when_its_version_has_expired_it_lists_again_and_drops_what_was_deleted_unseen(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes, fault: Fault
) -> None:
    for uid in ("a", "b"):
        server.put(uid)

    async def meanwhile(server: ListWatchServer, request: web.Request) -> web.StreamResponse:
        server.delete("a")
        server.put("c")
        server.expire()
        return await fault(server, request)

    server.watches.append(meanwhile)
    async with following(server, mirror):
        await changes.until(lambda: len(mirror.prunes) == 2)
        assert equal(server, mirror)
        server.put("d")
        await changes.until(lambda: equal(server, mirror))

    assert mirror.prunes[1] == ({"b", "c"}, 104)
    assert server.list_count == 2


async def test_a_list_that_expires_between_two_chunks_is_begun_again_and_prunes_only_when_it_is_whole(
    server: ListWatchServer, mirror: RecordingMirror
) -> None:
    for number in range(300):
        server.put(f"s{number}")
    server.lists += [ListWatchServer.list, refuse(410, "Expired")]

    async with following(server, mirror) as reflector:
        await asyncio.wait_for(reflector.synced.wait(), 10)

    assert len(mirror.prunes) == 1
    assert equal(server, mirror)


async def test_a_version_that_expires_again_and_again_is_no_hot_loop_of_lists(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            naps.append(seconds)
        await original(0)

    original = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", sleep)
    server.watches += [refuse(410, "Expired")] * 5

    async with following(server, mirror):
        await changes.until(lambda: server.list_count == 6)

    assert len(naps) == 4, "the first time there is nothing to wait for"


async def test_watches_that_end_at_once_are_no_hot_loop(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy whose server is away may answer so, without any error."""
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        if seconds:
            naps.append(seconds)
        await original(0)

    original = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", sleep)
    server.watches += [send()] * 5

    async with following(server, mirror):
        await changes.until(lambda: len(server.watched_from) == 6)

    assert len(naps) == 5
    assert server.list_count == 1


async def test_a_silent_watch_is_left_for_a_new_one(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "_SILENCE", 0.05)
    server.watches.append(send(hold=True))

    async with following(server, mirror):
        await changes.until(lambda: server.watched_from)
        server.put("a")
        await changes.until(lambda: equal(server, mirror))

    assert server.list_count == 1


async def test_events_larger_than_any_buffer_arrive(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes
) -> None:
    async with following(server, mirror):
        await changes.until(lambda: server.watched_from)
        server.put("large", text="x" * 400_000)
        await changes.until(lambda: equal(server, mirror))

    assert server.list_count == 1


async def test_through_any_faults_the_mirror_ends_equal(
    server: ListWatchServer, mirror: RecordingMirror, changes: Changes
) -> None:
    dice = Random(0)
    faults: list[Fault] = [
        send(b'{"type": "ADDED", "obj', abort=True),
        send(),
        refuse(500),
        refuse(410, "Expired"),
        send(line(error(410, "Expired"))),
    ]
    server.watches += dice.choices(faults, k=30)
    server.lists += dice.choices([ListWatchServer.list, refuse(410, "Expired"), refuse(502)], k=10)

    async with following(server, mirror):
        while server.watches:
            uid = f"s{dice.randrange(20)}"
            if uid in server.objects and dice.random() < 0.4:
                server.delete(uid)
            else:
                server.put(uid, number=dice.random())
            if dice.random() < 0.1:
                server.expire()
            begun = len(server.queries)
            await changes.until(lambda begun=begun: len(server.queries) > begun)  # type: ignore[misc]
        await changes.until(lambda: equal(server, mirror))


async def test_a_single_list_brings_the_mirror_in_line_and_says_when_it_cannot(
    server: ListWatchServer, mirror: RecordingMirror
) -> None:
    server.put("a")
    mirror.objects["ghost"] = {}

    async with serving(server) as client:
        assert await relist(client, "Service", selector="", mirror=mirror) == str(server.version)
        assert equal(server, mirror)
        server.lists.append(refuse(503, "ServiceUnavailable"))
        with pytest.raises(ClusterUnreachable):
            await relist(client, "Service", selector="", mirror=mirror)
    assert len(mirror.prunes) == 1
