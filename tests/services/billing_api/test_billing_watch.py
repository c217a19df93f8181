"""The watch on its bad days, and those who follow it."""

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from billing_api.db.outbox import Progress
from billing_api.deployments.models import DeploymentAnswer
from billing_api.deployments.stream import DeploymentEvents
from billing_api.errors import DatabaseUnavailable, NotFound, ServiceUnavailable, TooManyStreams, Unauthenticated
from billing_api.kube.client import KubeClient
from billing_api.kube.configuration import configuration
from billing_api.kube.followers import Followers
from billing_api.kube.instances import Sight, manifest
from billing_api.kube.watch import InstanceWatch
from billing_api.metrics import Metrics
from billing_api.settings import Settings
from tests.services.billing_api.fake_kubernetes import FakeKubernetes

BAD = "ten per cent"
APPLIED = Progress(
    state="done",
    attempts=0,
    next_attempt_at=datetime(2026, 1, 1, tzinfo=UTC),
    last_error=None,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    applied_generation=1,
    applied_resource_version=101,
)


@dataclass(frozen=True)
class Watching:
    """A watch that runs, and what belongs to it."""

    client: KubeClient
    watch: InstanceWatch
    followers: Followers
    registry: CollectorRegistry

    async def order(self, name: str, customer_id: str) -> None:
        """Apply an instance, and wait until the watch has seen it."""
        order = manifest(
            name=name, customer_id=customer_id, email="a@example.com", company_name="A", plan="trial", license="a.b.c"
        )
        await self.client.apply(order)
        await until(lambda: self.look(name, customer_id).instance is not None)

    def look(self, name: str, customer_id: str, *, applied: int | None = None) -> Sight:
        """Return what is seen of an instance."""
        return self.watch.look(name, customer_id=customer_id, applied=applied)

    def progress(self, name: str, customer_id: str) -> int | None:
        """Return the progress that is seen."""
        instance = self.look(name, customer_id).instance
        return None if instance is None else instance.progress

    def gauge(self, name: str) -> float | None:
        """Return a metric's value."""
        return self.registry.get_sample_value(name)


