"""Whose a namespace is, and how it is taken out of garbage collection's reach."""

from typing import Any

import pytest

from customer_operator import naming
from customer_operator.errors import Conflict, NamespaceTaken
from customer_operator.kube.client import KubeClient
from customer_operator.naming import Manifest
from customer_operator.reconcile.ownership import belongs_to, check_ownership, customer_of, orphan
from tests.support.fake_kube import FakeKube

UID, CUSTOMER = "uid-of-acme", "cust-0001"
OURS = naming.owner_reference("acme", UID)
THEIRS = naming.owner_reference("acme", "uid-of-a-former-acme")


def namespace(*owners: Manifest, customer: str | None = None) -> Manifest:
    metadata: dict[str, Any] = {"name": "customer-acme"}
    if owners:
        metadata["ownerReferences"] = list(owners)
    if customer is not None:
        metadata["labels"] = {naming.CUSTOMER_LABEL: customer}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


@pytest.mark.parametrize(
    ("live", "ours"),
    [
        (namespace(OURS), True),
        (namespace(OURS, customer="bob"), True),
        (namespace(THEIRS, OURS), True),
        (namespace(customer=CUSTOMER), True),
        (namespace(THEIRS, customer=CUSTOMER), True),
        (namespace(), False),
        (namespace(customer="bob"), False),
        (namespace(customer=""), False),
        (namespace(THEIRS), False),
        (namespace(THEIRS, customer="bob"), False),
    ],
)
def test_a_namespace_is_its_owners_or_the_customers_that_is_on_it(live: Manifest, *, ours: bool) -> None:
    assert belongs_to(live, uid=UID, customer_id=CUSTOMER) is ours


def test_an_instance_whose_customer_cannot_be_read_has_only_what_it_owns() -> None:
    assert belongs_to(namespace(OURS), uid=UID, customer_id=None)
    assert not belongs_to(namespace(), uid=UID, customer_id=None)
    assert not belongs_to(namespace(customer=CUSTOMER), uid=UID, customer_id=None)


def test_a_namespace_of_others_is_refused_by_the_customers_name() -> None:
    check_ownership(namespace(OURS), uid=UID, customer_id=CUSTOMER)
    with pytest.raises(NamespaceTaken, match="belongs to customer 'bob'"):
        check_ownership(namespace(customer="bob"), uid=UID, customer_id=CUSTOMER)
    with pytest.raises(NamespaceTaken, match="belongs to no customer"):
        check_ownership(namespace(), uid=UID, customer_id=CUSTOMER)
    assert customer_of(namespace()) is None


async def test_an_orphan_has_lost_its_owner_and_keeps_everything_else(client: KubeClient, kube: FakeKube) -> None:
    live = kube.put(namespace(OURS, customer=CUSTOMER))

    left = await orphan(client, live, uid=UID)

    assert left == kube.find("Namespace", "customer-acme")
    assert "ownerReferences" not in left["metadata"]
    assert customer_of(left) == CUSTOMER


async def test_owners_of_others_stay_and_what_has_no_owner_is_not_written(client: KubeClient, kube: FakeKube) -> None:
    live = kube.put(namespace(THEIRS, OURS))
    left = await orphan(client, live, uid=UID)
    assert left["metadata"]["ownerReferences"] == [THEIRS]

    written = len(kube.writes)
    assert await orphan(client, left, uid=UID) == left
    assert len(kube.writes) == written


async def test_a_namespace_that_has_changed_meanwhile_is_looked_at_again(client: KubeClient, kube: FakeKube) -> None:
    live = kube.put(namespace(OURS))
    kube.put(namespace(OURS, customer=CUSTOMER))

    with pytest.raises(Conflict):
        await orphan(client, live, uid=UID)
