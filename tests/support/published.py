"""The routes as they are published in a cluster."""

from typing import Any

from customer_operator import naming
from customer_operator.naming import Manifest
from mqtt_router.routes import CONFIG_MAPS, DATA_KEY, config_map, shard_of
from tests.support.kubernetes import PATIENCE, Kubernetes

NAMESPACE = "mqtt-router"


def mqtt_host(live: Manifest) -> str:
    """Return the host that an instance's status tells its devices."""
    url: str = live["status"]["urls"]["mqtt"]
    return url.removeprefix("mqtts://").partition(":")[0]


class Routes:
    """What is published, looked at by one who may read it."""

    def __init__(self, api: Kubernetes) -> None:
        """Take the administrator's access."""
        self._api = api

    def all(self) -> dict[str, str]:
        """Return the targets by host."""
        texts = [self.text(name) for name in CONFIG_MAPS]
        return dict(line.split(" ") for text in texts for line in text.splitlines())

    def text(self, name: str) -> str:
        """Return the text of a ConfigMap; "" when there is none."""
        live = self._api.find("ConfigMap", name, namespace=NAMESPACE)
        return text_of(live)

    def wait(self, host: str, target: str | None, *, timeout: float = PATIENCE) -> Manifest:
        """Return the ConfigMap of a host as soon as it is routed to this target, or to none."""

        def holds(live: Manifest | None) -> bool:
            if live is None:
                return False
            found = dict(line.split(" ") for line in text_of(live).splitlines())
            return found.get(host) == target

        return self._api.wait_for("ConfigMap", config_map(shard_of(host)), holds, namespace=NAMESPACE, timeout=timeout)

    def target(self, name: str) -> str:
        """Return where an instance's devices are to be sent, by its Service as it is."""
        service = self._api.get("Service", "mqtt", namespace=naming.namespace_of(name))
        return f"{service['spec']['clusterIP']}:8883"


def text_of(live: Any) -> str:
    """Return the text of a ConfigMap; "" when it has none."""
    return str(((live or {}).get("data") or {}).get(DATA_KEY, ""))
