"""A namespace takes everything in it along, what is not watched included."""

from customer_operator import naming
from customer_operator.naming import Manifest
from customer_operator.observed.cache import Key, ObjectCache

NAME = "acme"


def live(kind: str, name: str, version: int) -> Manifest:
    return {"kind": kind, "metadata": {"name": name, "uid": "u", "resourceVersion": str(version)}}


def stocked() -> ObjectCache:
    inventory = ObjectCache()
    for number, (kind, name) in enumerate([("Namespace", naming.namespace_of(NAME)), ("RoleBinding", "right")], 1):
        inventory.record(NAME, live(kind, name, number), verified=True)
    inventory.mark_listed(NAME)
    return inventory


def test_with_its_namespace_everything_of_an_instance_is_gone() -> None:
    inventory = stocked()

    assert inventory.vanish(NAME, live("Namespace", naming.namespace_of(NAME), 9))

    assert inventory.children(NAME) == {}
    assert not inventory.is_listed(NAME)


def test_with_any_other_object_only_that_one_is_gone() -> None:
    inventory = stocked()

    assert inventory.vanish(NAME, live("RoleBinding", "right", 9))

    assert list(inventory.children(NAME)) == [Key("Namespace", naming.namespace_of(NAME))]
    assert inventory.is_listed(NAME)
