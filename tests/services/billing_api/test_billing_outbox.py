"""From the signup to the custom resource, against an API server with bad days."""

import asyncio
import logging
from pathlib import Path

import pytest

from billing_api.db.pool import Database
from billing_api.settings import Settings
from tests.services.billing_api.fake_kubernetes import TOKEN, FakeKubernetes
from tests.services.billing_api.harness import Billing, Query, Start, changed, instance_name


@pytest.fixture
def connected(settings: Settings, kubernetes: FakeKubernetes, tmp_path: Path) -> Settings:
    return changed(settings, kubeconfig=kubernetes.write_kubeconfig(tmp_path / "kubeconfig"))


async def _sign_up_many(billing: Billing, count: int) -> set[str]:
    answers = await asyncio.gather(*(billing.sign_up(f"user{number}@example.com") for number in range(count)))
    assert {answer.status_code for answer in answers} == {201}
    return {instance_name(answer.json()) for answer in answers}


async def test_a_signup_becomes_a_custom_resource(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    async with start(connected) as billing:
        signup = await billing.new_customer()
        name = instance_name(signup)
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
    item = kubernetes.objects[name]
    assert (item["apiVersion"], item["kind"]) == ("iotistic.cloud/v1alpha1", "CustomerInstance")
    assert item["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "billing-api",
        "iotistic.cloud/customer-id": signup["customer"]["customer_id"],
    }
    assert item["spec"] == {
        "customer": {
            "id": signup["customer"]["customer_id"],
            "email": "john@example.com",
            "companyName": "Acme Corp",
        },
        "plan": "trial",
        "license": {"key": signup["license"]["jwt"]},
    }
    [(_, authorization, sent)] = kubernetes.requests
    assert authorization == f"Bearer {TOKEN}"
    assert "fieldManager=billing-api" in sent
    assert "force=true" in sent
    [row] = query("SELECT state, attempts, applied_generation FROM outbox")
    assert row == {"state": "done", "attempts": 1, "applied_generation": 1}


async def test_while_kubernetes_is_away_signups_are_taken_and_nothing_is_lost(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await kubernetes.stop()
    async with start(connected) as billing:
        names = await _sign_up_many(billing, 10)
        await kubernetes.start()
        await kubernetes.wait_for(lambda: names == set(kubernetes.objects))
    assert sorted(kubernetes.applies) == sorted(names)
    assert query("SELECT count(*) FROM outbox WHERE state <> 'done'") == [{"count": 0}]
    told = [record.message for record in caplog.records if record.name == "billing_api.outbox.worker"]
    began, ended = [message for message in told if not message.startswith("Applied")]
    assert began.endswith("tried again until it works: Kubernetes does not answer (ClientConnectorError)")
    assert ended == "Customer instances are applied again"


async def test_waiting_rows_are_tried_at_once_when_kubernetes_is_back(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    slow = changed(connected, outbox_retry_base_seconds=3000, outbox_retry_max_seconds=3000)
    async with start(slow) as billing:
        await kubernetes.wait_for(lambda: kubernetes.watches == 1)
        kubernetes.refusals.append((503, "etcd is away"))
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: not kubernetes.refusals)
        await kubernetes.stop()
        await kubernetes.start()
        await kubernetes.wait_for(lambda: name in kubernetes.objects)


async def test_a_transient_refusal_is_retried_by_itself(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    for status in (500, 503, 429, 409, 403, 404, 401):
        kubernetes.refusals.append((status, "not now"))
    async with start(connected) as billing:
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
    [row] = query("SELECT state, attempts, last_error FROM outbox")
    assert row == {"state": "done", "attempts": 8, "last_error": None}


async def test_a_final_refusal_fails_the_job_with_the_reason_and_without_secrets(
    start: Start,
    connected: Settings,
    kubernetes: FakeKubernetes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with start(connected) as billing:
        await kubernetes.wait_for(lambda: kubernetes.watches == 1)
        license = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
        kubernetes.refusals.append((422, f'spec.license.key: Invalid value: "{license}": too long'))
        signup = await billing.new_customer()
        name = instance_name(signup)
        await kubernetes.wait_for(lambda: not kubernetes.refusals)
        other = instance_name(await billing.new_customer("jane@example.com"))
        await kubernetes.wait_for(lambda: other in kubernetes.objects)
        answer = await billing.status(signup)
    assert name not in kubernetes.objects
    assert (answer["job"]["state"], answer["customer"]["deploymentStatus"]) == ("failed", "failed")
    assert "spec.license.key" in answer["customer"]["deploymentError"]
    assert f"Customer instance {name} cannot be applied" in caplog.text
    for shown in (caplog.text, str(answer)):
        assert license not in shown
    assert "[license]" in answer["customer"]["deploymentError"]


async def test_two_replicas_share_the_work_and_double_nothing(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as one, start(connected) as _other:
        names = await _sign_up_many(one, 20)
        await kubernetes.wait_for(lambda: names == set(kubernetes.objects))
    assert sorted(kubernetes.applies) == sorted(names)


async def test_rows_that_waited_for_a_process_are_applied_when_one_starts(
    start: Start, settings: Settings, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(settings) as without_cluster:
        names = await _sign_up_many(without_cluster, 3)
    async with start(connected):
        await kubernetes.wait_for(lambda: names == set(kubernetes.objects))


async def test_an_apply_whose_record_was_lost_is_repeated_without_effect(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    async with start(connected) as billing:
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
    before = kubernetes.objects[name]
    query("UPDATE outbox SET state = 'pending', applied_generation = NULL")
    async with start(connected):
        await kubernetes.wait_for(lambda: kubernetes.applies == [name, name])
    assert kubernetes.objects[name]["spec"] == before["spec"]
    assert kubernetes.objects[name]["metadata"]["generation"] == 1


async def test_while_there_is_nothing_to_do_neither_side_is_asked_anything(
    start: Start, connected: Settings, kubernetes: FakeKubernetes
) -> None:
    async with start(connected) as billing:
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
        waiting = [task for task in asyncio.all_tasks() if task.get_name() in {"outbox", "outbox-listener", "watch"}]
        asked = []
        for _ in range(3):
            done, _ = await asyncio.wait(waiting, timeout=0.5)
            assert not done
            asked.append(billing.services.get(Database)._pool.get_stats()["requests_num"])
    assert len(waiting) == 3
    assert asked[1] == asked[2]
    assert (kubernetes.lists, kubernetes.watches, len(kubernetes.requests)) == (1, 1, 1)


async def test_the_worker_survives_the_loss_of_its_database_connections(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with start(connected) as billing:
        await kubernetes.wait_for(lambda: kubernetes.watches == 1)
        query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
