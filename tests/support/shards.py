"""The shards as the operator publishes them, spelled out, and written by a test."""

from collections.abc import Iterable
from datetime import UTC, datetime

from customer_operator.naming import Manifest
from mqtt_router import routes
from mqtt_router.routes import Route
from tests.support.kubernetes import Kubernetes

NAMESPACE = "mqtt-router"
_DATA_KEY, _LABEL = "routes.map", "iotistic.cloud/mqtt-routes"


def shard(number: int, text: str, *, at: datetime | None = None) -> Manifest:
    """Return the ConfigMap of a shard with this text, written now unless told otherwise."""
    written = at or datetime.now(UTC)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"mqtt-routes-{number:02x}",
            "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "customer-operator", _LABEL: "true"},
            "annotations": {"iotistic.cloud/published-at": written.isoformat(timespec="microseconds")},
        },
        "data": {_DATA_KEY: text},
    }


class Publisher:
    """Writes the shards whose routes have changed."""

    def __init__(self, api: Kubernetes) -> None:
        """Take access that may write the ConfigMaps."""
        self._api = api
        self._texts: dict[int, str] = {}

    def publish(self, *wanted: Route) -> None:
        """Have just these routes published."""
        for number in range(routes.SHARDS):
            text = routes.render(route for route in wanted if routes.shard_of(route.host) == number)
            if self._texts.get(number) != text:
                self.write(number, text)

    def write(self, number: int, text: str) -> None:
        """Write a shard's text, whatever it is."""
        self._texts[number] = text
        self._api.apply(shard(number, text))

    def delete(self, number: int) -> None:
        """Delete a shard's ConfigMap, as somebody would by hand."""
        self._texts.pop(number)
        self._api.delete("ConfigMap", f"mqtt-routes-{number:02x}", namespace=NAMESPACE)

    def remove_all(self) -> None:
        """Delete all shards that there are."""
        for number in list(self._texts):
            self.delete(number)


def many(count: int, *, address: str = "127.0.0.2", port: int = 8883) -> Iterable[Route]:
    """Yield so many routes of hosts that nobody has."""
    for number in range(count):
        yield Route(f"mqtt.customer-{number:05d}.iot.example.com", address, port)
