"""The way of the license keys from the billing API to the operator: a ConfigMap that is mounted there.

A node looks after ConfigMaps once a minute or so, for which time new customers' licenses would be refused.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Final

from hack.errors import PlatformError
from hack.platform.cluster import Cluster

_NAMESPACE: Final = "iotistic-system"
_CONFIG_MAP: Final = "license-jwks"
_OPERATOR: Final = "app.kubernetes.io/name=customer-operator"
_METRICS_PORT: Final = 8080
_METRIC: Final = "customer_operator_license_keys"
_ANNOTATION: Final = "iotistic.cloud/license-jwks"
#: Seconds; the billing API publishes its keys a moment after its start.
_PATIENCE, _PAUSE = 120.0, 0.3


def hand_over_keys(cluster: Cluster, *, report: Callable[[str], None]) -> None:
    """Return when all replicas of the operator have the keys that the billing API has published.

    Pods must truly run. A changed annotation of the pod makes its node look at once:
    https://kubernetes.io/docs/tasks/configure-pod-container/configure-pod-configmap/. Raises PlatformError.
    """
    report("handing the license keys over to the operator")
    deadline = time.monotonic() + _PATIENCE
    while not (keys := _published(cluster)):
        _pause(deadline, "the billing API has not published its keys")
    version = f"{_ANNOTATION}={hashlib.sha256(keys.encode()).hexdigest()[:12]}"
    cluster.kubectl("annotate", "pods", "--namespace", _NAMESPACE, "--selector", _OPERATOR, "--overwrite", version)
    count = len(json.loads(keys)["keys"])
    for pod in _replicas(cluster):
        while _trusted(cluster, pod) < count:
            _pause(deadline, f"pod {pod} has not got the license keys")


def _pause(deadline: float, what: str) -> None:
    if time.monotonic() > deadline:
        raise PlatformError(f"{what} within {_PATIENCE:.0f} s")
    time.sleep(_PAUSE)


def _published(cluster: Cluster) -> str:
    path = r"--output=jsonpath={.data.jwks\.json}"
    return cluster.kubectl("get", "configmap", _CONFIG_MAP, "--namespace", _NAMESPACE, path)


def _replicas(cluster: Cluster) -> list[str]:
    names = "--output=jsonpath={.items[*].metadata.name}"
    return cluster.kubectl("get", "pods", "--namespace", _NAMESPACE, "--selector", _OPERATOR, names).split()


def _trusted(cluster: Cluster, pod: str) -> int:
    """Return how many keys a replica says it trusts."""
    path = f"/api/v1/namespaces/{_NAMESPACE}/pods/{pod}:{_METRICS_PORT}/proxy/metrics"
    metrics = cluster.kubectl("get", "--raw", path)
    return next(int(float(line.split()[-1])) for line in metrics.splitlines() if line.startswith(f"{_METRIC} "))
