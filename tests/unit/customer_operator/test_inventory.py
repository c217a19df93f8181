"""The mirror of the cluster: what is remembered of watch events and answers, whatever their order."""

from typing import Any

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import Key, ObjectCache, key_of
from customer_operator.observed.readiness import Readiness

NAME = "acme"
KEY = Key("Service", "api")


def desired(port: int = 80, annotations: dict[str, str] | None = None) -> Manifest:
    return drift.with_hash(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "api", "labels": naming.labels(NAME, "api"), "annotations": annotations or {}},
            "spec": {"ports": [{"name": "http", "port": port}]},
        }
    )


def live(version: int, manifest: Manifest | None = None, **fields: Any) -> Manifest:
    manifest = manifest or desired()
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(version), "uid": "u"}, **fields}


def instance(version: int, *, uid: str = "u", **fields: Any) -> Manifest:
    metadata = {"name": NAME, "uid": uid, "resourceVersion": str(version), "managedFields": ["much"]}
    return {"metadata": metadata, **fields}


@pytest.fixture
def inventory() -> ObjectCache:
    return ObjectCache()


# -- instances -------------------------------------------------------------------------------------------------------


def test_an_instance_is_remembered_without_its_managed_fields(inventory: ObjectCache) -> None:
    assert inventory.store_instance(instance(1, spec={"plan": "trial"}))

    body = inventory.instance(NAME)
    assert body is not None
    assert body["spec"] == {"plan": "trial"}
    assert "managedFields" not in body["metadata"]
    assert tuple(inventory.names()) == (NAME,)


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (instance(5), instance(6), True),
        (instance(5), instance(5), False),
        (instance(9), instance(10), True),
        (instance(10), instance(9), False),
        (instance(10), instance(12, uid="new"), True),
    ],
)
def test_an_older_state_of_an_instance_never_replaces_a_newer_one(
    inventory: ObjectCache, first: Manifest, second: Manifest, *, taken: bool
) -> None:
    inventory.store_instance(first)

    assert inventory.store_instance(second) is taken
    known = inventory.instance(NAME)
    assert known is not None
    assert known["metadata"]["resourceVersion"] == (second if taken else first)["metadata"]["resourceVersion"]


def test_an_instance_that_is_gone_takes_its_children_with_it(inventory: ObjectCache) -> None:
    inventory.store_instance(instance(1))
    inventory.observe(NAME, live(1))
    inventory.mark_listed(NAME)

    inventory.forget_instance(NAME)

    assert inventory.instance(NAME) is None
    assert not inventory.children(NAME)
    assert not inventory.is_listed(NAME)


def test_forgetting_an_unknown_instance_does_no_harm(inventory: ObjectCache) -> None:
    inventory.forget_instance("nobody")


# -- children: what must be applied ----------------------------------------------------------------------------------


def test_an_unknown_child_must_be_applied(inventory: ObjectCache) -> None:
    assert inventory.needs_apply(NAME, desired())


def test_a_child_that_only_a_watch_has_shown_must_be_applied(inventory: ObjectCache) -> None:
    inventory.observe(NAME, live(1))

    assert inventory.needs_apply(NAME, desired())


def test_a_child_that_was_just_applied_need_not_be_applied(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(1), verified=True)

    assert not inventory.needs_apply(NAME, desired())


def test_a_child_whose_manifest_has_changed_must_be_applied(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(1), verified=True)

    assert inventory.needs_apply(NAME, desired(port=81))


def test_a_child_that_somebody_edited_must_be_applied_until_it_is_as_before(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(1), verified=True)

    inventory.observe(NAME, live(2, spec={"ports": []}))
    assert inventory.needs_apply(NAME, desired())
    inventory.observe(NAME, live(3))
    assert not inventory.needs_apply(NAME, desired())


def test_a_child_whose_status_alone_changed_need_not_be_applied(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(1), verified=True)
    inventory.observe(NAME, live(2, status={"loadBalancer": {}}))

    assert not inventory.needs_apply(NAME, desired())


def test_a_child_that_vanished_must_be_applied(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(1), verified=True)
    inventory.vanish(NAME, live(2))

    assert inventory.needs_apply(NAME, desired())


def test_a_child_that_a_full_comparison_found_wrong_must_be_applied_although_its_fingerprint_stands(
    inventory: ObjectCache,
) -> None:
    """An annotation of somebody else's domain is no part of the content_hash, but it is desired."""
    wanted = desired(annotations={"cert-manager.io/cluster-issuer": "letsencrypt"})
    inventory.record(NAME, live(1, wanted), verified=True)
    stripped = live(2, wanted)
    stripped["metadata"]["annotations"] = {
        naming.APPLIED_HASH_ANNOTATION: stripped["metadata"]["annotations"][naming.APPLIED_HASH_ANNOTATION]
    }

    inventory.record(NAME, stripped, verified=drift.in_sync(stripped, wanted))

    assert inventory.needs_apply(NAME, wanted)


