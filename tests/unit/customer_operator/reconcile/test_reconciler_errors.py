"""What goes wrong in a pass: refusals, outages, conflicts, resources that are gone, specs that cannot be read."""

import pytest

from customer_operator import naming
from customer_operator.errors import AdmissionRefused, ClusterError, ClusterUnreachable, Conflict
from tests.support.fake_kube import Call
from tests.support.generate import make_resource
from tests.support.reconciling import NODE_PORT, World, edited, with_metadata

NAMESPACE = "customer-acme"


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
