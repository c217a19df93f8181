"""Whose the namespace is, pass by pass: owned, kept, taken, without labels, left behind."""

import pytest

from customer_operator import naming
from customer_operator.errors import Conflict
from customer_operator.naming import Manifest
from tests.support.fake_kube import Call
from tests.support.reconciling import World, edited, with_metadata

NAMESPACE = "customer-acme"
OWNER = naming.owner_reference("acme", "uid-of-acme")


def owners(world: World) -> list[Manifest]:
    live = world.namespace()
    assert live is not None
    return list(live["metadata"].get("ownerReferences") or [])


def foreign(**metadata: object) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, **metadata}}


async def test_a_namespace_whose_data_goes_with_the_instance_is_owned_by_it(steady: World) -> None:
    assert owners(steady) == [OWNER]


async def test_a_namespace_whose_data_stays_never_has_an_owner(world: World) -> None:
    seen = []
    world.order(deletionPolicy="Retain")
    for _ in range(3):
        await world.reconcile()
        world.settle()
        seen.append(owners(world))

    assert seen == [[]] * 3
    assert world.status()["phase"] == "Ready"
    await world.reconcile(resync=True)
    assert world.kube.writes == []


async def test_another_policy_takes_the_owner_away_and_gives_it_back(steady: World) -> None:
    steady.order(deletionPolicy="Retain")
    await steady.until_steady()
    assert owners(steady) == []
    assert steady.status()["phase"] == "Ready"

    steady.order(deletionPolicy="Delete")
    await steady.until_steady()
    assert owners(steady) == [OWNER]
    assert steady.status()["phase"] == "Ready"


async def test_an_owner_that_somebody_gives_to_kept_data_is_taken_away(world: World) -> None:
    await world.bring_up(deletionPolicy="Retain")
    world.kube.put(with_metadata(world.namespace(), ownerReferences=[OWNER]))
    world.watch()
    await world.reconcile()

    assert owners(world) == []
    await world.reconcile()
    assert world.kube.writes == []


@pytest.mark.parametrize("labels", [{}, {naming.CUSTOMER_LABEL: "bob"}, {naming.CUSTOMER_LABEL: ""}])
async def test_a_namespace_of_somebody_else_is_left_alone(world: World, labels: dict[str, str]) -> None:
    taken = world.kube.put(foreign(labels=labels))
    world.order()

    assert (await world.reconcile()).result == "failed"
    assert world.condition("Stalled") == ("True", "NamespaceTaken")
    assert [call for call in world.writes() if call.kind != naming.KIND] == []
    assert world.namespace() == taken
    world.kube.remove("Namespace", NAMESPACE)
    world.watch()
    assert (await world.reconcile(resync=True)).result != "failed"


async def test_a_namespace_that_its_customer_has_left_behind_is_taken_up_with_what_is_in_it(world: World) -> None:
    await world.bring_up(deletionPolicy="Retain")
    password = world.find("Secret", naming.CREDENTIALS_SECRET)
    world.kube.remove(naming.KIND, "acme")
    world.watch()
    await world.reconcile()

    world.order(deletionPolicy="Retain")
    await world.until_steady()

    assert world.status()["phase"] == "Ready"
    assert world.find("Secret", naming.CREDENTIALS_SECRET) == password


async def test_an_owned_namespace_whose_labels_are_lost_is_ours_and_gets_them_back(steady: World) -> None:
    """A watch by label tells of it as of a deletion."""
    live = steady.kube.put(with_metadata(steady.namespace(), labels={}))
    steady.watch()
    assert steady.cache.objects("acme")
    await steady.reconcile()

    healed = steady.namespace()
    assert healed is not None
    assert healed["metadata"]["uid"] == live["metadata"]["uid"]
    assert healed["metadata"]["labels"][naming.INSTANCE_LABEL] == "acme"
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"


async def test_an_object_whose_label_is_lost_gets_it_back(steady: World) -> None:
    api = steady.find("Deployment", "api")
    steady.kube.put(with_metadata(api, labels={}))
    steady.watch()
    await steady.reconcile()

    assert steady.applied() == [("Deployment", "api")]
    healed = steady.find("Deployment", "api")
    assert healed is not None
    assert healed["metadata"]["labels"][naming.INSTANCE_LABEL] == "acme"


