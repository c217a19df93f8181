"""Whose a namespace is: never taken over from another customer, never left to garbage collection when data is kept."""

from collections.abc import Mapping
from typing import Any

from customer_operator import naming
from customer_operator.errors import NamespaceTaken
from customer_operator.kube.client import KubeClient
from customer_operator.naming import Manifest


def belongs_to(namespace: Mapping[str, Any], *, uid: str, customer_id: str | None) -> bool:
    """Tell whether a live namespace is this instance's: it owns it, whatever labels say, or the customer's id is on it.

    One that was left behind has no owner, and may hold another customer's data under the same name.
    """
    metadata = namespace["metadata"]
    if any(owner["uid"] == uid for owner in metadata.get("ownerReferences") or ()):
        return True
    return customer_id is not None and customer_of(namespace) == customer_id


def customer_of(namespace: Mapping[str, Any]) -> str | None:
    """Return the id of the customer a live namespace is labelled with."""
    return (namespace["metadata"].get("labels") or {}).get(naming.CUSTOMER_LABEL)


def check_ownership(namespace: Mapping[str, Any], *, uid: str, customer_id: str) -> None:
    """Raise NamespaceTaken for a namespace that is not this instance's."""
    if not belongs_to(namespace, uid=uid, customer_id=customer_id):
        raise NamespaceTaken(namespace["metadata"]["name"], customer_of(namespace))


async def orphan(client: KubeClient, namespace: Manifest, *, uid: str) -> Manifest:
    """Remove an instance from a live namespace's owners, whoever put it there; return the namespace as it is then.

    Raises Conflict when the namespace has changed meanwhile.
    """
    owners = namespace["metadata"].get("ownerReferences") or []
    kept = [owner for owner in owners if owner["uid"] != uid]
    if len(kept) == len(owners):
        return namespace
    metadata = {"ownerReferences": kept or None, "resourceVersion": namespace["metadata"]["resourceVersion"]}
    return await client.merge(namespace, {"metadata": metadata})