Watch = Callable[[], AbstractAsyncContextManager[Watching]]


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds that a task of this loop brings about."""
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.005)


@pytest.fixture
def watch(kubernetes: FakeKubernetes, tmp_path: Path) -> Watch:
    """Start a watch, as often as wanted."""

    @asynccontextmanager
    async def run() -> AsyncIterator[Watching]:
        found = await configuration(Settings(kubeconfig=kubernetes.write_kubeconfig(tmp_path / "kubeconfig")))
        assert found is not None
        registry = CollectorRegistry()
        metrics = Metrics(registry)
        async with KubeClient.connect(found) as client:
            followers = Followers(metrics, most=100)
            watch = InstanceWatch(client, followers=followers, metrics=metrics, on_connected=lambda: None)
            task = asyncio.create_task(watch.run())
            try:
                yield Watching(client, watch, followers, registry)
            finally:
                assert not task.done()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return run


@pytest.fixture
async def watching(watch: Watch) -> AsyncIterator[Watching]:
    async with watch() as running:
        await until(lambda: running.watch.connected)
        yield running


# -- instances that cannot be read -----------------------------------------------------------------------------------


async def test_an_instance_that_cannot_be_read_keeps_its_last_state_and_stops_nobody_else(
    watching: Watching, kubernetes: FakeKubernetes, caplog: pytest.LogCaptureFixture
) -> None:
    await watching.order("c1", "cust-1")
    await watching.order("c2", "cust-2")
    await kubernetes.set_status("c1", progress=10)
    await kubernetes.set_status("c1", progress=BAD)
    await kubernetes.set_status("c2", progress=20)
    await until(lambda: watching.progress("c2", "cust-2") == 20)
    broken = watching.look("c1", "cust-1", applied=1)
    assert broken.instance is not None
    assert (broken.instance.progress, broken.readable, broken.gone) == (10, False, False)
    assert watching.gauge("billing_instances_unreadable") == 1
    assert "CustomerInstance c1 cannot be read" in caplog.text
    assert BAD not in caplog.text
    await kubernetes.set_status("c1", progress=30)
    await until(lambda: watching.progress("c1", "cust-1") == 30)
    assert watching.look("c1", "cust-1").readable
    assert watching.gauge("billing_instances_unreadable") == 0


async def test_it_is_logged_once_for_each_state_however_often_that_is_listed(
    watching: Watching, kubernetes: FakeKubernetes, caplog: pytest.LogCaptureFixture
) -> None:
    await watching.order("c1", "cust-1")
    await kubernetes.set_status("c1", stages=[{"name": "x", "state": "Sleeping"}])
    await until(lambda: not watching.look("c1", "cust-1").readable)
    for watches in (2, 3):
        await kubernetes.forget_history()
        await kubernetes.wait_for(lambda watches=watches: kubernetes.watches == watches)  # type: ignore[misc]
    assert caplog.text.count("cannot be read") == 1
    await kubernetes.set_status("c1", stages=[{"name": "y", "state": "Sleeping"}])
    await until(lambda: caplog.text.count("cannot be read") == 2)


async def test_one_that_was_never_readable_is_not_taken_for_deleted(
    watch: Watch, watching: Watching, kubernetes: FakeKubernetes
) -> None:
    await watching.order("c1", "cust-1")
    await kubernetes.set_status("c1", progress=BAD)
    async with watch() as late:
        await until(lambda: late.watch.connected)
        sight = late.look("c1", "cust-1", applied=1)
        assert (sight.instance, sight.gone, sight.readable) == (None, False, False)
        await kubernetes.delete("c1")
        await until(lambda: late.look("c1", "cust-1", applied=1).gone)
        assert late.gauge("billing_instances_unreadable") == 0


async def test_an_instance_of_that_name_that_belongs_to_somebody_else_is_not_shown(
    watching: Watching, kubernetes: FakeKubernetes
) -> None:
    await watching.order("c1", "cust-other")
    assert watching.look("c1", "cust-1") == Sight(instance=None, current=True, gone=False)
    await kubernetes.change("c1", customer={"id": "cust-1"})
    await until(lambda: watching.look("c1", "cust-1").instance)
    assert watching.look("c1", "cust-other").instance is None


async def test_what_was_deleted_during_an_outage_is_gone_after_it(
    watching: Watching, kubernetes: FakeKubernetes
) -> None:
    await watching.order("c1", "cust-1")
    await kubernetes.stop()
    await until(lambda: not watching.watch.connected)
    await kubernetes.delete("c1")
    await kubernetes.forget_history()
    await kubernetes.start()
    await until(lambda: watching.look("c1", "cust-1", applied=101).gone)


async def test_an_api_server_that_calls_every_watch_too_old_is_not_stormed(
    watching: Watching, kubernetes: FakeKubernetes, caplog: pytest.LogCaptureFixture
) -> None:
    loop, before = asyncio.get_running_loop(), kubernetes.lists
    began = loop.time()
    kubernetes.always_expired = True
    await kubernetes.forget_history()
    await kubernetes.wait_for(lambda: kubernetes.lists >= before + 4)
    # At least half of 0.2, 0.4 and so on; the first list anew comes at once.
    assert loop.time() - began >= 0.1 + 0.2
    assert caplog.text.count("too old") == 1
    kubernetes.always_expired = False
    await watching.order("c1", "cust-1")


async def test_a_watch_that_failed_of_something_unknown_begins_with_a_new_list_when_it_is_started_again(
    watching: Watching, kubernetes: FakeKubernetes
) -> None:
    failures = iter([RuntimeError("a defect")])

    def on_connected() -> None:
        for failure in failures:
            raise failure

    metrics = Metrics(CollectorRegistry())
    watch = InstanceWatch(
        watching.client, followers=Followers(metrics, most=100), metrics=metrics, on_connected=on_connected
    )
    with pytest.raises(RuntimeError, match="a defect"):
        await watch.run()
    assert not watch.connected
    lists = kubernetes.lists
    again = asyncio.create_task(watch.run())
    await until(lambda: watch.connected)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert kubernetes.lists == lists + 1
    assert not watch.connected


# -- followers ---------------------------------------------------------------------------------------------------


async def test_a_subscriber_hears_of_its_customer_and_of_nobody_else(
    watching: Watching, kubernetes: FakeKubernetes
) -> None:
    await watching.order("c1", "cust-1")
    await watching.order("c2", "cust-2")
    one, two = (watching.followers.open(name, network="") for name in ("cust-1", "cust-2"))
    await anext(one)
    await anext(two)
    waiting_one, waiting_two = asyncio.ensure_future(anext(one)), asyncio.ensure_future(anext(two))
    await kubernetes.set_status("c1", progress=50)
    async with asyncio.timeout(30):
        await waiting_one
    assert not waiting_two.done()
    await kubernetes.delete("c2")
    async with asyncio.timeout(30):
        await waiting_two


async def test_a_slow_subscriber_is_told_once_of_any_number_of_changes(
    watching: Watching, kubernetes: FakeKubernetes
) -> None:
    await watching.order("c1", "cust-1")
    follower = watching.followers.open("cust-1", network="")
    for progress in range(1, 101):
        await kubernetes.set_status("c1", progress=progress)
    await until(lambda: watching.progress("c1", "cust-1") == 100)
    await anext(follower)
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.wait([waiting], timeout=0.05)
    assert not waiting.done()
    follower.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_shutdown_ends_all_subscriptions_and_takes_no_more(watching: Watching) -> None:
    followers = [watching.followers.open(f"cust-{number}", network="") for number in range(3)]
    waiting = []
    for follower in followers:
        await anext(follower)
        waiting.append(asyncio.ensure_future(anext(follower, "ended")))
    watching.followers.close()
    async with asyncio.timeout(30):
        assert await asyncio.gather(*waiting) == 3 * ["ended"]
    with pytest.raises(ServiceUnavailable):
        watching.followers.open("cust-1", network="")


async def test_a_customer_may_have_eight_and_those_that_were_closed_or_dropped_do_not_count(
    watching: Watching,
) -> None:
    kept = [watching.followers.open("cust-1", network="") for _ in range(8)]
    with pytest.raises(TooManyStreams) as caught:
        watching.followers.open("cust-1", network="")
    assert caught.value.headers == {"Retry-After": "60"}
    other = watching.followers.open("cust-2", network="")
    assert watching.gauge("billing_event_streams") == 9
    kept[0].close()
    other.close()
    kept.append(watching.followers.open("cust-1", network=""))
    with pytest.raises(TooManyStreams):
        watching.followers.open("cust-1", network="")
    # Whoever holds one may be cancelled before the first answer, and never come to close it.
    del kept[1:]
    gc.collect()
    assert watching.gauge("billing_event_streams") == 0
    assert watching.followers.open("cust-1", network="")


# -- event streams ---------------------------------------------------------------------------------------------------


class Follower:
    """An event stream of one customer; what its database says can be changed."""

    def __init__(self, watching: Watching, *, seconds: float = 60.0, refresh: float = 60.0) -> None:
        self.progress: Progress | None = APPLIED
        self.error: Exception | None = None
        self.reads = 0
        self.follower = watching.followers.open("cust-1", network="")
        self.events = DeploymentEvents(
            name="c1",
            base_domain="iotistic.cloud",
            follower=self.follower,
            read=self._read,
            look=lambda applied: watching.look("c1", "cust-1", applied=applied),
            seconds=seconds,
            refresh=refresh,
        )

    async def _read(self) -> Progress | None:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.progress

    async def next(self) -> DeploymentAnswer | None:
        """Return the next answer, or None at the end of the stream."""
        async with asyncio.timeout(30):
            return await anext(self.events, None)


async def test_a_stream_begins_with_what_is_and_goes_on_with_what_changes(
    watching: Watching, kubernetes: FakeKubernetes
) -> None:
    await watching.order("c1", "cust-1")
    follower = Follower(watching)
    first = await follower.next()
    assert first is not None
    assert first.job.state == "waiting"
    for progress in (10, 60):
        await kubernetes.set_status("c1", phase="Provisioning", progress=progress)
        answer = await follower.next()
        assert answer is not None
        assert (answer.job.state, answer.job.progress) == ("active", progress)
    await kubernetes.set_status("c1", phase="Ready", progress=100)
    answer = await follower.next()
    assert answer is not None
    assert answer.job.state == "completed"
    # Completed is not the end: the next change of the plan is a deployment, too.
    await kubernetes.set_status("c1", phase="Updating", progress=50)
    answer = await follower.next()
    assert answer is not None
    assert answer.job.state == "active"
    # The watch tells it all.
    assert follower.reads == 1


async def test_what_looks_the_same_to_the_customer_is_not_sent_again(
    watching: Watching, kubernetes: FakeKubernetes
) -> None:
    await watching.order("c1", "cust-1")
    await kubernetes.set_status("c1", phase="Provisioning", progress=10)
    follower = Follower(watching)
    await follower.next()
    await kubernetes.change("c1", companyName="B")
    await kubernetes.set_status("c1", phase="Provisioning", progress=10)
    await kubernetes.set_status("c1", phase="Provisioning", progress=11)
    answers = []
    async for answer in follower.events:
        answers.append((answer.job.id, answer.job.state, answer.job.progress))
        if answer.job.progress == 11:
            break
    assert len(answers) == len([key for key, _ in itertools.groupby(answers)])


async def test_a_stream_tells_of_an_outage_and_of_its_end(watching: Watching, kubernetes: FakeKubernetes) -> None:
    await watching.order("c1", "cust-1")
    follower = Follower(watching)
    await follower.next()
    await kubernetes.stop()
    answer = await follower.next()
    assert answer is not None
    assert answer.message.startswith("The state of the instance cannot be seen at the moment.")
    await kubernetes.start()
    answer = await follower.next()
    assert answer is not None
    assert answer.message == "The deployment has not begun yet."


async def test_a_stream_tells_of_a_deletion(watching: Watching, kubernetes: FakeKubernetes) -> None:
    await watching.order("c1", "cust-1")
    follower = Follower(watching)
    await follower.next()
    await kubernetes.delete("c1")
    answer = await follower.next()
    assert answer is not None
    assert answer.message == "The instance has been deleted."


async def test_a_stream_tells_that_a_state_cannot_be_read(watching: Watching, kubernetes: FakeKubernetes) -> None:
    await watching.order("c1", "cust-1")
    await kubernetes.set_status("c1", phase="Provisioning", message="Half way")
    follower = Follower(watching)
    await follower.next()
    await kubernetes.set_status("c1", phase="Provisioning", progress=BAD)
    answer = await follower.next()
    assert answer is not None
    assert answer.message.startswith("The state of the instance cannot be read at the moment;")
    assert answer.message.endswith("Last known: Half way")


async def test_a_stream_tells_of_a_refusal_that_only_the_outbox_knows(watching: Watching) -> None:
    follower = Follower(watching, refresh=0.05)
    follower.progress = None
    first = await follower.next()
    assert first is not None
    assert first.job.state == "waiting"
    follower.progress = Progress(
        state="refused",
        attempts=1,
        next_attempt_at=APPLIED.next_attempt_at,
        last_error="no",
        created_at=APPLIED.created_at,
        applied_generation=None,
        applied_resource_version=None,
    )
    answer = await follower.next()
    assert answer is not None
    assert (answer.job.state, answer.customer.deploymentError) == ("failed", "no")


async def test_a_stream_survives_an_outage_of_the_database(watching: Watching, kubernetes: FakeKubernetes) -> None:
    await watching.order("c1", "cust-1")
    follower = Follower(watching, refresh=0.05)
    await follower.next()
    follower.error = DatabaseUnavailable("away")
    waiting = asyncio.ensure_future(follower.next())
    await until(lambda: follower.reads >= 3)
    assert not waiting.done()
    await kubernetes.set_status("c1", phase="Provisioning", progress=10)
    answer = await waiting
    assert answer is not None
    assert answer.job.progress == 10


@pytest.mark.parametrize("error", [Unauthenticated("logged out"), NotFound("erased")])
async def test_a_stream_ends_when_its_caller_may_not_see_it_any_more(watching: Watching, error: Exception) -> None:
    await watching.order("c1", "cust-1")
    follower = Follower(watching, refresh=0.05)
    await follower.next()
    follower.error = error
    assert await follower.next() is None
    assert follower.follower.closed


async def test_a_stream_that_cannot_begin_ends(watching: Watching) -> None:
    follower = Follower(watching)
    follower.error = DatabaseUnavailable("away")
    assert await follower.next() is None


async def test_a_stream_ends_with_the_session(watching: Watching) -> None:
    await watching.order("c1", "cust-1")
    follower = Follower(watching, seconds=2.0)
    assert await follower.next() is not None
    assert await follower.next() is None
    assert watching.gauge("billing_event_streams") == 0


async def test_a_stream_ends_at_shutdown(watching: Watching) -> None:
    await watching.order("c1", "cust-1")
    follower = Follower(watching)
    await follower.next()
    waiting = asyncio.ensure_future(follower.next())
    await asyncio.sleep(0)
    watching.followers.close()
    assert await waiting is None


def test_event_streams_leave_connections_for_everything_else() -> None:
    followers = Followers(Metrics(CollectorRegistry()), most=3)
    held = [followers.open(f"cust-{number}", network="") for number in range(3)]
    with pytest.raises(ServiceUnavailable):
        followers.open("cust-of-somebody-else", network="")
    held[0].close()
    assert not followers.open("cust-of-somebody-else", network="").closed


def test_many_customers_of_one_network_leave_streams_to_all_others() -> None:
    metrics = Metrics(CollectorRegistry())
    followers = Followers(metrics, most=500)
    held = [followers.open(f"cust-{number // 8}", network="203.0.113.0/24") for number in range(50)]
    with pytest.raises(TooManyStreams, match="At most 50 event streams may be open from one network"):
        followers.open("cust-of-another-trial", network="203.0.113.0/24")
    assert metrics.registry.get_sample_value("billing_limited_total", {"name": "stream", "per": "network"}) == 1
    assert not followers.open("cust-0-elsewhere", network="198.51.100.0/24").closed
    held[0].close()
    assert not followers.open("cust-of-somebody-else", network="203.0.113.0/24").closed


async def test_a_watch_that_ends_as_soon_as_it_is_open_is_asked_for_ever_more_seldom() -> None:
    class EndsAtOnce:
        opened = 0

        async def pages(self) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
            yield [], "1"

        @asynccontextmanager
        async def watch(self, _version: str) -> AsyncIterator[AsyncIterator[Any]]:
            self.opened += 1
            yield self._events()

        async def _events(self) -> AsyncIterator[Any]:
            nothing: list[Any] = []
            for event in nothing:
                yield event

    server, metrics = EndsAtOnce(), Metrics(CollectorRegistry())
    followers = Followers(metrics, most=1)
    client = cast("KubeClient", server)
    watch = InstanceWatch(client, followers=followers, metrics=metrics, on_connected=lambda: None)
    running = asyncio.create_task(watch.run())
    began = asyncio.get_running_loop().time()
    await until(lambda: server.opened >= 4)
    # At least half of 0.2, 0.4 and 0.8 s.
    assert asyncio.get_running_loop().time() - began >= 0.1 + 0.2 + 0.4
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
