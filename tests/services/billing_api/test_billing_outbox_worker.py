"""The outbox by itself, with handlers of any kind: order, leases, and what may happen to a worker."""

import asyncio
from time import monotonic
from typing import Any

import pytest

from billing_api.db import outbox as rows
from billing_api.db import outbox_overview as overview
from billing_api.db.outbox import Job
from billing_api.db.pool import Database
from billing_api.errors import DatabaseUnavailable, Postponed, Refused
from billing_api.outbox.worker import Handler
from billing_api.settings import Settings
from tests.services.billing_api.harness import Query, changed
from tests.services.billing_api.outbox_harness import Replica, add, states
from tests.support.waiting import eventually


async def test_a_worker_needs_no_cluster_and_leaves_rows_it_has_no_handler_for(
    database: Database, settings: Settings, query: Query
) -> None:
    async def dig(job: Job) -> dict[str, Any]:
        return {"dug": job.payload["depth"], "for": job.subject}

    async with Replica(database, {"dig": dig}, settings).running():
        await add(database, "c", "a", kind="fly")
        await add(database, "a", "b", depth=3)
        await eventually(lambda: "done" in states(query))
    found = query("SELECT kind, subject, state, result FROM outbox ORDER BY id")
    assert found == [
        {"kind": "fly", "subject": "c", "state": "pending", "result": None},
        {"kind": "fly", "subject": "a", "state": "pending", "result": None},
        # It comes after a row of its subject that is not done.
        {"kind": "dig", "subject": "a", "state": "pending", "result": None},
        {"kind": "dig", "subject": "b", "state": "done", "result": {"dug": 3, "for": "b"}},
    ]


async def test_rows_of_a_subject_are_done_one_by_one_in_their_order_by_two_workers_that_share(
    database: Database, settings: Settings, query: Query
) -> None:
    order: dict[str, list[int]] = {subject: [] for subject in "abcdef"}
    by: dict[str, set[int]] = {subject: set() for subject in order}
    in_work: set[str] = set()

    def digger(number: int) -> Handler:
        async def dig(job: Job) -> None:
            assert job.subject not in in_work
            in_work.add(job.subject)
            await asyncio.sleep(0)
            order[job.subject].append(job.payload["number"])
            by[job.subject].add(number)
            in_work.remove(job.subject)

        return dig

    few = changed(settings, outbox_batch_size=2)
    await add(database, *("abcdef" * 10))
    async with (
        Replica(database, {"dig": digger(1)}, few).running() as one,
        Replica(database, {"dig": digger(2)}, few).running() as other,
    ):
        await eventually(lambda: states(query) == ["done"] * 60)
    assert all(numbers == sorted(numbers) and len(numbers) == 10 for numbers in order.values())
    assert set.union(*by.values()) == {1, 2}
    assert (one.attempts("done") or 0) + (other.attempts("done") or 0) == 60


async def test_a_row_that_waits_keeps_later_ones_of_its_subject_waiting_and_a_refused_one_does_not(
    database: Database, settings: Settings, query: Query
) -> None:
    failures: list[Exception] = [Refused("not this one"), Postponed("not now"), Postponed("not now")]
    numbers = []

    async def dig(job: Job) -> None:
        numbers.append(job.payload["number"])
        if failures:
            raise failures.pop(0)

    async with Replica(database, {"dig": dig}, settings).running() as replica:
        await add(database, "a", "a", "a")
        await eventually(lambda: states(query) == ["refused", "done", "done"])
    assert numbers == [0, 1, 1, 1, 2]
    assert query("SELECT attempts, last_error FROM outbox ORDER BY id") == [
        {"attempts": 1, "last_error": "not this one"},
        {"attempts": 3, "last_error": None},
        {"attempts": 1, "last_error": None},
    ]
    assert [replica.attempts(outcome) for outcome in ("refused", "postponed", "done")] == [1, 2, 2]


async def test_a_kind_that_hangs_keeps_no_other_kind_waiting(
    database: Database, settings: Settings, query: Query
) -> None:
    release = asyncio.Event()

    async def hang(_: Job) -> None:
        await release.wait()

    async def dig(_: Job) -> None:
        release.set()

    one = changed(settings, outbox_batch_size=1)
    async with Replica(database, {"hang": hang, "dig": dig}, one).running():
        await add(database, "a", "b", kind="hang")
        await add(database, "c")
        await eventually(lambda: set(states(query)) == {"done"})


async def test_the_lease_of_a_long_work_is_renewed(database: Database, settings: Settings, query: Query) -> None:
    calls, release = [], asyncio.Event()

    async def dig(job: Job) -> None:
        calls.append(job.id)
        await release.wait()

    short = changed(settings, outbox_lease=0.5)
    async with Replica(database, {"dig": dig}, short).running(), Replica(database, {"dig": dig}, short).running():
        await add(database, "a")
        await eventually(lambda: query("SELECT 1 FROM outbox WHERE leased_until > created_at + interval '2 s'") != [])
        release.set()
        await eventually(lambda: states(query) == ["done"])
    assert len(calls) == 1


