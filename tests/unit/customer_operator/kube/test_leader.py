"""Leader election against a server that keeps one Lease, with the optimistic locking of the real one."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from customer_operator.kube.fence import Fence
from customer_operator.kube.leader import Leadership, Timing
from tests.support.leases import NAMESPACE, LeaseServer, Trouble, client_of

# As short as a Lease, which has whole seconds, and a busy machine allow.
TIMING = Timing(duration=1, renew_deadline=0.75, retry_period=0.1)
# Where a leader is to go on leading, a hiccup of the machine must not matter.
RELAXED = Timing(duration=2, renew_deadline=1.8, retry_period=0.1)
# Where no lease is to run out.
LONG = Timing(duration=600, renew_deadline=500, retry_period=0.1)
PATIENCE = 10.0

Work = Callable[[], Awaitable[None]]


@dataclass
class Worker:
    """Work that never ends, and says when it began and ended by the clock of the fence."""

    server: LeaseServer
    began: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    holders_at_the_end: list[str | None] = field(default_factory=list)
    works: asyncio.Event = field(default_factory=asyncio.Event)
    rests: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.began.append(time.monotonic())
        self.rests.clear()
        self.works.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.append(time.monotonic())
            self.holders_at_the_end.append(self.server.holder)
            self.works.clear()
            self.rests.set()


async def soon(happens: asyncio.Event) -> None:
    await asyncio.wait_for(happens.wait(), PATIENCE)


@dataclass
class Replica:
    leadership: Leadership
    fence: Fence
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait_for(asyncio.gather(self.task, return_exceptions=True), PATIENCE)


@asynccontextmanager
async def replica(server: LeaseServer, identity: str, work: Work, *, timing: Timing = TIMING) -> AsyncIterator[Replica]:
    """Let a replica stand for election; stop it at the end."""
    fence = Fence()
    async with client_of(server.host, identity) as client:
        leadership = Leadership(
            client=client, fence=fence, namespace=NAMESPACE, identity=identity, timing=timing, work=work
        )
        running = Replica(leadership, fence, asyncio.create_task(leadership.run()))
        try:
            yield running
        finally:
            await running.stop()


async def test_a_replica_that_stops_ends_its_work_and_gives_the_lease_back(server: LeaseServer) -> None:
    """Otherwise every rolling update would leave nobody at work until the lease has run out."""
    work = Worker(server)
    async with replica(server, "one", work, timing=LONG) as one:
        assert (one.leadership.leads, one.fence.left > 0) == (False, False)
        await soon(work.works)
        assert (one.leadership.leads, one.fence.left > 0) == (True, True)

    assert [*work.holders_at_the_end, server.holder] == ["one", None]
    assert (one.leadership.leads, one.fence.left > 0) == (False, False)


async def test_a_leader_whose_fence_has_closed_does_not_lead_even_before_its_work_is_stopped(
    server: LeaseServer,
) -> None:
    """The watchdog is a timer; those of a process that was suspended run late."""
    work = Worker(server)
    async with replica(server, "one", work, timing=LONG) as one:
        await soon(work.works)
        one.fence.close()
        assert work.ended == []
        assert not one.leadership.leads


async def test_a_second_replica_waits_and_takes_over_when_the_first_stops(server: LeaseServer) -> None:
    first, second = Worker(server), Worker(server)
    async with AsyncExitStack() as stack:
        async with replica(server, "one", first, timing=LONG):
            await soon(first.works)
            two = await stack.enter_async_context(replica(server, "two", second, timing=LONG))
            assert (two.leadership.leads, two.fence.left > 0) == (False, False)
            await server.until(lambda: server.requests.count(("two", "GET")) > 2)
            assert (two.leadership.leads, two.fence.left > 0) == (False, False)
            assert (server.holder, second.began) == ("one", [])
            assert ("two", "PUT") not in server.requests
        await soon(second.works)


async def test_a_leader_that_renews_leads_for_longer_than_its_lease(server: LeaseServer) -> None:
    work, other = Worker(server), Worker(server)
    async with replica(server, "one", work, timing=RELAXED), replica(server, "two", other, timing=RELAXED):
        await server.until(lambda: server.holder is not None)
        leader = server.holder or ""
        await server.until(lambda: server.requests.count((leader, "PUT")) > 25)
        assert [len(work.began), len(other.began)] in ([1, 0], [0, 1])
        assert work.ended == other.ended == []


@pytest.mark.parametrize("trouble", [Trouble.HANGS, Trouble.ANSWER_LOST, Trouble.RESET, Trouble.UNAVAILABLE])
async def test_whatever_keeps_the_lease_from_being_renewed_the_work_ends_before_another_s_begins(
    server: LeaseServer, trouble: Trouble
) -> None:
    first, second = Worker(server), Worker(server)
    async with replica(server, "one", first) as one:
        await soon(first.works)
        async with replica(server, "two", second):
            await server.until(lambda: ("two", "GET") in server.requests)
            server.fail(trouble)
            await soon(first.rests)
            assert not one.leadership.leads
            assert one.fence.left <= 0
            await soon(second.works)
            assert first.ended[0] < second.began[0]
            server.fail(None)
            await server.until(lambda: server.requests[-1][0] == "one")
            assert not one.leadership.leads
    assert len(first.began) == 1


async def test_a_leader_cut_off_alone_leads_again_when_the_api_server_is_back(server: LeaseServer) -> None:
    work = Worker(server)
    async with replica(server, "one", work):
        await soon(work.works)
        server.fail(Trouble.HANGS)
        await soon(work.rests)
        server.fail(None)
        await soon(work.works)
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 0


@pytest.mark.parametrize("trouble", [Trouble.HANGS, Trouble.ANSWER_LOST, Trouble.RESET, Trouble.CONFLICT])
async def test_trouble_that_passes_in_time_does_not_end_the_work(server: LeaseServer, trouble: Trouble) -> None:
    work = Worker(server)
    async with replica(server, "one", work, timing=RELAXED):
        await soon(work.works)
        server.fail(trouble, "PUT")
        tried = server.requests.count(("one", "PUT"))
        await server.until(lambda: server.requests.count(("one", "PUT")) > tried)
        server.fail(None)
        renewed = server.version
        await server.until(lambda: server.version != renewed)
        assert work.ended == []


async def test_a_lease_that_another_took_ends_the_work_at_once(
    server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    work = Worker(server)
    async with replica(server, "one", work, timing=LONG) as one:
        await soon(work.works)
        server.hold("two", duration=600)
        await soon(work.rests)
        assert (one.leadership.leads, one.fence.left > 0) == (False, False)
    assert "replica one has lost the lease to another" in caplog.text
    assert server.holder == "two"


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

    async with replica(server, "one", work) as one:
        await soon(failed)
        await server.until(lambda: server.holder is None)
        assert not one.leadership.leads
        failed.clear()
        await soon(failed)

    assert attempts == 2
    assert "the authority cannot be read" in caplog.text


async def test_work_that_cannot_be_stopped_ends_the_election_and_writes_nothing(
    server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The liveness probe sees that, and the process is started again."""
    works, at_last = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        works.set()
        while not at_last.is_set():
            try:
                await at_last.wait()
            except asyncio.CancelledError:
                continue

    async with replica(server, "one", work) as one:
        await soon(works)
        server.hold("two", duration=600)
        await asyncio.wait([one.task], timeout=PATIENCE)
        assert one.task.done()
        assert (one.leadership.leads, one.fence.left > 0) == (False, False)
        at_last.set()
    assert "the work of the leader does not end; start this process again" in caplog.text


