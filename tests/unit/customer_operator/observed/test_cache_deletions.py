"""What goes from the object cache: deletions by uid, lists that do not show it, a namespace with all that is in it."""

import tracemalloc

import pytest

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed.cache import Key, ObjectCache
from tests.support.observed import KEY, NAME, NAMESPACE_KEY, desired, live, live_namespace


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache()


@pytest.fixture
def stocked(cache: ObjectCache) -> ObjectCache:
    """Return a cache with a namespace, two Services and a Secret, which no watch tells of."""
    cache.upsert(NAME, live_namespace(1))
    cache.record(NAME, live(2), verified=True)
    cache.record(NAME, live(3, desired(name="mqtt"), uid="m"), verified=True)
    cache.record(NAME, {**live(4, uid="s"), "kind": "Secret"}, verified=True)
    cache.mark_compared(NAME)
    return cache


# -- events ----------------------------------------------------------------------------------------------------------


def test_a_deletion_takes_the_object_and_is_no_news_the_second_time(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=True)

    assert cache.delete(NAME, live(2))
    assert cache.object(NAME, KEY) is None
    assert not cache.delete(NAME, live(2))


def test_the_deletion_of_a_predecessor_that_comes_late_leaves_its_successor(cache: ObjectCache) -> None:
    """Deleted and created again: our own answer tells of the new object before the watch tells of the old one's end."""
    cache.record(NAME, live(1), verified=True)
    cache.record(NAME, live(9, uid="new"), verified=True)

    assert not cache.delete(NAME, live(8))
    known = cache.object(NAME, KEY)
    assert known is not None
    assert known.uid == "new"
    assert not cache.needs_apply(NAME, desired())


def test_a_deletion_that_is_told_by_version_alone_would_take_the_successor(cache: ObjectCache) -> None:
    """A late event of a finalizer's removal may carry a version above that of the answer."""
    cache.record(NAME, live(9, uid="new"), verified=True)

    assert not cache.delete(NAME, live(10, uid="u"))
    assert cache.object(NAME, KEY) is not None


def test_a_label_that_was_taken_away_and_put_back_leaves_the_object(cache: ObjectCache) -> None:
    """A watch with a selector tells of a lost label as of a deletion; our own apply may have healed it already."""
    cache.record(NAME, live(9), verified=True)

    assert not cache.delete(NAME, live(8))
    assert cache.object(NAME, KEY) is not None


def test_what_was_right_of_a_predecessor_says_nothing_of_its_successor(cache: ObjectCache) -> None:
    cache.record(NAME, live(1, spec={"insisted": True}), verified=True)
    cache.upsert(NAME, live(2, uid="new", spec={"insisted": True}))
    cache.verify(NAME, desired())

    assert cache.needs_apply(NAME, desired())


def test_the_deletion_of_an_unknown_object_is_no_news(cache: ObjectCache) -> None:
    assert not cache.delete(NAME, live(1))


def test_with_its_namespace_everything_of_an_instance_is_gone(stocked: ObjectCache) -> None:
    assert stocked.delete(NAME, live_namespace(9, terminating=True))

    assert stocked.objects(NAME) == {}
    assert not stocked.is_compared(NAME)


def test_a_namespace_that_has_only_lost_its_label_still_has_everything_in_it(stocked: ObjectCache) -> None:
    assert stocked.delete(NAME, live_namespace(9, labels=False))

    assert set(stocked.objects(NAME)) == {KEY, Key("Service", "mqtt"), Key("Secret", "api")}
    assert stocked.object(NAME, NAMESPACE_KEY) is None
    assert stocked.is_compared(NAME)


def test_the_end_of_a_former_namespace_leaves_the_new_one_and_what_is_in_it(stocked: ObjectCache) -> None:
    stocked.upsert(NAME, live_namespace(10, uid="new"))

    assert not stocked.delete(NAME, live_namespace(9, terminating=True))
    assert len(stocked.objects(NAME)) == 4


def test_with_any_other_object_only_that_one_is_gone(stocked: ObjectCache) -> None:
    assert stocked.delete(NAME, live(9))

    assert set(stocked.objects(NAME)) == {NAMESPACE_KEY, Key("Service", "mqtt"), Key("Secret", "api")}
    assert stocked.is_compared(NAME)


# -- lists -----------------------------------------------------------------------------------------------------------


def test_a_list_ends_ghosts_of_its_kind_and_keeps_what_is_newer_than_it(stocked: ObjectCache) -> None:
    stocked.record("bravo", live(20, uid="b"), verified=True)
    stocked.record("charlie", live(3, uid="c"), verified=True)

    assert sorted(stocked.prune("Service", uids={"m"}, version=10)) == [NAME, "charlie"]

    assert set(stocked.objects(NAME)) == {NAMESPACE_KEY, Key("Service", "mqtt"), Key("Secret", "api")}
    assert set(stocked.objects("bravo")) == {KEY}
    assert stocked.objects("charlie") == {}


def test_a_list_that_holds_everything_changes_nothing(stocked: ObjectCache) -> None:
    assert stocked.prune("Service", uids={"u", "m"}, version=10) == []
    assert len(stocked.objects(NAME)) == 4


def test_a_namespace_that_went_unseen_takes_along_what_no_list_tells_of(stocked: ObjectCache) -> None:
    """The watch was away while it was deleted; the Secrets in it are gone, whatever is remembered of them."""
    stocked.record(NAME, live(11, uid="new"), verified=True)
    assert stocked.prune("Namespace", uids=set(), version=10) == [NAME]

    assert set(stocked.objects(NAME)) == {KEY}, "only what was made later exists"
    assert not stocked.is_compared(NAME)


def test_another_namespace_of_the_same_name_is_compared_in_full(stocked: ObjectCache) -> None:
    stocked.upsert(NAME, live_namespace(9, uid="new"))

    assert not stocked.is_compared(NAME)
    stocked.mark_compared(NAME)
    stocked.upsert(NAME, live_namespace(10, uid="new"))
    assert stocked.is_compared(NAME)


def test_a_list_of_one_namespace_forgets_what_it_does_not_show_of_its_kinds(stocked: ObjectCache) -> None:
    stocked.retain(NAME, ("Service",), {KEY})
    assert set(stocked.objects(NAME)) == {NAMESPACE_KEY, KEY, Key("Secret", "api")}

    stocked.retain(NAME, ("Secret",), ())
    assert set(stocked.objects(NAME)) == {NAMESPACE_KEY, KEY}


def test_an_answer_that_there_is_no_such_object_removes_it(cache: ObjectCache) -> None:
    cache.record(NAME, live(1), verified=True)
    cache.remove(NAME, KEY)
    cache.remove("nobody", KEY)

    assert cache.object(NAME, KEY) is None
    assert not cache.objects(NAME)


# -- memory ----------------------------------------------------------------------------------------------------------


def verified(name: str, number: int) -> Manifest:
    manifest = desired(name=f"service-{number}")
    return live(number + 1, manifest, uid=f"00000000-0000-4000-8000-{name:0>4}{number:08}")


def test_an_object_that_was_found_right_takes_less_than_a_kibibyte() -> None:
    cache = ObjectCache()
    tracemalloc.start()
    try:
        for instance in range(400):
            for number in range(25):
                cache.record(str(instance), verified(str(instance), number), verified=True)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sum(len(cache.objects(str(instance))) for instance in range(400)) == 10_000
    assert taken / 10_000 < 1024, naming.KIND
