"""The reflector of a kind that the cluster may not have: missing is no error, and it is found when it comes."""

import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest

from customer_operator.kube import optional as optional_module
from customer_operator.kube import reflector as reflector_module
from customer_operator.kube.optional import OptionalReflector
from customer_operator.naming import Manifest
from hack.tasks import running
from tests.support.listwatch import Changes, ListWatchServer, refuse, serving
from tests.support.waiting import eventually


class Mirror:
    """Counts what it holds, and what it was told."""

    def __init__(self) -> None:
        self.objects: dict[str, Manifest] = {}
        self.prunes = 0
        self.told: list[bool] = []

    def upsert(self, live: Manifest) -> None:
        self.objects[live["metadata"]["uid"]] = live

    def delete(self, live: Manifest) -> None:
        self.objects.pop(live["metadata"]["uid"], None)

    def prune(self, kind: str, *, uids: Collection[str], version: int) -> None:
        assert kind == "Service"
        self.prunes += 1
        self.objects = {uid: live for uid, live in self.objects.items() if uid in uids}


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_module, "_BACKOFF", (0.001, 0.002))
    monkeypatch.setattr(optional_module, "_LOOK_AGAIN", 0.01)


@pytest.fixture
def server() -> ListWatchServer:
    return ListWatchServer(Changes())


@asynccontextmanager
async def following(server: ListWatchServer, mirror: Mirror) -> AsyncIterator[OptionalReflector]:
    async with serving(server) as client:
        reflector = OptionalReflector(
            client,
            "Service",
            selector="iotistic.cloud/instance",
            mirror=mirror,
            advice="install it",
            on_change=lambda: mirror.told.append(reflector.available),
        )
        async with running(reflector.run()) as task:
            try:
                yield reflector
            finally:
                assert not task.done()


async def test_a_kind_that_is_missing_is_said_once_holds_nobody_up_and_is_found_when_it_comes(
    server: ListWatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = Mirror()
    server.put("web")
    server.lists.extend([refuse(404)] * 3)
    with caplog.at_level(logging.INFO):
        async with following(server, mirror) as reflector:
            await reflector.synced.wait()
            assert not reflector.available
            await eventually(lambda: reflector.available)
            await eventually(lambda: len(mirror.objects) == 1)

    assert mirror.told == [False, True]
    assert [record.levelname for record in caplog.records if "install it" in record.message] == ["WARNING"]


async def test_with_the_kind_all_objects_go(server: ListWatchServer) -> None:
    mirror = Mirror()
    server.put("web")
    server.watches.append(refuse(404))
    async with following(server, mirror) as reflector:
        await eventually(lambda: mirror.told == [True, False])
        assert mirror.objects == {}
        await eventually(lambda: reflector.available)
        await eventually(lambda: len(mirror.objects) == 1)


async def test_another_error_is_no_missing_kind(server: ListWatchServer) -> None:
    mirror = Mirror()
    server.lists.extend([refuse(403), refuse(503)])
    async with following(server, mirror) as reflector:
        await reflector.synced.wait()

        assert reflector.available
    assert mirror.told == [True]