# -- children: the order of events and answers -----------------------------------------------------------------------


def test_an_answer_that_the_watch_has_overtaken_does_not_hide_the_newer_edit(inventory: ObjectCache) -> None:
    inventory.observe(NAME, live(6, spec={"ports": []}))
    inventory.record(NAME, live(5), verified=True)

    assert inventory.needs_apply(NAME, desired())


def test_an_answer_that_the_watch_has_overtaken_by_a_status_still_counts_as_applied(inventory: ObjectCache) -> None:
    inventory.observe(NAME, live(6, status={"loadBalancer": {}}))
    inventory.record(NAME, live(5), verified=True)

    assert not inventory.needs_apply(NAME, desired())


def test_a_late_event_of_our_own_apply_changes_nothing(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(5), verified=True)

    assert not inventory.observe(NAME, live(5))
    assert not inventory.observe(NAME, live(4, spec={"ports": []}))
    assert not inventory.needs_apply(NAME, desired())


def test_the_deletion_of_a_predecessor_does_not_hide_its_successor(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(9), verified=True)

    assert not inventory.vanish(NAME, live(8))
    assert inventory.child(NAME, KEY) is not None


def test_the_deletion_of_an_unknown_child_is_no_news(inventory: ObjectCache) -> None:
    assert not inventory.vanish(NAME, live(1))


@pytest.mark.parametrize(
    ("event", "news"),
    [
        (live(2), False),
        (live(2, status={"loadBalancer": {}}), False),
        (live(2, spec={"ports": []}), True),
        (live(2, desired(port=81)), True),
        (live(2, spec={"ports": [{"name": "http", "port": 80, "nodePort": 30001}]}), True),
    ],
    ids=["nothing but the version", "status", "spec", "applied by another replica", "node port"],
)
def test_an_event_is_news_only_when_a_reconcile_would_see_a_difference(
    inventory: ObjectCache, event: Manifest, *, news: bool
) -> None:
    inventory.record(NAME, live(1), verified=True)

    assert inventory.observe(NAME, event) is news


def test_a_workload_that_becomes_ready_is_news(inventory: ObjectCache) -> None:
    deployment: Manifest = {
        "kind": "Deployment",
        "metadata": {"name": "api", "labels": naming.labels(NAME, "api"), "generation": 1, "resourceVersion": "1"},
        "spec": {"replicas": 1},
    }
    inventory.observe(NAME, deployment)
    key = key_of(deployment)
    before = inventory.child(NAME, key)
    ready = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    deployment = {**deployment, "metadata": {**deployment["metadata"], "resourceVersion": "2"}, "status": ready}

    assert inventory.observe(NAME, deployment)
    after = inventory.child(NAME, key)
    assert before is not None
    assert after is not None
    assert (before.readiness.ready, after.readiness) == (False, Readiness(ready=True))
    assert after.component == "api"


def test_a_namespace_that_is_gone_has_taken_everything_with_it(inventory: ObjectCache) -> None:
    namespace = {**live(1), "kind": "Namespace"}
    for each in (live(1), namespace):
        inventory.record(NAME, each, verified=True)
    inventory.mark_listed(NAME)

    assert inventory.vanish(NAME, {**namespace, "metadata": {**namespace["metadata"], "resourceVersion": "2"}})

    assert not inventory.children(NAME)
    assert not inventory.is_listed(NAME)


def test_the_limits_of_a_quota_are_remembered(inventory: ObjectCache) -> None:
    quota = {**live(1), "kind": "ResourceQuota", "spec": {"hard": {"pods": "10"}}, "status": {"hard": {"pods": "10"}}}
    inventory.observe(NAME, quota)

    known = inventory.child(NAME, Key("ResourceQuota", "api"))
    assert known is not None
    assert (dict(known.hard), known.enforced) == ({"pods": "10"}, True)


# -- full listings ---------------------------------------------------------------------------------------------------


def test_a_full_listing_forgets_what_it_does_not_show(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(1), verified=True)
    inventory.record(NAME, {**live(1), "kind": "Secret"}, verified=True)

    inventory.retain(NAME, {KEY})

    assert set(inventory.children(NAME)) == {KEY}


def test_an_answer_that_there_is_no_such_child_removes_it(inventory: ObjectCache) -> None:
    inventory.record(NAME, live(1), verified=True)
    inventory.remove(NAME, KEY)
    inventory.remove("nobody", KEY)

    assert inventory.child(NAME, KEY) is None


def test_a_listing_counts_until_it_expires(inventory: ObjectCache) -> None:
    for name in ("a", "b", "c"):
        inventory.mark_listed(name)

    inventory.expire("a")
    assert [inventory.is_listed(name) for name in "abc"] == [False, True, True]
    inventory.expire_all()
    assert not any(inventory.is_listed(name) for name in "abc")


def test_instances_do_not_share_children(inventory: ObjectCache) -> None:
    inventory.record("a", live(1), verified=True)

    assert inventory.needs_apply("b", desired())
    assert not inventory.children("b")
