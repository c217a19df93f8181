"""Leader election against a server that keeps one Lease, with the optimistic locking of the real one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from customer_operator.kube.leader import Leadership, Timing

TIMING = Timing(duration=5, renew_deadline=3, retry_period=1)  # the shortest period that the library allows is 1 s
NAMESPACE = "iotistic-system"
PATH = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


class LeaseServer:
    """Answers GET, POST and PUT of one Lease; 404 before it exists, 409 for a write that is not up to date."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.askers: set[str] = set()
        self.changed = asyncio.Condition()
        self.host = ""

    @property
    def holder(self) -> str | None:
        holder: str | None = self.lease["spec"].get("holderIdentity") if self.lease else None
        return holder

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)

    async def read(self, request: web.Request) -> web.Response:
        self.askers.add(request.headers["User-Agent"])
        async with self.changed:
            self.changed.notify_all()
        if self.lease is None:
            return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound"}, status=404)
        return web.json_response(self.lease)

    async def write(self, request: web.Request) -> web.Response:
        lease = await request.json()
        version = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if lease["metadata"].get("resourceVersion") != version:
            return web.json_response({"kind": "Status", "code": 409, "reason": "Conflict"}, status=409)
        lease["metadata"]["resourceVersion"] = str(int(version or 0) + 1)
        self.lease = lease
        async with self.changed:
            self.changed.notify_all()
        return web.json_response(lease, status=200 if version else 201)


Work = Callable[[], Awaitable[None]]


@pytest.fixture
async def server() -> AsyncIterator[LeaseServer]:
    server, app = LeaseServer(), web.Application()
    app.router.add_post(PATH, server.write)
    app.router.add_get(f"{PATH}/customer-operator", server.read)
    app.router.add_put(f"{PATH}/customer-operator", server.write)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@asynccontextmanager
async def replica(server: LeaseServer, identity: str, work: Work) -> AsyncIterator[Leadership]:
    """Let a replica stand for election; stop it at the end."""
    configuration = Configuration()
    configuration.host = server.host
    client = ApiClient(configuration)
    client.user_agent = identity
    leadership = Leadership(client=client, namespace=NAMESPACE, identity=identity, timing=TIMING, work=work)
    task = asyncio.create_task(leadership.run())
    try:
        yield leadership
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.close()


async def test_a_replica_that_stops_ends_its_work_and_gives_the_lease_back(server: LeaseServer) -> None:
    """Otherwise every rolling update would leave nobody at work until the lease has run out."""
    works = asyncio.Event()
    holders_at_the_end: list[str | None] = []

    async def work() -> None:
        works.set()
        try:
            await asyncio.Event().wait()
        finally:
            holders_at_the_end.append(server.holder)

    async with replica(server, "one", work) as leadership:
        await asyncio.wait_for(works.wait(), 5)
        led = leadership.leads

    assert [*holders_at_the_end, server.holder] == ["one", None]
    assert (led, leadership.leads) == (True, False)


async def test_a_second_replica_waits_and_takes_over_when_the_first_stops(server: LeaseServer) -> None:
    works = {"one": asyncio.Event(), "two": asyncio.Event()}

    def working(name: str) -> Work:
        async def work() -> None:
            works[name].set()
            await asyncio.Event().wait()

        return work

    async with AsyncExitStack() as second:
        async with replica(server, "one", working("one")):
            await asyncio.wait_for(works["one"].wait(), 5)
            await second.enter_async_context(replica(server, "two", working("two")))
            await server.until(lambda: "two" in server.askers)
            assert server.holder == "one"
            assert not works["two"].is_set()
        await asyncio.wait_for(works["two"].wait(), 5)


async def test_work_that_fails_gives_the_lead_up_and_is_not_held_for_ever(
    server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A leader whose work has died would keep its lease, and with it every other replica from working."""
    attempts = 0
    failed = asyncio.Event()

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        failed.set()
        raise RuntimeError("the authority cannot be read")

    async with replica(server, "one", work) as leadership:
        await asyncio.wait_for(failed.wait(), 5)
        await server.until(lambda: server.holder is None)
        assert not leadership.leads
        failed.clear()
        await asyncio.wait_for(failed.wait(), 5)

    assert attempts == 2
    assert "the authority cannot be read" in caplog.text


async def test_a_lease_that_somebody_else_holds_is_left_alone(server: LeaseServer) -> None:
    other = {
        "holderIdentity": "other",
        "leaseDurationSeconds": 3600,
        "acquireTime": "2026-11-21T12:00:00.000001Z",
        "renewTime": "2026-11-21T12:00:00.000001Z",
    }
    server.lease = {"metadata": {"name": "customer-operator", "resourceVersion": "1"}, "spec": other}

    async def work() -> None:
        raise AssertionError("nobody elected us")

    async with replica(server, "one", work):
        await server.until(lambda: "one" in server.askers)

    assert server.lease["spec"] == other
