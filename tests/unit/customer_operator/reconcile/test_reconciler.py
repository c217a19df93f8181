"""One pass after another over an instance: built, left alone, healed, reported."""

from customer_operator import naming
from customer_operator.kube.kinds import KINDS
from customer_operator.model.timestamps import parse_time
from tests.support.fake_kube import Call
from tests.support.reconciling import QUOTA_WAIT, World, edited

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


async def test_the_second_status_of_a_pass_goes_on_from_the_first(world: World) -> None:
    world.order()
    began = world.now
    world.kube.before = lambda _: world.later(seconds=1)
    await world.reconcile()

    since = parse_time(world.status()["stages"][0]["startedAt"])
    assert since is not None
    assert (since - began).total_seconds() < 5, "when the work began, not when the pass ended"


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


async def test_a_secret_that_was_edited_is_healed_when_the_spec_changes(steady: World) -> None:
    secret = steady.find("Secret", "mosquitto")
    assert secret is not None
    steady.kube.put({**secret, "data": dict.fromkeys(secret["data"], "c3BvaWx0")})
    steady.order(hostname="iot.acme.example")
    await steady.reconcile()

    assert set(steady.applied()) == {("Secret", "mosquitto"), ("Ingress", "web")}


async def test_a_secret_that_was_edited_is_healed_once_when_another_try_is_asked_for(steady: World) -> None:
    secret = steady.find("Secret", "mosquitto")
    assert secret is not None
    steady.kube.put({**secret, "data": dict.fromkeys(secret["data"], "c3BvaWx0")})
    live = steady.instance()
    annotations = {naming.RETRY_AT_ANNOTATION: steady.now.isoformat()}
    steady.kube.put({**live, "metadata": {**live["metadata"], "annotations": annotations}})
    steady.watch()

    await steady.reconcile()
    assert steady.applied() == [("Secret", "mosquitto")]
    await steady.reconcile()
    assert steady.kube.calls == []


async def test_credentials_that_were_deleted_are_written_again_from_memory_at_the_resync(steady: World) -> None:
    before = steady.find("Secret", naming.CREDENTIALS_SECRET)
    steady.kube.remove("Secret", naming.CREDENTIALS_SECRET, namespace=NAMESPACE)

    await steady.reconcile(resync=True)

    after = steady.find("Secret", naming.CREDENTIALS_SECRET)
    assert before is not None
    assert after is not None
    assert after["data"] == before["data"]


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
    steady.kube.remove("Service", "api", namespace=NAMESPACE)
    steady.watch()
    await steady.reconcile(resync=True)
    assert steady.writes() == [], "nothing can be made in it any more"
    assert (steady.status()["phase"], steady.status()["attempts"]) == ("Degraded", 0)

    steady.kube.remove("Namespace", NAMESPACE)
    steady.watch()
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"
    assert steady.find("Secret", naming.CREDENTIALS_SECRET) is not None
    secrets = [item for item in steady.kube.all("Secret") if item["metadata"].get("namespace") == NAMESPACE]
    assert len(secrets) > 1