async def test_a_namespace_that_was_saved_from_a_deletion_gets_no_owner_that_is_gone(steady: World) -> None:
    """The watch is late: garbage collection would follow such an owner to the data."""
    steady.kube.remove(naming.KIND, "acme")
    saved = steady.kube.put(with_metadata(steady.namespace(), ownerReferences=[]))
    steady.cache.upsert("acme", saved)

    with pytest.raises(Conflict):
        await steady.reconciler.reconcile("acme", resync=False)
    assert steady.namespace() == saved


async def test_a_namespace_that_went_without_a_word_is_built_again_whole(steady: World) -> None:
    """It had lost its label, so that no watch told of its end; nor does any of the Secrets that were in it."""
    steady.kube.put(with_metadata(steady.namespace(), labels={}))
    steady.cache.delete("acme", steady.namespace() or {})
    secrets = names_of_secrets(steady)
    steady.kube.remove("Namespace", NAMESPACE)

    await steady.reconcile()
    assert names_of_secrets(steady) == secrets
    steady.settle()
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"


async def test_a_namespace_that_somebody_has_put_in_the_place_of_ours_gets_everything_again(steady: World) -> None:
    secrets, credentials = names_of_secrets(steady), steady.find("Secret", naming.CREDENTIALS_SECRET)
    copy = with_metadata(steady.namespace(), uid="uid-of-a-copy", ownerReferences=[])
    steady.kube.remove("Namespace", NAMESPACE)
    steady.kube.put(copy)
    steady.watch()

    await steady.reconcile()
    assert names_of_secrets(steady) == secrets
    restored = steady.find("Secret", naming.CREDENTIALS_SECRET)
    assert credentials is not None
    assert restored is not None
    assert restored["data"] == credentials["data"], "pods may have these passwords"
    steady.settle()
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"


def names_of_secrets(world: World) -> set[str]:
    return {item["metadata"]["name"] for item in world.kube.all("Secret") if item["metadata"]["namespace"] == NAMESPACE}


# -- paused ----------------------------------------------------------------------------------------------------------


async def test_a_paused_instance_is_looked_at_and_not_touched(steady: World) -> None:
    steady.order(paused=True)
    spoilt = steady.kube.put(edited(steady.find("Deployment", "api"), replicas=7))
    stray = {"name": "stray", "namespace": NAMESPACE, "labels": naming.labels("acme", "api")}
    steady.kube.put({"apiVersion": "v1", "kind": "Service", "metadata": stray, "spec": {"ports": []}})
    steady.kube.remove("Service", "mqtt", namespace=NAMESPACE)
    steady.watch()

    await steady.reconcile()
    assert steady.writes() == []
    assert steady.find("Deployment", "api") == spoilt
    assert steady.status()["message"].startswith("spec.paused is set, nothing is changed; ")
    assert steady.condition("Ready")[0] == "False"

    steady.order()
    await steady.until_steady()
    assert steady.status()["phase"] == "Ready"


async def test_a_paused_instance_that_is_new_gets_nothing(world: World) -> None:
    world.order(paused=True)
    await world.reconcile()

    assert world.writes() == []
    assert world.namespace() is None


async def test_a_pause_does_not_keep_an_owner_that_would_endanger_kept_data(steady: World) -> None:
    steady.order(paused=True, deletionPolicy="Retain")
    await steady.reconcile()

    assert steady.writes() == [Call("merge", "Namespace", NAMESPACE)]
    assert owners(steady) == []
    await steady.reconcile()
    assert steady.writes() == []


async def test_a_paused_instance_gives_no_namespace_of_others_an_owner_less(world: World) -> None:
    taken = world.kube.put(foreign(labels={naming.CUSTOMER_LABEL: "bob"}, ownerReferences=[{"uid": "x"}]))
    world.order(paused=True, deletionPolicy="Retain")
    credentials = {"name": naming.CREDENTIALS_SECRET, "namespace": NAMESPACE}
    world.kube.put({"apiVersion": "v1", "kind": "Secret", "metadata": credentials, "data": {}})
    await world.reconcile()

    assert world.namespace() == taken
    assert [call for call in world.kube.calls if call.kind == "Secret"] == [], "nothing in it is read"
