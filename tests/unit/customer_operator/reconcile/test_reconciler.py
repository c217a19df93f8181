"""One pass after another over an instance: built, left alone, healed, reported."""

import pytest

from customer_operator import naming
from customer_operator.errors import AdmissionRefused, ClusterError, ClusterUnreachable, Conflict
from customer_operator.kube.kinds import KINDS
from tests.support.fake_kube import Call
from tests.support.generate import make_resource
from tests.support.reconciling import NODE_PORT, QUOTA_WAIT, World, edited, with_metadata

NAMESPACE = "customer-acme"


# -- building --------------------------------------------------------------------------------------------------------


async def test_an_instance_is_built_wave_by_wave_and_its_workloads_only_under_the_quota(world: World) -> None:
    world.order()

    outcome = await world.reconcile()
    first = world.applied()
    assert first[:2] == [("Namespace", NAMESPACE), ("RoleBinding", naming.TENANT_ROLE)]
    waves = [KINDS[kind].wave for kind, _ in first[2:]]
    assert waves == sorted(waves, key=lambda wave: wave or 0)
    assert set(waves) == {0, 1}
    assert (outcome.result, outcome.requeue_after) == ("waiting", QUOTA_WAIT)

    world.settle()
    await world.reconcile()
    assert {kind for kind, _ in world.applied()} == {"Deployment", "StatefulSet"}
    world.settle()
    assert (await world.reconcile()).result == "ready"
    assert world.status()["phase"] == "Ready"


async def test_a_quota_that_is_never_in_force_holds_the_workloads_for_its_time_only(world: World) -> None:
    world.order()
    await world.reconcile()
    world.later(seconds=QUOTA_WAIT)

    await world.reconcile()

    assert {kind for kind, _ in world.applied()} == {"Deployment", "StatefulSet"}


async def test_the_finalizer_is_there_before_anything_else_and_the_status_says_that_work_has_begun(
    world: World,
) -> None:
    world.order()
    await world.reconcile()

    writes = world.writes(status=True)
    assert writes[0] == Call("apply", naming.KIND, "acme")
    assert writes[1] == Call("apply", naming.KIND, "acme", subresource="status")
    assert writes[2] == Call("apply", "Namespace", NAMESPACE)
    assert world.instance()["metadata"]["finalizers"] == [naming.FINALIZER]


async def test_a_new_namespace_is_not_searched_for_what_cannot_be_in_it(world: World) -> None:
    world.order()
    await world.reconcile()

    assert [call.kind for call in world.kube.calls if call.verb == "list"] == []


async def test_a_steady_instance_costs_no_request(steady: World) -> None:
    for _ in range(3):
        outcome = await steady.reconcile()
        assert steady.kube.calls == []
    assert (outcome.result, outcome.steady) == ("ready", True)


async def test_at_the_resync_only_what_is_not_watched_is_listed(steady: World) -> None:
    await steady.reconcile(resync=True)

    assert steady.kube.writes == []
    assert [call for call in steady.kube.calls if call.verb == "list"] == [Call("list", "Secret", "", NAMESPACE)]


async def test_a_restarted_operator_reads_and_writes_nothing(steady: World) -> None:
    steady.start_operator()
    await steady.reconcile(resync=True)

    assert steady.kube.writes == []
    await steady.reconcile()
    assert steady.kube.calls == []


async def test_an_unknown_name_is_forgotten(world: World) -> None:
    assert (await world.reconcile("nobody")).result == "gone"
    assert world.kube.calls == []


# -- healing ---------------------------------------------------------------------------------------------------------


async def test_drift_of_one_object_leads_to_one_apply(steady: World) -> None:
    steady.kube.put(edited(steady.find("Deployment", "api"), replicas=7))
    steady.watch()

    await steady.reconcile()

    assert steady.applied() == [("Deployment", "api")]
    healed = steady.find("Deployment", "api")
    assert healed is not None
    assert healed["spec"]["replicas"] == 1


async def test_an_object_that_was_deleted_is_made_again(steady: World) -> None:
    steady.kube.remove("Service", "api", namespace=NAMESPACE)
    steady.watch()
    await steady.reconcile()

    assert steady.applied() == [("Service", "api")]


