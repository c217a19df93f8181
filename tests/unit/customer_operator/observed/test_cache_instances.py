"""Instances in the object cache: versions, successors of the same name, hostnames."""

import pytest

from customer_operator.model import hostnames
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from tests.support.observed import NAME, instance, live


@pytest.fixture
def cache() -> ObjectCache:
    return ObjectCache()


def version(cache: ObjectCache) -> str | None:
    known = cache.instance(NAME)
    return known["metadata"]["resourceVersion"] if known else None


def test_an_instance_is_remembered_without_its_managed_fields(cache: ObjectCache) -> None:
    assert cache.upsert_instance(instance(1, plan="trial"))

    body = cache.instance(NAME)
    assert body is not None
    assert body["spec"] == {"plan": "trial"}
    assert "managedFields" not in body["metadata"]
    assert tuple(cache.names()) == (NAME,)
    assert cache.uid_of(NAME) == "u"
    assert cache.uid_of("nobody") is None


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (instance(5), instance(6), True),
        (instance(5), instance(5), False),
        (instance(9), instance(10), True),
        (instance(10), instance(9), False),
        (instance(10), instance(12, uid="new"), True),
        (instance(12, uid="new"), instance(10), False),
    ],
)
def test_an_older_state_of_an_instance_never_replaces_a_newer_one(
    cache: ObjectCache, first: Manifest, second: Manifest, *, taken: bool
) -> None:
    cache.upsert_instance(first)

    assert cache.upsert_instance(second) is taken
    assert version(cache) == (second if taken else first)["metadata"]["resourceVersion"]


def test_a_successor_is_compared_in_full_and_a_new_version_is_not(cache: ObjectCache) -> None:
    cache.upsert_instance(instance(1))
    cache.mark_compared(NAME)
    cache.upsert_instance(instance(2))
    assert cache.is_compared(NAME)

    cache.upsert_instance(instance(3, uid="new"))
    assert not cache.is_compared(NAME)


def test_the_deletion_of_a_predecessor_that_comes_late_leaves_its_successor(cache: ObjectCache) -> None:
    cache.upsert_instance(instance(1))
    cache.upsert_instance(instance(9, uid="new"))

    assert not cache.delete_instance(NAME, uid="u")
    assert cache.uid_of(NAME) == "new"
    assert cache.delete_instance(NAME, uid="new")
    assert cache.instance(NAME) is None
    assert not cache.delete_instance(NAME, uid="new")


def test_what_an_instance_leaves_behind_stays_known_for_its_successor(cache: ObjectCache) -> None:
    """With policy Retain the namespace outlives its instance, and no event tells of it again."""
    cache.upsert_instance(instance(1))
    cache.upsert(NAME, live(2))
    cache.mark_compared(NAME)

    cache.delete_instance(NAME, uid="u")

    assert cache.objects(NAME)
    assert not cache.is_compared(NAME)


def test_a_list_ends_ghosts_and_keeps_what_is_newer_than_it(cache: ObjectCache) -> None:
    for name, uid, seen, hostname in (
        ("listed", "1", 3, None),
        ("ghost", "2", 4, "iot.ghost.example"),
        ("younger", "3", 12, "iot.younger.example"),
        ("equal", "4", 10, None),
    ):
        cache.upsert_instance(instance(seen, name=name, uid=uid, hostname=hostname))

    assert cache.prune_instances(uids={"1"}, version=10) == {"ghost": "iot.ghost.example", "equal": None}
    assert set(cache.names()) == {"listed", "younger"}


def test_a_successor_that_a_list_holds_is_no_ghost_and_its_predecessor_is(cache: ObjectCache) -> None:
    cache.upsert_instance(instance(3, uid="old"))

    assert cache.prune_instances(uids={"new"}, version=10) == {NAME: None}
    assert cache.instance(NAME) is None


# -- hostnames -------------------------------------------------------------------------------------------------------


def test_all_who_ask_for_a_hostname_are_known_and_the_oldest_holds_it(cache: ObjectCache) -> None:
    for name, created in (("young", "30"), ("old", "10"), ("middle", "20")):
        cache.upsert_instance(instance(1, name=name, uid=name, created=created, hostname="iot.example"))
    cache.upsert_instance(instance(1, name="other", uid="x", created="01", hostname="other.example"))

    claims = cache.claims("iot.example")

    assert claims.keys() == {"young", "old", "middle"}
    assert cache.hostname("old") == "iot.example"
    assert hostnames.holder(claims.values()) == claims["old"]
    assert cache.claims("nobody.example") == {}


def test_an_older_instance_cannot_take_away_the_hostname_that_a_younger_one_serves(cache: ObjectCache) -> None:
    cache.upsert_instance(instance(1, name="victim", uid="v", created="30", hostname="shop.victim.example"))
    cache.upsert("victim", live(2, kind="Ingress", spec={"rules": [{"host": "shop.victim.example"}]}))
    cache.upsert_instance(instance(3, name="attacker", uid="a", created="10", hostname="shop.victim.example"))

    claims = cache.claims("shop.victim.example")

    assert hostnames.holder(claims.values()) == claims["victim"]


def test_of_two_of_the_same_second_the_choice_is_the_same_for_both(cache: ObjectCache) -> None:
    for name, uid in (("a", "2"), ("b", "1")):
        cache.upsert_instance(instance(1, name=name, uid=uid, hostname="iot.example"))

    claims = cache.claims("iot.example")
    assert hostnames.holder(claims.values()) == hostnames.holder(reversed(claims.values())) == claims["b"]


def test_a_hostname_that_was_given_up_is_claimed_no_more(cache: ObjectCache) -> None:
    cache.upsert_instance(instance(1, hostname="iot.example"))
    cache.upsert_instance(instance(2))

    assert cache.claims("iot.example") == {}
    assert cache.hostname(NAME) is None
    assert cache.hostname("nobody") is None


def test_a_resource_without_a_spec_asks_for_nothing(cache: ObjectCache) -> None:
    body = instance(1)
    del body["spec"]

    assert cache.upsert_instance(body)
    assert cache.hostname(NAME) is None
