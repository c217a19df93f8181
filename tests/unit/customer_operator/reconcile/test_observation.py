"""From the cache to the observed state."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from customer_operator import naming
from customer_operator.components import stack
from customer_operator.components.context import Context
from customer_operator.licensing.entitlement import NO_LICENSE, LicenseStatus, evaluate
from customer_operator.licensing.keys import KeySet
from customer_operator.model.instance import CustomerInstance, Plan
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import CachedObject, Key, ObjectCache
from customer_operator.observed.readiness import READY, Readiness
from customer_operator.observed.state import ComponentState, Failure, ObservedState
from customer_operator.reconcile.observation import Pass, observe, route
from tests.support.generate import make_context, make_instance, make_platform
from tests.support.observed import live_namespace
from tests.support.statuses import NOW

CLOSED = Readiness(ready=False, message="the front door has none")
EXTERNAL = {"exposure": "External", "external": {"host": "broker.example.net"}}
NODE_PORT = {"exposure": "NodePort"}
CONTEXT = make_context(make_instance(mqtt=NODE_PORT))
DECISION = replace(
    evaluate(CONTEXT.instance, token=None, keys=KeySet(None), issuer="x", grace=NOW - NOW, now=NOW),
    plan=Plan.ENTERPRISE,
)


def desired(context: Context = CONTEXT) -> list[Manifest]:
    return [drift.with_hash(item) for item in stack.objects(context)]


def objects(manifests: list[Manifest], *, without: str = "", **metadata: Any) -> Mapping[Key, CachedObject]:
    """Return what is known when these have been applied, but those of one name, and the namespace is there."""
    cache = ObjectCache()
    cache.upsert("acme", live_namespace(1, **metadata))
    for item in manifests:
        if item["metadata"]["name"] != without:
            version = {"uid": item["metadata"]["name"], "resourceVersion": "2", "generation": 1}
            cache.record("acme", {**item, "metadata": {**item["metadata"], **version}}, verified=True)
    return cache.objects("acme")


def seen(
    done: Pass,
    known: Mapping[Key, CachedObject] | None = None,
    *,
    instance: CustomerInstance = CONTEXT.instance,
    plan_before: str | None = None,
) -> ObservedState:
    platform = make_platform()
    return observe(
        instance,
        done,
        objects=known or {},
        platform=platform,
        plan_before=plan_before,
        typical_seconds=180.0,
        front_door=CLOSED,
    )


def component(observed: ObservedState, name: str) -> ComponentState:
    return next(item for item in observed.components if item.name == name)


@pytest.mark.parametrize(
    ("done", "plan_before", "plan"),
    [
        (Pass(), None, "starter"),
        (Pass(), "professional", "professional"),
        (Pass(decision=DECISION), "professional", "enterprise"),
    ],
)
def test_the_plan_last_reported_holds_until_a_license_has_been_read(
    done: Pass, plan_before: str | None, plan: str
) -> None:
    assert seen(done, plan_before=plan_before).plan == plan


def test_before_anything_exists_there_is_nothing_to_see() -> None:
    observed = seen(Pass())

    assert (observed.namespace, observed.namespace_ready) == ("customer-acme", False)
    assert (observed.desired_count, observed.applied_count, observed.components) == (0, 0, ())
    assert (observed.license, observed.failure, observed.suspended) == (NO_LICENSE, None, None)
    assert observed.typical_seconds == 180.0


def test_what_the_pass_found_out_is_handed_on() -> None:
    failure, license_status = Failure(reason="X", message="x"), LicenseStatus(state="Expired")
    decision = replace(DECISION, suspended="rests")
    observed = seen(Pass(decision=decision, license=license_status, quota_enforced=True, failure=failure))

    assert (observed.failure, observed.license, observed.suspended) == (failure, license_status, "rests")
    assert observed.quota_enforced
    assert seen(Pass(), instance=replace(CONTEXT.instance, paused=True)).paused


def test_only_what_is_as_it_should_be_counts_as_applied() -> None:
    wanted = desired()
    known = dict(objects(wanted, without="quota"))
    service = Key("Service", "api")
    known[service] = replace(known[service], content_hash="edited")
    observed = seen(Pass(desired=wanted), known)

    assert (observed.desired_count, observed.applied_count) == (len(wanted), len(wanted) - 2)
    assert not observed.complete
    assert seen(Pass(desired=wanted), objects(wanted)).complete


@pytest.mark.parametrize(("metadata", "ready"), [({}, True), ({"terminating": True}, False)])
def test_a_namespace_that_is_being_deleted_is_not_ready(metadata: dict[str, Any], *, ready: bool) -> None:
    assert seen(Pass(), objects([], **metadata)).namespace_ready is ready


def test_every_component_with_a_condition_is_seen_and_the_way_to_the_broker() -> None:
    wanted = desired()
    observed = seen(Pass(desired=wanted), objects(wanted))

    assert [item.name for item in observed.components] == [
        *(item.name for item in stack.COMPONENTS if item.condition),
        "route",
    ]
    assert [item.name for item in observed.components if not item.has_pods] == ["route"]
    postgres = component(observed, "postgres").readiness
    assert postgres is not None
    assert postgres.message == "waiting for the stateful set controller"
    assert not observed.healthy


def test_a_workload_that_does_not_exist_has_no_readiness_and_one_that_is_ready_is() -> None:
    wanted = desired()
    known = dict(objects(wanted, without="api"))
    for key in known:
        known[key] = replace(known[key], readiness=READY)
    observed = seen(Pass(desired=wanted), known)

    assert component(observed, "api").readiness is None
    assert component(observed, "postgres").readiness == READY


def test_what_is_no_part_of_an_instance_does_not_keep_it_from_being_healthy() -> None:
    context = make_context(make_instance(mqtt=EXTERNAL))
    wanted = desired(context)
    known = {key: replace(item, readiness=READY) for key, item in objects(wanted).items()}
    observed = seen(Pass(desired=wanted), known, instance=context.instance)

    for name in ("mosquitto", "mqtt-exporter"):
        readiness = component(observed, name).readiness
        assert readiness is not None
        assert (readiness.ready, readiness.message) == (True, "not part of this instance")
    assert observed.healthy
    assert observed.urls["mqtt"] == "mqtts://broker.example.net:8883"


@pytest.mark.parametrize(
    ("mqtt", "platform", "ready", "says"),
    [
        ({"exposure": "SNI"}, {"front_door": True}, False, "the front door has none"),
        ({"exposure": "SNI"}, {"front_door": False}, True, "devices connect by NodePort"),
        ({"exposure": "SNI"}, {"base_domain": "localhost"}, True, "devices connect by NodePort"),
        ({"exposure": "LoadBalancer"}, {}, True, "devices connect by LoadBalancer"),
        (NODE_PORT, {}, True, "devices connect by NodePort"),
        (EXTERNAL, {"base_domain": "localhost"}, True, "spec.mqtt.external"),
    ],
)
def test_devices_have_a_way_to_the_broker_or_the_status_says_that_they_have_none(
    mqtt: dict[str, Any], platform: dict[str, Any], *, ready: bool, says: str
) -> None:
    found = route(
        make_instance(mqtt=mqtt), Pass(decision=DECISION), platform=make_platform(**platform), front_door=CLOSED
    )

    assert found.ready is ready
    assert says in found.message


def test_while_an_instance_is_suspended_nobody_waits_for_its_route() -> None:
    done = Pass(decision=replace(DECISION, suspended="rests"))
    found = route(make_instance(), done, platform=make_platform(), front_door=CLOSED)

    assert found.ready


def test_looking_changes_nothing() -> None:
    wanted = desired()
    known = objects(wanted)
    before = dict(known)

    assert seen(Pass(desired=wanted), known) == seen(Pass(desired=wanted), known)
    assert dict(known) == before
    assert wanted == desired()
    assert naming.namespace_of("acme") == "customer-acme"