async def test_a_secret_that_was_edited_is_healed_at_the_resync_for_no_watch_tells_of_it(steady: World) -> None:
    secret = steady.find("Secret", "mosquitto")
    assert secret is not None
    steady.kube.put({**secret, "data": dict.fromkeys(secret["data"], "c3BvaWx0")})
    steady.watch()

    await steady.reconcile()
    assert steady.applied() == []
    await steady.reconcile(resync=True)
    assert steady.applied() == [("Secret", "mosquitto")]


async def test_credentials_that_were_deleted_are_written_again_from_memory_at_the_resync(steady: World) -> None:
    before = steady.find("Secret", naming.CREDENTIALS_SECRET)
    steady.kube.remove("Secret", naming.CREDENTIALS_SECRET, namespace=NAMESPACE)

    await steady.reconcile(resync=True)

    after = steady.find("Secret", naming.CREDENTIALS_SECRET)
    assert before is not None
    assert after is not None
    assert after["data"] == before["data"]


async def test_a_namespace_saved_from_deletion_gets_no_owner_that_is_gone(steady: World) -> None:
    """The watch is late: the instance is gone, and somebody has just taken the owner off to keep the data."""
    saved = steady.kube.put(with_metadata(steady.namespace(), ownerReferences=None))
    steady.cache.upsert("acme", saved)
    steady.kube.remove(naming.KIND, "acme")

    with pytest.raises(Conflict, match="is gone"):
        await steady.reconcile()

    assert "ownerReferences" not in with_metadata(steady.namespace())["metadata"]
    assert steady.writes() == []


async def test_what_carries_our_label_and_is_not_wanted_is_deleted_and_what_does_not_stays(steady: World) -> None:
    for name, labels in (("stray", naming.labels("acme", "api")), ("theirs", {})):
        steady.kube.put(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
                "spec": {"ports": []},
            }
        )
    steady.watch()

    await steady.reconcile()

    assert steady.writes() == [Call("delete", "Service", "stray", NAMESPACE)]
    assert steady.find("Service", "theirs") is not None


async def test_what_an_upgrade_of_the_spec_changes_is_applied_and_nothing_else(steady: World) -> None:
    steady.order(hostname="iot.acme.example")
    await steady.reconcile()

    assert steady.applied() == [("Ingress", "web")]
    await steady.until_steady()
    assert (steady.status()["phase"], steady.status()["observedGeneration"]) == ("Ready", 2)


async def test_a_namespace_that_somebody_deleted_is_built_again_once_it_is_gone(steady: World) -> None:
    live = steady.namespace()
    assert live is not None
    await steady.kube.delete("Namespace", NAMESPACE, uid=live["metadata"]["uid"])
    steady.watch()
    await steady.reconcile()
    assert steady.writes() == []
    assert steady.status()["phase"] != "Ready"

    steady.kube.remove("Namespace", NAMESPACE)
    steady.watch()
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"
    assert steady.find("Secret", naming.CREDENTIALS_SECRET) is not None
    secrets = [item for item in steady.kube.all("Secret") if item["metadata"].get("namespace") == NAMESPACE]
    assert len(secrets) > 1


# -- errors ----------------------------------------------------------------------------------------------------------


async def test_an_object_that_is_refused_is_reported_and_all_others_of_its_wave_are_applied(world: World) -> None:
    world.order()
    world.kube.fail("apply", AdmissionRefused("PATCH api: 422 spec.x", status=422), kind="Service", name="api")

    outcome = await world.reconcile()

    assert outcome.result == "failed"
    assert world.find("Service", "api") is None
    assert world.find("Service", "postgres") is not None
    assert (world.status()["phase"], world.condition("Stalled")) == ("Failed", ("True", "Refused"))
    assert "422 spec.x" in world.status()["message"]


