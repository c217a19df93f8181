"""The object cache: what is remembered of watch events and answers, whatever their order."""

from typing import Any

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import Key, ObjectCache, key_of
from customer_operator.observed.readiness import Readiness
from tests.support.observed import KEY, NAME, desired, live

ISSUER = {"cert-manager.io/cluster-issuer": "letsencrypt"}


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache()


def without_annotation(manifest: Manifest, annotation: str) -> Manifest:
    annotations = {key: value for key, value in manifest["metadata"]["annotations"].items() if key != annotation}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def in_sync(cache: ObjectCache, manifest: Manifest | None = None) -> bool:
    """Look as a pass does: compare what has changed, then ask."""
    manifest = manifest or desired()
    cache.verify(NAME, manifest)
    return not cache.needs_apply(NAME, manifest)


# -- what must be applied --------------------------------------------------------------------------------------------


def test_an_unknown_object_must_be_applied(cache: ObjectCache) -> None:
    assert not in_sync(cache)


def test_an_object_that_only_a_watch_has_shown_must_be_compared_before_it_counts(cache: ObjectCache) -> None:
    cache.upsert(NAME, live(1))

    assert cache.needs_apply(NAME, desired())
    assert in_sync(cache)


def test_an_object_that_was_just_applied_need_not_be_applied(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=True)

    assert not cache.needs_apply(NAME, desired())


def test_an_object_whose_manifest_has_changed_must_be_applied(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=True)

    assert not in_sync(cache, desired(port=81))


def test_an_object_that_somebody_edited_must_be_applied_until_it_is_as_before(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=True)

    cache.upsert(NAME, live(2, spec={"ports": []}))
    assert not in_sync(cache)
    cache.upsert(NAME, live(3))
    assert not cache.needs_apply(NAME, desired())


def test_an_object_whose_status_alone_changed_need_not_be_applied(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=True)
    cache.upsert(NAME, live(2, status={"loadBalancer": {}}))

    assert not cache.needs_apply(NAME, desired())


def test_an_object_that_was_deleted_must_be_applied(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=True)
    cache.delete(NAME, live(2))

    assert not in_sync(cache)


