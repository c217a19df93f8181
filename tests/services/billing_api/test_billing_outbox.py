"""From the signup to the custom resource, against an API server with bad days."""

import asyncio
import logging
import signal
from pathlib import Path

import pytest

from billing_api.licensing import publication
from billing_api.settings import Settings
from tests.services.billing_api.fake_kubernetes import TOKEN, FakeKubernetes
from tests.services.billing_api.harness import Billing, Query, Start, changed
from tests.support.billing import billing_process, instance_name, replica_environment
from tests.support.clocks import pass_time
from tests.support.waiting import eventually

#: The license keys are published through the outbox, too.
_APPLIES = "kind = 'instance.apply'"

_OURS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
#: When each connection of the app was last asked something, and what.
_ASKED = f"SELECT pid, query, query_start, state_change {_OURS} ORDER BY pid"
#: Something waits in the outbox, or a connection of the app has been asked something in the last second.
_BUSY = (
    "SELECT 1 FROM outbox WHERE state = 'pending' "
    f"UNION ALL SELECT 1 {_OURS} AND state_change > clock_timestamp() - interval '1 second'"
)


async def _sign_up_many(billing: Billing, count: int) -> set[str]:
    answers = await asyncio.gather(*(billing.sign_up(f"user{number}@example.com") for number in range(count)))
    assert {answer.status_code for answer in answers} == {201}
    return {instance_name(answer.json()) for answer in answers}


def _all_done(query: Query) -> bool:
    return query("SELECT count(*) FROM outbox WHERE state <> 'done'") == [{"count": 0}]


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
    [row] = query(f"SELECT kind, subject, payload, state, attempts, lease, result FROM outbox WHERE {_APPLIES}")
    assert row == {
        "kind": "instance.apply",
        "subject": signup["customer"]["customer_id"],
        "payload": {},
        "state": "done",
        "attempts": 1,
        "lease": None,
        "result": {"generation": 1, "resourceVersion": int(item["metadata"]["resourceVersion"])},
    }