async def test_a_failed_try_is_repeated_at_its_time_and_counted_across_restarts(world: World) -> None:
    world.order()
    error = ClusterError("PATCH api: 500 failed calling webhook", status=500)
    for attempt, delay in ((1, 60.0), (2, 120.0), (3, None)):
        world.kube.fail("apply", error, kind="Service", name="api")
        outcome = await world.reconcile()
        assert (outcome.result, outcome.requeue_after) == ("failed", delay)
        assert world.status()["attempts"] == attempt
        world.start_operator()
        outcome = await world.reconcile(resync=delay is not None)
        assert (outcome.result, outcome.requeue_after, world.kube.writes) == ("postponed", delay, [])
        world.later(seconds=delay or 0)
    assert world.condition("Stalled") == ("True", "ReconcileFailed")

    await world.reconcile(resync=True)
    assert (world.status()["phase"], world.status()["attempts"]) == ("Provisioning", 0)


async def test_an_error_of_our_own_is_reported_without_its_content(world: World) -> None:
    world.order()
    world.kube.fail("apply", KeyError("password=hunter2"), kind="Service", name="api")

    assert (await world.reconcile()).result == "failed"
    assert "an unexpected KeyError" in world.status()["message"]
    assert "hunter2" not in str(world.status())


async def test_while_the_api_server_is_away_nothing_is_counted_and_everything_is_compared_later(
    steady: World,
) -> None:
    steady.kube.put(edited(steady.find("Deployment", "api"), replicas=7))
    steady.watch()
    steady.kube.fail("apply", ClusterUnreachable("away"), kind="Deployment")

    with pytest.raises(ClusterUnreachable):
        await steady.reconcile()
    assert steady.status()["attempts"] == 0
    assert not steady.cache.is_compared("acme")
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"


async def test_a_conflict_has_the_resource_read_again_and_is_raised(steady: World) -> None:
    steady.kube.put(edited(steady.find("Deployment", "api"), replicas=7))
    steady.watch()
    newer = steady.kube.put(with_metadata(steady.instance(), annotations={"a": "b"}))
    steady.kube.fail("apply", Conflict("409", status=409), kind="Deployment")
    steady.kube.calls.clear()

    with pytest.raises(Conflict):
        await steady.reconciler.reconcile("acme", resync=False)

    assert steady.kube.calls[-1] == Call("get", naming.KIND, "acme")
    known = steady.cache.instance("acme")
    assert known is not None
    assert known["metadata"]["resourceVersion"] == newer["metadata"]["resourceVersion"]
    assert not steady.cache.is_compared("acme")


async def test_an_instance_that_has_gone_meanwhile_is_forgotten_and_its_status_not_written(world: World) -> None:
    world.order()
    world.kube.remove(naming.KIND, "acme")

    with pytest.raises(Conflict):
        await world.reconciler.reconcile("acme", resync=False)

    assert world.cache.instance("acme") is None
    assert (await world.reconcile()).result == "gone"
    assert world.namespace() is None


async def test_a_successor_is_not_mistaken_for_its_predecessor(steady: World) -> None:
    """Deleted with its namespace and ordered again; only the end of the namespace has been told yet."""
    steady.kube.remove(naming.KIND, "acme")
    steady.kube.remove("Namespace", NAMESPACE)
    successor = steady.kube.put(with_metadata(make_resource(mqtt=NODE_PORT), uid="uid-of-a-successor"))
    steady.cache.forget_objects("acme")

    with pytest.raises(Conflict):
        await steady.reconciler.reconcile("acme", resync=False)
    assert steady.cache.uid_of("acme") == successor["metadata"]["uid"]
    await steady.until_steady()
    built = steady.namespace()
    assert built is not None
    assert [owner["uid"] for owner in built["metadata"]["ownerReferences"]] == ["uid-of-a-successor"]
    assert steady.status()["phase"] == "Ready"


async def test_a_status_is_written_only_when_it_changed(steady: World) -> None:
    steady.later(hours=1)
    await steady.reconcile(resync=True)

    assert steady.writes(status=True) == []


async def test_an_unreadable_spec_is_reported_and_touches_nothing(steady: World) -> None:
    steady.order(plan="gold")

    assert (await steady.reconcile()).result == "rejected"
    assert steady.writes() == []
    assert (steady.status()["phase"], steady.condition("Stalled")) == ("Failed", ("True", "InvalidSpec"))
    assert steady.find("Deployment", "api") is not None
    steady.order()
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"
