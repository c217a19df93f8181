"""The instances in memory, found by customer and name. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from billing_api.errors import InstanceUnreadable
from billing_api.kube.instances import Instance, parse


class InstanceIndex:
    """What the cluster was last seen to hold.

    Attributes:
        unreadable: what is wrong with each instance that cannot be read, by name.
    """

    def __init__(self) -> None:
        self.unreadable: dict[str, str] = {}
        self._by_name: dict[str, Instance] = {}
        self._by_customer: dict[str, dict[str, Instance]] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str, *, customer_id: str) -> Instance | None:
        """Return a customer's instance; one of that name that belongs to somebody else is not found."""
        return self._by_customer.get(customer_id, {}).get(name)

    def put(self, name: str, item: Mapping[str, Any]) -> set[str]:
        """Take in a new state; one that cannot be read leaves the last that could in place.

        Returns:
            the customers for whom something has changed.
        """
        before = self._by_name.get(name)
        try:
            instance = parse(item)
        except InstanceUnreadable as error:
            self.unreadable[name] = str(error)
            return _customers(before)
        self.remove(name)
        self._by_name[name] = instance
        self._by_customer.setdefault(instance.customer_id, {})[name] = instance
        return _customers(before, instance)

    def remove(self, name: str) -> set[str]:
        """Forget an instance; return the customers for whom something has changed."""
        self.unreadable.pop(name, None)
        instance = self._by_name.pop(name, None)
        if instance is not None:
            others = self._by_customer[instance.customer_id]
            del others[name]
            if not others:
                del self._by_customer[instance.customer_id]
        return _customers(instance)

    def keep(self, names: Iterable[str]) -> None:
        """Forget all instances but these."""
        for name in {*self._by_name, *self.unreadable}.difference(names):
            self.remove(name)


def _customers(*instances: Instance | None) -> set[str]:
    return {instance.customer_id for instance in instances if instance is not None}