async def test_what_is_found_out_after_the_lease_was_lost_overwrites_nothing(
    database: Database, settings: Settings, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def late(_: Job) -> dict[str, Any]:
        begun.set()
        await release.wait()
        return {"by": "late"}

    async def quick(_: Job) -> dict[str, Any]:
        return {"by": "quick"}

    await add(database, "a")
    # With one row it is full, and does not take the row again itself.
    async with Replica(database, {"dig": late}, changed(settings, outbox_batch_size=1)).running() as slow:
        await begun.wait()
        query("UPDATE outbox SET leased_until = now() - interval '1 second'")
        async with Replica(database, {"dig": quick}, settings).running():
            await eventually(lambda: states(query) == ["done"])
        release.set()
        await eventually(lambda: slow.attempts("lost") == 1)
    assert query("SELECT state, attempts, result FROM outbox") == [
        {"state": "done", "attempts": 2, "result": {"by": "quick"}}
    ]
    assert slow.attempts("done") == 0
    assert "has run out during the work on it" in caplog.text


@pytest.mark.parametrize("loss", ["lease = gen_random_uuid()", "lease = NULL, leased_until = NULL, state = 'done'"])
async def test_work_whose_lease_somebody_else_took_is_ended(
    loss: str, database: Database, settings: Settings, query: Query
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def dig(_: Job) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    async with Replica(database, {"dig": dig}, changed(settings, outbox_lease=0.3)).running() as replica:
        await add(database, "a")
        await begun.wait()
        query(f"UPDATE outbox SET {loss}")
        async with asyncio.timeout(10):
            await ended.wait()
        await eventually(lambda: replica.attempts("lost") == 1)


async def test_a_worker_that_is_stopped_ends_what_it_has_begun(
    database: Database, settings: Settings, query: Query
) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def dig(_: Job) -> None:
        begun.set()
        await release.wait()

    async with Replica(database, {"dig": dig}, changed(settings, outbox_batch_size=1)).running() as replica:
        await add(database, "a", "b")
        await begun.wait()
        replica.worker.stop()
        release.set()
    assert states(query) == ["done", "pending"]


async def test_a_worker_that_is_cancelled_gives_its_rows_back_at_once(
    database: Database, settings: Settings, query: Query
) -> None:
    begun = asyncio.Event()

    async def dig(_: Job) -> None:
        begun.set()
        await asyncio.sleep(3600)

    await add(database, "a")
    running = asyncio.create_task(Replica(database, {"dig": dig}, settings).worker.run())
    await begun.wait()
    running.cancel()
    await asyncio.wait([running])
    assert query("SELECT state, lease FROM outbox") == [{"state": "pending", "lease": None}]


async def test_counts_tell_of_every_kind_how_much_is_not_done(database: Database, query: Query) -> None:
    await add(database, "a", "b", kind="dig")
    await add(database, "c", kind="fly")
    query("UPDATE outbox SET created_at = now() - interval '1 hour' WHERE subject = 'a'")
    query("UPDATE outbox SET state = 'refused' WHERE subject = 'b'")
    query("UPDATE outbox SET state = 'done' WHERE subject = 'c'")
    async with database.transaction() as connection:
        [count] = await overview.count(connection)
    assert (count.kind, count.pending, count.refused, round(count.oldest_seconds / 60)) == ("dig", 1, 1, 60)


async def test_what_was_done_long_ago_is_forgotten_but_not_the_newest(database: Database, query: Query) -> None:
    await add(database, "a", "a", "b", "b")
    query("UPDATE outbox SET state = 'done', finished_at = now() - interval '31 days' WHERE id <> 3")
    query("UPDATE outbox SET state = 'refused' WHERE id = 3")
    async with database.transaction() as connection:
        assert await rows.forget_done(connection, days=30) == 1
    assert [row["id"] for row in query("SELECT id FROM outbox ORDER BY id")] == [2, 3, 4]


async def test_a_replica_that_stands_still_within_a_claim_is_cut_off_and_others_go_on(database: Database) -> None:
    async def claim_while_another_stands_still() -> None:
        async with database.transaction(seconds=60) as one:
            began = monotonic()
            await rows.claim(one, room={"test": 1}, seconds=1)
            async with asyncio.timeout(20), database.transaction(seconds=60) as other:
                await rows.claim(other, room={"test": 1}, seconds=1)
            waited.append(monotonic() - began)
            await one.execute("SELECT 1")
        raise AssertionError("it was not cut off")

    waited: list[float] = []
    with pytest.raises(DatabaseUnavailable):
        await claim_while_another_stands_still()
    # No sooner: a claim of very many rows takes its time.
    assert waited[0] > 1.5