@pytest.mark.parametrize(
    ("event", "right"),
    [
        (live(2, spec={"ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "clusterIP": "10.0.0.1"}), True),
        (live(2, spec={"ports": [{"name": "http", "port": 81}]}), False),
        (live(2, spec={"ports": [{"name": "http", "port": 80}, {"name": "more", "port": 81}]}), False),
        (without_annotation(live(2), naming.APPLIED_HASH_ANNOTATION), False),
        (live(2, desired(port=81)), False),
    ],
    ids=["defaults beside ours", "another port", "one port more", "our hash removed", "another manifest"],
)
def test_a_change_is_compared_in_full_with_what_is_desired(cache: ObjectCache, event: Manifest, *, right: bool) -> None:
    cache.record(NAME, live(1), verified=True)
    cache.upsert(NAME, event)

    assert in_sync(cache) is right


def test_an_annotation_that_somebody_removed_is_missed(cache: ObjectCache) -> None:
    wanted = desired(annotations=ISSUER)
    cache.record(NAME, live(1, wanted), verified=True)
    (issuer,) = ISSUER

    cache.upsert(NAME, without_annotation(live(2, wanted), issuer))

    assert not in_sync(cache, wanted)


def test_what_the_cluster_insists_on_having_is_right_once_we_have_applied_it(cache: ObjectCache) -> None:
    """A mutating webhook may write a value of its own over ours: applying again would change nothing, for ever."""
    insisted = {"ports": [{"name": "http", "port": 8080}]}
    cache.record(NAME, live(1, spec=insisted), verified=True)
    assert in_sync(cache)

    cache.upsert(NAME, live(2, spec=insisted, status={"loadBalancer": {}}))
    assert in_sync(cache)
    cache.upsert(NAME, live(3, spec={"ports": [{"name": "http", "port": 9999}]}))
    assert not in_sync(cache)


def test_an_object_that_was_found_right_is_not_kept_whole(cache: ObjectCache) -> None:
    cache.upsert(NAME, live(1))
    assert_packed(cache, packed=True)

    cache.verify(NAME, desired())
    assert_packed(cache, packed=False)
    cache.upsert(NAME, live(2, spec={"ports": []}))
    assert_packed(cache, packed=True)
    cache.verify(NAME, desired())
    assert_packed(cache, packed=True)
    cache.upsert(NAME, live(3))
    assert_packed(cache, packed=False)


def assert_packed(cache: ObjectCache, *, packed: bool) -> None:
    known = cache.object(NAME, KEY)
    assert known is not None
    assert (known.live is not None) is packed


# -- the order of events and answers ---------------------------------------------------------------------------------


def test_an_answer_that_the_watch_has_overtaken_does_not_hide_the_newer_edit(cache: ObjectCache) -> None:
    cache.upsert(NAME, live(6, spec={"ports": []}))
    cache.record(NAME, live(5), verified=True)

    assert not in_sync(cache)


def test_an_answer_that_the_watch_has_overtaken_by_a_status_still_counts_as_applied(cache: ObjectCache) -> None:
    cache.upsert(NAME, live(6, status={"loadBalancer": {}}))
    cache.record(NAME, live(5), verified=True)

    assert not cache.needs_apply(NAME, desired())
    assert_packed(cache, packed=False)


def test_an_edit_that_the_watch_showed_before_our_answer_came_is_right_when_it_is_undone(cache: ObjectCache) -> None:
    cache.upsert(NAME, live(6, spec={"ports": []}))
    cache.record(NAME, live(5), verified=True)
    cache.upsert(NAME, live(7))

    assert not cache.needs_apply(NAME, desired())


def test_an_answer_that_nobody_has_verified_is_compared_like_an_event(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=False)

    assert cache.needs_apply(NAME, desired())
    assert in_sync(cache)


def test_a_late_event_of_our_own_apply_changes_nothing(cache: ObjectCache) -> None:
    cache.record(NAME, live(5), verified=True)

    assert not cache.upsert(NAME, live(5))
    assert not cache.upsert(NAME, live(4, spec={"ports": []}))
    assert not cache.needs_apply(NAME, desired())


@pytest.mark.parametrize(
    ("event", "news"),
    [
        (live(2), False),
        (live(2, status={"loadBalancer": {}}), False),
        (live(2, spec={"ports": []}), True),
        (live(2, desired(port=81)), True),
        (live(2, spec={"ports": [{"name": "http", "port": 80, "nodePort": 30001}]}), True),
        (live(2, uid="another"), True),
    ],
    ids=["nothing but the version", "status", "spec", "applied by another replica", "node port", "another object"],
)
def test_an_event_is_news_only_when_a_reconcile_would_see_a_difference(
    cache: ObjectCache, event: Manifest, *, news: bool
) -> None:
    cache.record(NAME, live(1), verified=True)

    assert cache.upsert(NAME, event) is news


def test_an_object_that_is_still_wrong_is_news_only_once(cache: ObjectCache) -> None:
    assert cache.upsert(NAME, live(1, spec={"ports": []}))
    assert not cache.upsert(NAME, live(2, spec={"ports": []}, status={"loadBalancer": {}}))


# -- what is read of objects -----------------------------------------------------------------------------------------


def test_a_workload_that_becomes_ready_is_news(cache: ObjectCache) -> None:
    deployment: dict[str, Any] = {
        "kind": "Deployment",
        "metadata": {"name": "api", "uid": "d", "generation": 1, "resourceVersion": "1"},
        "spec": {"replicas": 1},
    }
    cache.upsert(NAME, deployment)
    key = key_of(deployment)
    before = cache.object(NAME, key)
    ready = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    deployment = {**deployment, "metadata": {**deployment["metadata"], "resourceVersion": "2"}, "status": ready}

    assert cache.upsert(NAME, deployment)
    after = cache.object(NAME, key)
    assert before is not None
    assert after is not None
    assert (before.readiness.ready, after.readiness) == (False, Readiness(ready=True))


def test_the_limits_of_a_quota_are_remembered(cache: ObjectCache) -> None:
    quota = {**live(1), "kind": "ResourceQuota", "spec": {"hard": {"pods": "10"}}, "status": {"hard": {"pods": "10"}}}
    cache.upsert(NAME, quota)

    known = cache.object(NAME, Key("ResourceQuota", "api"))
    assert known is not None
    assert (dict(known.hard), known.enforced) == ({"pods": "10"}, True)


def test_instances_do_not_share_objects(cache: ObjectCache) -> None:
    cache.record("bravo", live(1), verified=True)

    assert cache.needs_apply(NAME, desired())
    assert not cache.objects(NAME)


def test_a_full_comparison_is_asked_for_by_name_or_of_all(cache: ObjectCache) -> None:
    for name in ("a", "b", "c"):
        cache.mark_compared(name)

    cache.invalidate("a")
    assert [cache.is_compared(name) for name in "abc"] == [False, True, True]
    cache.invalidate_all()
    assert not any(cache.is_compared(name) for name in "abc")


def test_the_hash_of_a_manifest_is_of_all_of_it() -> None:
    """What `verify` relies on: equal hashes, equal manifests."""
    assert drift.applied_hash(desired()) != drift.applied_hash(desired(annotations=ISSUER))


@pytest.mark.parametrize("spec", [{}, {"scopes": ["BestEffort"]}, {"hard": None}])
def test_a_quota_without_amounts_is_taken_in_like_any_other_object(spec: Manifest) -> None:
    """The API server admits it, from whoever may write into the namespace."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": live(1)["metadata"], "spec": spec}
    cache = ObjectCache()

    assert cache.upsert(NAME, quota)

    known = cache.object(NAME, Key("ResourceQuota", "api"))
    assert known is not None
    assert known.hard == ()
    assert known.enforced