async def test_an_answer_that_makes_no_sense_does_not_end_the_election(
    server: LeaseServer, caplog: pytest.LogCaptureFixture
) -> None:
    work = Worker(server)
    server.lease = {"kind": "Lease", "spec": {}}
    async with replica(server, "one", work):
        await server.until(lambda: len(server.requests) > 1)
        server.install()
        await soon(work.works)
    assert "the election failed; standing again" in caplog.text


@pytest.mark.parametrize(
    ("trouble", "method"),
    [(Trouble.HANGS, "GET"), (Trouble.HANGS, "PUT"), (Trouble.ANSWER_LOST, "PUT"), (Trouble.UNAVAILABLE, "GET")],
)
async def test_a_replica_that_is_stopped_while_it_stands_for_election_leaves_nothing_behind(
    server: LeaseServer, trouble: Trouble, method: str
) -> None:
    server.fail(trouble, method)
    async with replica(server, "one", Worker(server)) as one:
        await server.until(lambda: ("one", method) in server.requests)
        server.fail(None)
        await one.stop()
    assert server.holder is None


@pytest.mark.parametrize("trouble", [Trouble.HANGS, Trouble.ANSWER_LOST])
async def test_a_leader_that_is_stopped_while_it_renews_releases_the_lease(
    server: LeaseServer, trouble: Trouble
) -> None:
    work = Worker(server)
    async with replica(server, "one", work, timing=RELAXED) as one:
        await soon(work.works)
        server.fail(trouble, "PUT")
        tried = server.requests.count(("one", "PUT"))
        await server.until(lambda: server.requests.count(("one", "PUT")) > tried)
        server.fail(None)
        await one.stop()
    assert server.lease is not None
    assert server.holder is None


async def test_an_api_server_that_never_answers_does_not_keep_a_replica_from_stopping(server: LeaseServer) -> None:
    work = Worker(server)
    async with replica(server, "one", work) as one:
        await soon(work.works)
        server.fail(Trouble.HANGS)
        begun = time.monotonic()
        await one.stop()
        assert time.monotonic() - begun < PATIENCE / 2
    assert work.rests.is_set()


async def test_a_lease_that_somebody_else_holds_is_left_alone(server: LeaseServer) -> None:
    server.hold("other", duration=3600)
    held = server.lease
    work = Worker(server)
    async with replica(server, "one", work):
        await server.until(lambda: server.requests.count(("one", "GET")) > 3)
    assert server.lease == held
    assert work.began == []
