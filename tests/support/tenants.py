"""The instances of one test module: each with a name of its own, ordered as early as is useful, removed at the end."""

import itertools
from typing import Any

from customer_operator import naming
from customer_operator.naming import Manifest
from tests.support.kubernetes import Kubernetes, is_ready, order


class Tenants:
    """Orders instances, so that they are provisioned side by side while tests look at them one after the other."""

    def __init__(self, *, api: Kubernetes, prefix: str) -> None:
        """Take the administrator's access, and what the names begin with."""
        self._api = api
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._names: list[str] = []

    def name(self) -> str:
        """Return a name that no instance has had."""
        name = f"{self._prefix}-{next(self._numbers)}"
        self._names.append(name)
        return name

    def order(self, **spec: Any) -> str:
        """Order an instance, keyword arguments being fields of spec, and return its name."""
        return self.create(self.name(), **spec)

    def create(self, name: str, **spec: Any) -> str:
        """Order an instance of a name that `name` has given, for a spec that must contain it."""
        self._api.create(order(name, **spec))
        return name

    def ready(self, name: str | None = None, **spec: Any) -> str:
        """Order an instance, unless its name is given, wait until it is Ready, and return its name."""
        name = name or self.order(**spec)
        self._api.wait_for(naming.KIND, name, is_ready)
        return name

    def get(self, name: str) -> Manifest:
        """Return an instance as it is."""
        return self._api.get(naming.KIND, name)

    def change(self, name: str, **spec: Any) -> Manifest:
        """Change fields of an instance's spec; None removes one."""
        return self._api.patch(naming.KIND, name, {"spec": spec})

    def remove(self) -> None:
        """Ask for the deletion of all that are left."""
        for name in self._names:
            live = self._api.find(naming.KIND, name)
            if live is None or live["metadata"].get("deletionTimestamp"):
                continue
            if live["spec"].get("deletionProtection"):
                self.change(name, deletionProtection=False)
            self._api.delete(naming.KIND, name)
