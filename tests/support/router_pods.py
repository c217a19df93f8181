"""The front door's pods on a real node: which there are, what each says and holds."""

from dataclasses import dataclass
from typing import Final

from customer_operator.naming import Manifest
from hack import exposition
from hack.errors import ClusterError
from tests.support.clusters import Cluster
from tests.support.failures import statuses
from tests.support.kubernetes import Kubernetes

NAMESPACE: Final = "mqtt-router"
DEPLOYMENT: Final = ("deployment/mqtt-router", "--namespace", NAMESPACE)
# HAProxy says so when it has been told to end, and takes nobody any more.
_STOPPED: Final = "Proxy mqtt_tls stopped"
_HEALTH_PORT: Final = 8404


@dataclass(frozen=True)
class RouterPods:
    """The pods of the Deployment `mqtt-router`."""

    cluster: Cluster
    api: Kubernetes

    def all(self) -> list[Manifest]:
        """Return all, those among them that are about to end."""
        return self.api.items("Pod", namespace=NAMESPACE, labels="app.kubernetes.io/name=mqtt-router")

    def named(self) -> dict[str, Manifest]:
        """Return all by name."""
        return {pod["metadata"]["name"]: pod for pod in self.all()}

    def ending(self) -> set[str]:
        """Return those that are about to end."""
        return {name for name, pod in self.named().items() if "deletionTimestamp" in pod["metadata"]}

    def restarts(self) -> dict[tuple[str, str], int]:
        """Return by pod and container how often it has been started again."""
        return {
            (name, status["name"]): status["restartCount"]
            for name, pod in self.named().items()
            for status in statuses(pod)
        }

    def are_ready(self) -> bool:
        """Tell whether there are two, all ready."""
        found = self.all()
        return len(found) == 2 and all(status["ready"] for pod in found for status in statuses(pod))

    def devices(self, name: str) -> int:
        """Return how many connections of devices the HAProxy of a pod has, as its metrics say."""
        return int(self._metric(name, "haproxy_frontend_current_sessions", proxy="mqtt_tls"))

    def started(self) -> dict[str, float]:
        """Return when the worker of each HAProxy was started (seconds); a reload would start another."""
        return {name: self._metric(name, "haproxy_process_start_time_seconds") for name in self.named()}

    def has_stopped(self, name: str) -> bool:
        """Tell whether the HAProxy of a pod takes nobody any more, or is gone."""
        try:
            return _STOPPED in self.cluster.kubectl("logs", name, "--container=haproxy", "--namespace", NAMESPACE)
        except ClusterError:
            assert name not in self.named()
            return True

    def _metric(self, pod: str, metric: str, **labels: str) -> float:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:{_HEALTH_PORT}/proxy/metrics"
        return exposition.total(self.cluster.kubectl("get", "--raw", path), metric, **labels)
