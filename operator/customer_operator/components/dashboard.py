"""The customer's web page.

The image must listen on 8080, pass /api on to API_URL, run as uid 101 (nginx-unprivileged) and write to /tmp only.
It waits for nobody: without the API it shows its own error page.
"""

from customer_operator import naming
from customer_operator.components import api, objects, pods
from customer_operator.components.context import Context
from customer_operator.model import plans
from customer_operator.naming import Manifest

COMPONENT = "dashboard"
NAME = "dashboard"
PORT = 8080  # a port below 1024 would need a capability that Pod Security "restricted" takes away
_SERVICE_PORT = 80

_USER = 101


def build(context: Context) -> list[Manifest]:
    """Return the account, the Service, the Deployment, and with several pods the budget for their disruption."""
    kind = "NodePort" if context.platform.exposure_is_local else "ClusterIP"
    replicas = plans.PLANS[context.plan].dashboard_replicas
    return [
        objects.service_account(context, COMPONENT, NAME),
        objects.service(
            context, COMPONENT, name=NAME, ports=[objects.port("http", _SERVICE_PORT, target="http")], kind=kind
        ),
        _deployment(context, replicas),
        *([_disruption_budget(context)] if replicas > 1 else []),
    ]


def _deployment(context: Context, replicas: int) -> Manifest:
    pod = pods.template(
        context,
        COMPONENT,
        account=NAME,
        user=_USER,
        spec={
            "containers": [_server(context)],
            "volumes": [pods.scratch("tmp", "64Mi")],
            # Only a wish, because a cluster may have a single node.
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": naming.selector(context.name, COMPONENT)},
                }
            ],
        },
    )
    return pods.deployment(context, COMPONENT, name=NAME, pod=pod, strategy=pods.surge(), replicas=replicas)


def _server(context: Context) -> Manifest:
    return pods.container(
        name="dashboard",
        image=context.image("dashboard"),
        resources=plans.resources("dashboard", context.instance.resources),
        ports={"http": PORT},
        env=[
            pods.env("PORT", str(PORT)),
            pods.env("API_URL", api.URL),
            pods.env("CUSTOMER_COMPANY", context.instance.customer.company_name),
        ],
        mounts=[pods.mount("tmp", "/tmp")],  # noqa: S108 - a volume's mount point in the container
        probes={
            "startupProbe": pods.http("/", "http", periodSeconds=2, timeoutSeconds=5, failureThreshold=60),
            "readinessProbe": pods.http("/", "http", periodSeconds=10, timeoutSeconds=5, failureThreshold=3),
            "livenessProbe": pods.tcp("http", periodSeconds=20, timeoutSeconds=5, failureThreshold=3),
        },
    )


def _disruption_budget(context: Context) -> Manifest:
    """One at a time. Components of one pod have none: it would hold up the drain of a node, or do nothing at all."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": objects.metadata(context, COMPONENT, NAME),
        "spec": {
            "maxUnavailable": 1,
            # Pods that do not work anyway never hold up a drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": naming.selector(context.name, COMPONENT)},
        },
    }