async def test_while_kubernetes_is_away_signups_are_taken_and_nothing_is_lost(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await kubernetes.stop()
    async with start(connected) as billing:
        names = await _sign_up_many(billing, 10)
        await eventually(lambda: "Outbox rows of instance.apply wait" in caplog.text)
        await kubernetes.start()
        await kubernetes.wait_for(lambda: names == set(kubernetes.objects))
        # The license keys wait for Kubernetes, too, and may be the last.
        await eventually(lambda: _all_done(query))
    assert sorted(kubernetes.applies) == sorted(names)
    told = [record.message for record in caplog.records if record.name == "billing_api.outbox.worker"]
    began, ended = [message for message in told if "instance.apply" in message]
    assert began.endswith("tried again until it works: Kubernetes does not answer (ClientConnectorError)")
    assert ended == "Outbox rows of instance.apply are done again"


async def test_waiting_rows_are_tried_at_once_when_kubernetes_is_back(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    slow = changed(connected, outbox_retry_base_seconds=3000, outbox_retry_max_seconds=3000)
    async with start(slow) as billing:
        await kubernetes.wait_for(lambda: kubernetes.watches == 1)
        kubernetes.refusals.append((503, "etcd is away"))
        name = instance_name(await billing.new_customer())
        await eventually(lambda: query(f"SELECT last_error FROM outbox WHERE {_APPLIES}") != [{"last_error": None}])
        await kubernetes.stop()
        await kubernetes.start()
        await kubernetes.wait_for(lambda: name in kubernetes.objects)


async def test_a_transient_refusal_is_retried_by_itself(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    for status in (500, 503, 429, 409, 403, 404, 401, 410):
        kubernetes.refusals.append((status, "not now"))
    async with start(connected) as billing:
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
    [row] = query(f"SELECT state, attempts, last_error FROM outbox WHERE {_APPLIES}")
    assert row == {"state": "done", "attempts": 9, "last_error": None}


async def test_a_final_refusal_fails_the_job_with_the_reason_and_without_secrets(
    start: Start,
    connected: Settings,
    kubernetes: FakeKubernetes,
    query: Query,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with start(connected) as billing:
        await kubernetes.wait_for(lambda: kubernetes.watches == 1)
        license = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl"
        kubernetes.refusals.append((422, f'spec.license.key: Invalid value: "{license}": too long'))
        signup = await billing.new_customer()
        name = instance_name(signup)
        await eventually(lambda: query(f"SELECT state FROM outbox WHERE {_APPLIES}") == [{"state": "refused"}])
        other = instance_name(await billing.new_customer("jane@example.com"))
        await kubernetes.wait_for(lambda: other in kubernetes.objects)
        answer = await billing.status(signup)
        metrics = (await billing.client.get("/metrics")).text
        assert (await billing.client.get("/health/ready")).status_code == 200
    assert name not in kubernetes.objects
    assert (answer["job"]["state"], answer["customer"]["deploymentStatus"]) == ("failed", "failed")
    assert "spec.license.key" in answer["customer"]["deploymentError"]
    assert f"(instance.apply, {signup['customer']['customer_id']}) is refused" in caplog.text
    assert 'billing_outbox_refused{kind="instance.apply"} 1.0' in metrics
    for shown in (caplog.text, str(answer)):
        assert license not in shown
    assert "[license]" in answer["customer"]["deploymentError"]


async def test_two_replicas_share_the_work_and_double_nothing(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    five = changed(connected, outbox_batch_size=5)
    kubernetes.gate.clear()
    async with start(five) as one, start(five):
        names = await _sign_up_many(one, 12)
        # More than one of them may have in work, and no more than both may.
        await kubernetes.wait_for(lambda: len(kubernetes.requests) == 10)
        assert query("SELECT count(*) FROM outbox WHERE lease IS NOT NULL") == [{"count": 10}]
        kubernetes.gate.set()
        await kubernetes.wait_for(lambda: names == set(kubernetes.objects))
    assert sorted(kubernetes.applies) == sorted(names)


async def test_a_replica_killed_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    start: Start, settings: Settings, connected: Settings, kubernetes: FakeKubernetes, query: Query, dsn: str
) -> None:
    environ = replica_environment(dsn, settings.data_dir)
    key = Path(environ["LICENSE_PRIVATE_KEY_PATH"])
    async with start(changed(settings, license_private_key_path=key)) as without_cluster:
        names = await _sign_up_many(without_cluster, 8)
    kubernetes.gate.clear()
    environ |= {"KUBECONFIG": str(connected.kubeconfig), "OUTBOX_LEASE": "3", "OUTBOX_BATCH_SIZE": "5"}
    async with billing_process(environ) as process:
        await kubernetes.wait_for(lambda: len(kubernetes.requests) == 5)
        await process.end(signal.SIGKILL)
    assert query(f"SELECT count(*) FROM outbox WHERE {_APPLIES} AND leased_until > now()") == [{"count": 5}]
    kubernetes.gate.set()
    async with start(changed(connected, license_private_key_path=key)):
        await kubernetes.wait_for(lambda: names == set(kubernetes.objects))
        await eventually(lambda: _all_done(query))
    attempts = query(f"SELECT attempts, count(*) FROM outbox WHERE {_APPLIES} GROUP BY attempts ORDER BY attempts")
    assert attempts == [{"attempts": 1, "count": 3}, {"attempts": 2, "count": 5}]
    assert {item["metadata"]["generation"] for item in kubernetes.objects.values()} == {1}


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
    query("UPDATE outbox SET state = 'pending', result = NULL")
    async with start(connected):
        await kubernetes.wait_for(lambda: kubernetes.applies == [name, name])
    assert kubernetes.objects[name]["spec"] == before["spec"]
    assert kubernetes.objects[name]["metadata"]["generation"] == 1


async def test_the_instance_of_a_customer_who_is_no_more_is_not_applied(
    start: Start, settings: Settings, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    async with start(settings) as without_cluster:
        await without_cluster.new_customer()
    query("DELETE FROM customers")
    async with start(connected):
        await eventually(lambda: _all_done(query))
    assert kubernetes.requests == []


async def test_while_there_is_nothing_to_do_neither_side_is_asked_anything(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The signing keys are looked at by the clock, every ten seconds at the latest; all else waits to be told.
    monkeypatch.setattr(publication, "_LONGEST_PAUSE_SECONDS", 3600.0)
    async with start(changed(connected, license_key_overlap=3600)) as billing:
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
        await eventually(lambda: not query(_BUSY))
        asked = query(_ASKED), kubernetes.lists, kubernetes.watches, len(kubernetes.requests)
        # Whatever would look again within half a minute looks now.
        with monkeypatch.context() as later:
            pass_time(later, 30)
            await asyncio.sleep(1)
        assert (query(_ASKED), kubernetes.lists, kubernetes.watches, len(kubernetes.requests)) == asked
        other = instance_name(await billing.new_customer("jane@example.com"))
        await kubernetes.wait_for(lambda: other in kubernetes.objects)


async def test_the_worker_survives_the_loss_of_its_database_connections(
    start: Start, connected: Settings, kubernetes: FakeKubernetes, query: Query
) -> None:
    async with start(connected) as billing:
        await kubernetes.wait_for(lambda: kubernetes.watches == 1)
        query(
            # Ended, and not only told to: a request on one that is about to end is answered 503.
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        name = instance_name(await billing.new_customer())
        await kubernetes.wait_for(lambda: name in kubernetes.objects)
