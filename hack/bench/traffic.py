"""What the API server has counted itself: writes to the kinds of objects that tenants have."""

from prometheus_client.parser import text_string_to_metric_families

from hack.cluster import Client, LocalCluster

_WRITES = {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
_TENANTS = {
    "configmaps",
    "customerinstances",
    "deployments",
    "ingresses",
    "limitranges",
    "namespaces",
    "networkpolicies",
    "poddisruptionbudgets",
    "resourcequotas",
    "rolebindings",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets",
}


def writes(cluster: LocalCluster) -> int:
    """Return how many writes of those objects, by anybody, the API server has answered since its start."""
    with Client(cluster.kubeconfig) as api:
        text = api.text("/metrics")
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        if family.name == "apiserver_request"
        for sample in family.samples
        if sample.name == "apiserver_request_total"
        and sample.labels.get("verb") in _WRITES
        and sample.labels.get("resource") in _TENANTS
    )
