"""The deployment status, served from one shared watch."""

import asyncio
from typing import Any

from billing_api.settings import Settings
from tests.services.billing_api.fake_kubernetes import FakeKubernetes
from tests.services.billing_api.harness import Billing, Query, Start
from tests.support.billing import instance_name


async def _until(billing: Billing, signup: dict[str, Any], **job: Any) -> dict[str, Any]:
    """Ask until the job is as wanted: what the fake has sent takes a moment to be read."""
    async with asyncio.timeout(60):
        while True:
            answer = await billing.status(signup)
            if answer["job"].items() >= job.items():
                return answer


async def _deployed(billing: Billing, kubernetes: FakeKubernetes, email: str = "john@example.com") -> dict[str, Any]:
    signup = await billing.new_customer(email)
    await kubernetes.wait_for(lambda: instance_name(signup) in kubernetes.objects)
    return signup


async def test_the_progress_of_the_operator_is_followed(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        signup = await _deployed(billing, kubernetes)
        name = instance_name(signup)
        answer = await _until(billing, signup, state="waiting")
        assert answer["job"]["id"] == signup["deployment"]["job_id"]
        await kubernetes.set_status(name, phase="Provisioning", progress=40, message="Waiting for the database")
        answer = await _until(billing, signup, state="active", progress=40)
        assert answer["customer"]["deploymentStatus"] == "deploying"
        assert answer["message"] == "Waiting for the database"
        urls = {"dashboard": f"https://{name}.iotistic.cloud"}
        await kubernetes.set_status(name, phase="Ready", progress=100, urls=urls, timeToReadySeconds=30.5)
        answer = await _until(billing, signup, state="completed", progress=100)
    assert answer["customer"] == {
        "deploymentStatus": "deployed",
        "instanceUrl": f"https://{name}.iotistic.cloud",
        "deployedAt": "2026-01-01T00:00:30Z",
        "deploymentError": None,
    }


async def test_any_number_of_requests_costs_the_api_server_one_watch(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        signup = await _deployed(billing, kubernetes)
        await asyncio.gather(*(billing.status(signup) for _ in range(50)))
    assert (kubernetes.lists, kubernetes.watches) == (1, 1)


async def test_without_kubernetes_the_job_waits_and_the_answer_says_so(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    await kubernetes.stop()
    async with start(connected) as billing:
        answer = await billing.status(await billing.new_customer())
    assert (answer["job"]["state"], answer["customer"]["deploymentStatus"]) == ("waiting", "pending")
    assert "The state of the instance cannot be seen" in answer["message"]


async def test_when_kubernetes_goes_away_the_last_picture_stays(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        signup = await _deployed(billing, kubernetes)
        await kubernetes.set_status(instance_name(signup), phase="Ready", progress=100, message="All is well")
        await _until(billing, signup, state="completed")
        await kubernetes.stop()
        await billing.until_kubernetes_is("disconnected")
        answer = await billing.status(signup)
    assert answer["job"]["state"] == "completed"
    assert answer["message"] == "The state of the instance cannot be seen at the moment. Last known: All is well"


async def test_what_changed_while_the_watch_was_away_is_seen_after_it(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        signup = await _deployed(billing, kubernetes)
        await kubernetes.stop()
        await kubernetes.set_status(instance_name(signup), phase="Provisioning", progress=70)
        await kubernetes.start()
        await _until(billing, signup, state="active", progress=70)
    assert (kubernetes.lists, kubernetes.watches) == (1, 2)


async def test_a_watch_that_fell_too_far_behind_starts_with_a_new_list(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        signup = await _deployed(billing, kubernetes)
        await kubernetes.forget_history()
        await kubernetes.wait_for(lambda: kubernetes.watches == 2)
        await kubernetes.set_status(instance_name(signup), phase="Provisioning", progress=70)
        await _until(billing, signup, state="active", progress=70)
    assert kubernetes.lists == 2


async def test_long_lists_are_read_in_pages(start: Start, connected: Settings, kubernetes: FakeKubernetes) -> None:
    kubernetes.most_on_a_page = 2
    async with start(connected) as billing:
        signups = [await _deployed(billing, kubernetes, f"user{number}@example.com") for number in range(5)]
    for signup in signups:
        await kubernetes.set_status(instance_name(signup), phase="Ready", progress=100)
    async with start(connected) as billing:
        await kubernetes.wait_for(lambda: kubernetes.watches == 2)
        for signup in signups:
            await _until(billing, signup, state="completed")
    assert kubernetes.lists == 1 + 3


async def test_a_deleted_instance_is_reported_as_deleted(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    async with start(connected) as billing:
        signup = await _deployed(billing, kubernetes)
        await kubernetes.delete(instance_name(signup))
        answer = await _until(billing, signup, state="completed")
    assert answer["customer"]["deploymentStatus"] == "deleted"
    assert answer["message"] == "The instance has been deleted."
