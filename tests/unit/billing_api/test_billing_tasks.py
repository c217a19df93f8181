"""Background tasks: nothing ends one for good, and nothing ends one in silence."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import CollectorRegistry

from billing_api import tasks as tasks_module
from billing_api.errors import DatabaseUnavailable
from billing_api.metrics import Metrics
from billing_api.tasks import Supervisor
from tests.support.waiting import eventually


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def _restarts(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("billing_task_restarts_total", {"task": name})


def _quick(metrics: Metrics) -> Supervisor:
    return Supervisor(metrics, first=0.001, longest=0.01)


async def _cancel_a_part() -> None:
    part = asyncio.create_task(asyncio.sleep(60))
    part.cancel()
    await part


async def _end() -> None:
    pass


async def _fail() -> None:
    raise ZeroDivisionError("a defect")


async def _fail_in_a_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_fail())


@pytest.mark.parametrize("ending", [_fail, _end, _cancel_a_part, _fail_in_a_group])
async def test_whatever_ends_a_task_it_is_logged_counted_and_started_again(
    ending: Callable[[], Awaitable[None]], metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    endings, works = [ending, ending], asyncio.Event()

    async def run() -> None:
        if endings:
            await endings.pop()()
            return
        works.set()
        await asyncio.sleep(60)

    async with asyncio.timeout(10), _quick(metrics) as tasks:
        tasks.start("digging", run)
        assert _restarts(metrics, "digging") == 0
        await works.wait()
        assert tasks.down == ()
    assert _restarts(metrics, "digging") == 2
    told = [record for record in caplog.records if "digging has failed" in record.message]
    assert [bool(record.exc_info) for record in told] == [True, True]


async def test_of_an_outage_only_the_beginning_is_logged_and_it_is_nobodys_fault(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs <= 30:
            raise DatabaseUnavailable("PostgreSQL is away")
        works.set()
        await asyncio.sleep(60)

    works = asyncio.Event()
    async with asyncio.timeout(10), _quick(metrics) as tasks:
        tasks.start("digging", run)
        await works.wait()
        assert tasks.hopeless == ()
    [record] = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert record.message.endswith("PostgreSQL is away")


async def test_what_starting_again_does_not_mend_is_told_and_still_tried(metrics: Metrics) -> None:
    async with asyncio.timeout(10), _quick(metrics) as tasks:
        tasks.start("digging", _fail)
        await eventually(lambda: bool(tasks.hopeless))
        tried = _restarts(metrics, "digging") or 0
        assert tried >= 9
        await eventually(lambda: (_restarts(metrics, "digging") or 0) > tried)
        assert tasks.hopeless == ("digging",)


async def test_who_has_worked_for_a_while_begins_to_be_hopeless_anew(metrics: Metrics) -> None:
    runs, done = 0, asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 10:
            # Longer than the longest wait: healthy.
            await asyncio.sleep(0.05)
        if runs == 18:
            done.set()
            await asyncio.sleep(60)
        raise ZeroDivisionError("a defect")

    async with asyncio.timeout(10), _quick(metrics) as tasks:
        tasks.start("digging", run)
        await done.wait()
        assert tasks.hopeless == ()


async def test_a_task_that_waits_to_be_started_again_is_down_and_the_end_does_not_wait_for_it(
    metrics: Metrics,
) -> None:
    async with asyncio.timeout(10), Supervisor(metrics, first=3600, longest=3600) as tasks:
        tasks.start("digging", _fail)
        await eventually(lambda: bool(tasks.down))
        assert tasks.down == ("digging",)


async def test_at_the_end_a_task_that_can_be_asked_may_finish_and_others_are_cancelled(metrics: Metrics) -> None:
    asked, told = asyncio.Event(), []

    async def polite() -> None:
        await asked.wait()
        told.append("finished")

    async def other() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    async with asyncio.timeout(10), _quick(metrics) as tasks:
        tasks.start("polite", polite, stop=asked.set)
        tasks.start("other", other)
        await asyncio.sleep(0)
    assert sorted(told) == ["cancelled", "finished"]
    assert _restarts(metrics, "polite") == 0


async def test_at_the_end_a_task_that_is_late_to_finish_is_cancelled(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tasks_module, "_STOP_SECONDS", 0.01)
    cancelled = asyncio.Event()

    async def deaf() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with asyncio.timeout(10), _quick(metrics) as tasks:
        tasks.start("deaf", deaf, stop=lambda: None)
        await asyncio.sleep(0)
    assert cancelled.is_set()
    assert "The background task deaf does not end in" in caplog.text
